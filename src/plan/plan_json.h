// Plans as JSON: what --save writes and --apply reads, and what people write by hand.
//
//     {"rounds": 2, "nodes": [{"name": "attic", "layers": 12}, {"name": "desk", "layers": 20}]}
//
// Nodes are in the ring's order, the head last. With "windows" instead of layers a node says itself
// which ones it runs in each round: ["0-5", "18-23"], "" where it runs none. Everything else that
// is written (bytes, seconds) is for people and programs to read, and is not read back.
#pragma once

#include "plan/plan.h"

#include <jansson.h>

struct plan_order {
    int n_nodes; // the head last
    char names[PLAN_MAX_NODES][PLAN_NAME];
    int layers[PLAN_MAX_NODES];
    struct window_table table;
    int chunk; // tokens of a prompt's chunk; 0: not said
};

// New reference; NULL: no memory.
json_t *plan_json(const struct plan *p, const struct plan_cluster *c, const struct plan_model *m);

// Of a model with so many layers. ERR_USAGE: "file: nodes[1].layers: what is wrong".
int plan_json_read(struct plan_order *out, const json_t *json, int n_layers, const char *file,
                   struct err *e);
// Whether the windows are those that windows_split makes of the layer counts.
bool plan_order_is_even(const struct plan_order *o);
