// Which matrices lie in lane form: the decision alone, without files and memory.
#pragma once

#include "weights/weights.h"

struct layout_item {
    uint64_t bytes; // in lane form
    int layer;
    bool can; // there is a lane form, and its kernels are the faster ones
};

// AUTO: layer by layer, in the order of the items, all matrices of a layer that can, while `budget`
// bytes last; a layer that no longer fits stays as it is, and so do those behind it, so that what
// is in lanes is one stretch of the model. Returns the bytes of what is in lanes.
uint64_t layouts_choose(enum layout *out, const struct layout_item *items, size_t n,
                        enum weights_form form, uint64_t budget);
