// Floats to weight formats, rounded to the nearest: for generated models and test fixtures. Plain
// and scalar; no search for better scales, no importance.
#pragma once

#include "kernels/blocks.h"

// Encodes `n` floats into blocks at `out`. False when there is no encoder for `type` (there is one
// for every format that kernels_can multiply, except those that choose points of a grid: IQ1, IQ2
// and IQ3) or `n` is no multiple of its block width. Infinities and NaNs give some block, without
// harm.
bool kernels_encode(uint32_t type, void *out, const float *x, size_t n);
