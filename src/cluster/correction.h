// A plan's numbers beside what was measured, and a profile made true by the difference.
//
//     plan   -- correction_foretold --> a report, for the eye and for drift.h
//     tokens -- drift_seen --> a report -- correction_find, correction_apply --> the profile
//
// Pure. The next plan is made with what the last one taught.
#pragma once

#include "cluster/timings.h"
#include "plan/plan.h"

// What a plan says of a token, as timings tell it.
void correction_foretold(const struct plan *p, struct timings_report *out);

struct correction {
    int n_nodes;
    struct correction_node {
        double compute; // computing takes so many times as long as was foretold
        double disk;    // reading, as far as it can be told: else 1
        double hop_s;   // seconds that a hop to this node takes more than foretold
    } nodes[WIRE_MAX_NODES];
};

// `seen` was measured under this plan (drift_seen).
void correction_find(struct correction *out, const struct plan *p,
                     const struct timings_report *seen);
// Makes the machines of the plan as fast as they were found to be. A machine that is not in the
// ring stays as it is; the rate of a group of disks changes with what its machines read.
void correction_apply(const struct correction *f, const struct plan *p, struct plan_cluster *c);
