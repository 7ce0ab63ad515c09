// What a node of a simulated ring does in its windows: steps, which simulate.c carries out.
#pragma once

#include "plan/plan.h"

// Waits for its part when it has one, then for bytes of experts, and computes.
struct sim_step {
    double seconds;
    double bytes;  // of a part that comes through the slots; 0: resident
    double demand; // bytes of experts that are read once they are known
    bool held;     // the part stays for the other passes of the group
    bool gpu;
};

// Steps [begin[r], begin[r + 1]) are round r's; behind the last round is the head's output.
struct sim_tour {
    struct sim_step *steps;
    int begin[PLAN_MAX_ROUNDS + 2];
    double slots; // bytes
    double part;  // the largest
};

struct sim_what {
    const struct plan *p;
    const struct plan_cluster *c;
    const struct plan_model *m;
    const struct plan_ask *a; // with its defaults; a->chunk tokens in a pass of a prompt
    bool prompt;              // else tokens
    int parts;
    int passes; // of a group
};

int sim_tour_new(struct sim_tour *t, const struct sim_what *w, int node, struct err *e);
void sim_tour_free(struct sim_tour *t);
