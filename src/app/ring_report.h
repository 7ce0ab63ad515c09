// What is known of a ring, for people and as JSON: who runs what, how each node keeps its weights,
// and what a token costs it, beside what the plan foretold where there is one.
//
// The JSON is read back by `rondo nodes`, which shows it in its own terminal.
#pragma once

#include "cluster/node.h"

#include <jansson.h>
#include <stdio.h>

// Layers of each node by round, and its memory.
void ring_report_map(FILE *out, const struct node_report *r);
// Medians per node; nothing before the first token is complete.
void ring_report_times(FILE *out, const struct node_report *r);

// `last` (timings_last) may be without a pass. NULL: no memory.
json_t *ring_report_json(const struct node_report *r, const struct timings_trace *last);
// What ring_report_json wrote; it comes from another process and may be anything. `last` is freed
// with timings_trace_free, also after an error.
int ring_report_read(struct node_report *out, struct timings_trace *last, const json_t *json,
                     struct err *e);
