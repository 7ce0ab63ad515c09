// What a model file holds, summed up: by layer and by weight format.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"
#include "model/hparams.h"

struct inventory_part {
    uint64_t bytes, parameters;
    uint64_t type_bytes[WT_COUNT];
};

struct inventory {
    struct inventory_part whole;
    struct inventory_part *layers; // (n_layers): tensors blk.N.*
    int n_layers;
    struct inventory_part front, back; // the embedding; what is neither it nor in a layer
};

int inventory_take(struct inventory *v, const struct gguf *g, struct err *e);
void inventory_free(struct inventory *v);
// The number of the layer that a tensor belongs to, -1: none. *rest (may be NULL) is its name
// behind "blk.N.".
int inventory_layer(const struct gguf_tensor *t, const char **rest);
// Types of a part, the largest first, into types (WT_COUNT); returns their count.
int inventory_types(const struct inventory_part *p, uint32_t *types);
