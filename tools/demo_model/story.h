// Stories: somebody, a friend, a thing and a place, told along a plot.
#pragma once

#include "plots.h"
#include "words.h"

struct role {
    const struct animal *animal; // NULL for a child or a grown-up
    const char *kind;            // "fox", "girl", "old baker"
    const char *name;            // NULL when the story gives none
    int is_she;
};

struct story {
    struct role hero;
    struct role pal;
    const struct thing *thing;
    const struct place *place;
    const struct plot *plot;
    const char *trait;
};

// Makes up a story and fills the teller's slots for it.
void story_imagine(struct teller *t, struct story *s);
// Tells it at the end of the text.
void story_tell(struct teller *t, const struct story *s);
