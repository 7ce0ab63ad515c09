// Who runs what in a ring: planned from what its machines said of themselves, or written by hand.
#pragma once

#include "app/options.h"
#include "cluster/planning.h"

#include <stdio.h>

// Layers by hand: of each worker in the order of joining, and of the head last. n_nodes 0: none are
// written, and neither is --even.
int head_plan_by_hand(struct window_table *out, int n_layers, const struct options *o,
                      struct err *e);

// The plan of --apply for a model with so many layers; n_nodes 0: there is none.
int head_plan_saved(struct plan_order *out, int n_layers, const struct options *o, struct err *e);

// What the machines said, as JSON that rondo plan --cluster reads.
int head_plan_write_survey(const char *path, const struct node_survey *s, struct err *e);

// What a ring whose layers are written by hand will take, where everybody knows what it can do.
// NULL: not known.
struct planning *head_plan_foresee(struct node_plan *ring, const struct planning_wants *w,
                                   const struct node_survey *s);

// Makes the plan and says on standard error what it means for machines that are left out. Where
// the machines do not know what they can do, it is the even one, and *out is NULL.
int head_plan_make(struct planning **out, struct node_plan *ring, const struct planning_wants *w,
                   const struct node_survey *s, struct err *e);
