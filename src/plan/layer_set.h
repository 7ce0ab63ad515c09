// Sets of layers: those that a file has, and those that a node needs.
#pragma once

#include "plan/windows.h"

#include <stdbool.h>
#include <stddef.h>

enum { PLAN_MAX_LAYERS = 1024, LAYER_SET_TEXT = 128 };

struct layer_set {
    uint8_t bits[PLAN_MAX_LAYERS / 8]; // layer i is bit i % 8 of byte i / 8
};

// Layers [lo, hi), within [0, PLAN_MAX_LAYERS].
void layer_set_add(struct layer_set *s, int lo, int hi);
bool layer_set_has(const struct layer_set *s, int layer);
bool layer_set_covers(const struct layer_set *s, const struct layer_set *needed);
// What `node` runs in all rounds.
struct layer_set layer_set_of_node(const struct window_table *t, int node);

// "0-9, 20": for people; what does not fit ends in "...".
void layer_set_text(const struct layer_set *s, char out[LAYER_SET_TEXT]);
// "0-9,20" with layers below n_layers; refuses anything else, and the empty set.
int layer_set_parse(struct layer_set *s, const char *text, int n_layers, struct err *e);
