// Why a plan is as it is, in sentences: what sets the pace, what is read from disks, why so many
// rounds, and who is left out.
#pragma once

#include "app/plan_setting.h"

enum { PLAN_REASONS = PLAN_MAX_NODES + 12, PLAN_REASON = 400 };

struct plan_why {
    int n;
    char text[PLAN_REASONS][PLAN_REASON];
};

// Of a plan that was made (not given): other plans are made to compare with.
void plan_why_find(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                   const struct plan_setting *s);
