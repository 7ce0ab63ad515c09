// A plan on the screen: what it promises, who runs which layers, whose memory holds what, and where
// the time of a token goes.
//
//     layers    round 1   AAAAAAAABBBBBBBBBBBBBBBBCCCCCCCC
//               round 2   AAAAAAAABBBBBBBBBBBBBBBBCCCCCCC
//     memory    A attic   ##########################==ccoo..   6.4 of 6.5 GiB: 5.8 weights, ..
#pragma once

#include "app/plan_setting.h"

struct plan_look {
    int columns; // of the terminal
    bool utf8, colours;
};
struct plan_look plan_look_of_terminal(void);

// On standard output. `c` is the cluster that the plan's machines are in.
void plan_page_print(const struct plan *p, const struct plan_cluster *c,
                     const struct plan_setting *s, const struct plan_look *look);
// "d2 12, d3 48, d1 20": nodes of a plan in the ring's order and their layers.
void plan_page_layers(char *out, size_t size, const struct plan *p, const struct plan_cluster *c);
// "612 ms", "1.77 s".
enum { PLAN_TIME_TEXT = 24 };
void plan_page_time(char out[PLAN_TIME_TEXT], double seconds);
