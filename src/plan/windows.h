// The table of windows: which node runs which layers in which round.
//
//            node 0   node 1   head            a pass visits the table row by row,
//   round 0  [0,2)    [2,4)    [4,5)           left to right; windows are contiguous in
//   round 1  [5,6)    [6,7)    [7,8)           visiting order and cover every layer once.
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { PLAN_MAX_NODES = 32, PLAN_MAX_ROUNDS = 64 };

struct window_table {
    int n_nodes, n_rounds, n_layers; // the head is node n_nodes - 1
    uint16_t lo[PLAN_MAX_ROUNDS][PLAN_MAX_NODES], hi[PLAN_MAX_ROUNDS][PLAN_MAX_NODES];
};

// Splits `layers[node]` (their sum is n_layers) over the rounds as evenly as possible: in each
// round a node gets floor or ceil of its share, the larger ones as far apart as can be, so that
// there is time to read between them; the first round has one of them.
int windows_split(struct window_table *t, int n_layers, int n_nodes, const int *layers,
                  int n_rounds, struct err *e);
// What a round gets of n layers.
int windows_share(int n, int n_rounds, int round);
// How many of `window` layers, with `done` of the node's before them, belong to a part of all its
// layers that is spread evenly over them: those of its GPU.
int windows_part(int part, int all, int done, int window);
// Layers per node as even as can be; the head, which also has the output matrix, gets the fewer.
void windows_even(int n_layers, int n_nodes, int *layers);
// Whether the table covers [0, n_layers) in visiting order; for tables that came over the wire.
int windows_check(const struct window_table *t, struct err *e);
int windows_layers(const struct window_table *t, int node); // total over the rounds
