// From what the nodes said of themselves to who runs what, and, when tokens take otherwise than
// foretold, to the next plan. No network and no clock.
//
//   node_survey -> planning_new -> planning_make -> planning_ring -> node_plan
//                                        ^
//   node_drift -> planning_learn: the profile made true, and is another plan worth it? ->+
#pragma once

#include "cluster/node.h"
#include "plan/plan_json.h"

struct planning {
    struct plan_cluster cluster; // measured, then corrected; in the order of node_survey
    int members[PLAN_MAX_NODES];
    struct plan_model model;
    struct plan_ask ask;
    struct window_table table; // of a saved plan; n_nodes 0: there is none
    struct plan plan;          // that is in force, after planning_make
};

struct planning_wants {
    const struct model *model;
    const struct local_options *engine;
    enum wire_activation activation;
    const int *layers; // of each machine, the head last, as written by hand; NULL: the best
    int rounds;        // 0: the best
    const struct plan_order *order; // a saved plan, its workers by name; NULL: none
    int prompt; // tokens of the prompt that the first token is waited for after; 0: 256
    double latency, first, throughput; // weights, as in plan_ask
};

// The survey is known. ERR_USAGE: a saved plan has a worker that is not there.
int planning_new(struct planning **out, const struct planning_wants *w, const struct node_survey *s,
                 struct err *e);
void planning_free(struct planning *p);

int planning_make(struct planning *p, struct err *e);
// What node_plan is to be told, predictions at several positions with it.
int planning_ring(const struct planning *p, struct node_plan *out, struct err *e);

// Corrects the profile by what was seen under the present plan. 1: another plan takes over 5 % less
// and is the present one now; 0: this one stays, but what it foretells has changed.
int planning_learn(struct planning *p, const struct node_drift *d, struct err *e);
