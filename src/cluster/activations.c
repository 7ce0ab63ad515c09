// The hidden state inside a frame: see activations.h.
#include "cluster/activations.h"

float *activations_get(const struct kernels *k, enum wire_activation type, void *wire,
                       float *scratch, size_t n)
{
    if (type == WIRE_F32)
        return wire;
    if (n)
        k->f16_to_f32(scratch, wire, n);
    return scratch;
}

void activations_put(const struct kernels *k, enum wire_activation type, void *wire,
                     const float *hidden, size_t n)
{
    if (type != WIRE_F32 && n)
        k->f32_to_f16(wire, hidden, n);
}
