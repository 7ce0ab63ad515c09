// Floats to weight formats with the least weighted square error that a search of scales and minima
// finds: what quantizing a model uses. encode.h rounds to the nearest instead, and is much faster.
//
// The error of a block is the sum of w[i] * (x[i] - decoded[i])^2. With importance (the mean
// squares of what the columns of a matrix are multiplied with) w says how much an error shows in
// products; without it all w are 1. It is never larger than that of plain rounding.
#pragma once

#include "kernels/kernels.h"

// Whether a format has a search of its own; kernels_fit rounds to the others.
bool kernels_fit_can(uint32_t type);

// Encodes `n` floats, all of them finite and none beyond FIT_MAX, into blocks at `out`, with an
// importance for each, finite and not negative (NULL: all alike). The same bytes with every
// instruction set; the machine must have it. False when there is no encoder for `type` or `n` is no
// multiple of its block width.
#define FIT_MAX 65504.0f // what a half can hold: no scale is larger
bool kernels_fit(enum isa isa, uint32_t type, void *out, const float *x, const float *importance,
                 size_t n);
