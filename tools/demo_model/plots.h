// The plots: what happens in a story, as templates over the slots that story.c fills.
#pragma once

#include "teller.h"

struct plot {
    const char *name;
    int thing_needs; // traits the thing must have
    int thing_avoids;
    int helper_needs; // any one of these skills; 0 for no demand
    const char *tale;
    const char *trouble;
    const char *rescue;
    const char *lesson;
};

const struct plot *plots_any(struct teller *t);
