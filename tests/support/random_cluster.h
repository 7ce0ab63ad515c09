// Clusters, models and questions by a seed, for tests of the planner: homes as they are, with
// shared disks, slow ways, machines that help nobody, GPUs, and layers that are not alike.
#pragma once

#include "plan/plan.h"

struct random_like {
    int min_machines, max_machines; // 0: 1 and 4
    int min_layers, max_layers;     // 0: 2 and 12
    double memory;                  // of all machines, in times of the weights; 0: 0.4 to 1.6
    // What may be there; a quarter to a half of the seeds has it then.
    bool disk_groups, gpus, unequal_layers, experts, unequal_links, no_disks, bad_machines;
};

// What a home may have: everything.
struct random_like random_like_all(void);
// The same seed and kind give the same numbers. profile_check holds; whether the model fits is a
// matter of luck. The structures are large: static or malloc'd.
void random_cluster(struct plan_cluster *c, struct plan_model *m, struct plan_ask *a, uint64_t seed,
                    const struct random_like *like);
// Every time, rate and memory of the profile times a factor of its own within 1 +- by.
void random_noise(struct plan_cluster *c, uint64_t seed, double by);
