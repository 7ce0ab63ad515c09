// What would help most: the machines of a plan with more memory, or twice as fast in one respect.
#pragma once

#include "app/plan_cases.h"

// One case for each kind of help (memory, disk, processor, network) at the machine where it brings
// most, planned anew. Kinds that nothing waits for are left out.
void plan_upgrades_compare(struct plan_cases *l, const struct plan *p, const struct plan_cluster *c,
                           const struct plan_setting *s);
