// The hidden state inside a frame: computed on in place when the wire carries F32, converted to and
// from a buffer of the node's own when it carries F16.
#pragma once

#include "kernels/kernels.h"
#include "ring/messages.h"

#include <stddef.h>

// Where to compute: `wire` itself, or `scratch` with the `n` numbers of `wire` in it.
float *activations_get(const struct kernels *k, enum wire_activation type, void *wire,
                       float *scratch, size_t n);
// Back into the frame: `hidden` is what activations_get returned.
void activations_put(const struct kernels *k, enum wire_activation type, void *wire,
                     const float *hidden, size_t n);
