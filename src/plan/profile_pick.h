// Other clusters from one: some of its machines, in any order, and one machine more.
#pragma once

#include "plan/profile_json.h"

// Machines at[0 .. n - 1] of `c`, the last being the head. `out` is not `c`.
void profile_pick(struct plan_cluster *out, const struct plan_cluster *c, const int *at, int n);
// Without one machine.
void profile_without(struct plan_cluster *out, const struct plan_cluster *c, int machine);

// Puts a device before the head, under a name of its own. Ways to it: what it says of its network
// and what the other does (`network`, PLAN_MAX_NODES, grows with the cluster); of another that says
// nothing, half the latency and the best rate of its ways to others, or, where there are none, the
// same as the device's.
int profile_join(struct plan_cluster *c, struct plan_link *network, const struct profile_device *d,
                 struct err *e);
