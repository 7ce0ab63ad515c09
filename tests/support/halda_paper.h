// The scheduler of the paper (arXiv 2504.08791 v2, "Halda"), as the baseline that plans are
// compared with. It is given what ours knows, seconds of layers as measured, where the paper
// derives them from FLOPS; what it makes of them is the paper's:
//
//     layers are alike; T = sum of computing, of what does not fit over the rate of the disk, and
//     of hops, nothing overlapping; every device is in one of four sets, which makes T linear:
//       M1  macOS without Metal, short of memory: reads what does not fit, at random
//       M2  macOS with Metal, short of memory: reads everything again
//       M3  Linux, short of memory: reads what does not fit, in order
//       M4  the rest, which must stay within its memory
//     an integer programme for each divisor k of the layers, sets then formed anew from its
//     solution, until they stay; a device that gets one layer is dropped and all is repeated.
//
// In a set the costs are linear up to the GPU's share and after it, the GPU's first when they are
// lower: so layers given one by one to whom the next one costs least solve the programme.
#pragma once

#include "plan/plan.h"

enum halda_system { HALDA_LINUX, HALDA_MACOS, HALDA_METAL };

struct halda_plan {
    int layers[PLAN_MAX_NODES]; // of each machine of the cluster; 0: dropped
    int rounds;
    double seconds; // that it believes in
};

// systems (c->n), NULL: Linux on all. False: it finds no plan.
bool halda_plan(struct halda_plan *out, const struct plan_cluster *c, const struct plan_model *m,
                const struct plan_ask *a, const enum halda_system *systems);
