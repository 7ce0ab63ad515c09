// Blocks of any weight format with random weights.
#pragma once

#include "base/rng.h"
#include "kernels/blocks.h"

// Nearly normal with deviation 1.
float random_weight(struct rng *r);

// `n_blocks` of `type`, one that kernels_can multiply, to `out`; n_blocks times the block's width
// is a multiple of RANDOM_BLOCKS_WEIGHTS. Weights are around 0 with `deviation`: normal ones,
// rounded, where there is an encoder, and for the formats that choose points of a grid (IQ1, IQ2,
// IQ3) random points, signs and scales of sub-blocks, all of which a file may hold.
enum { RANDOM_BLOCKS_WEIGHTS = 1024 };
void random_blocks(uint32_t type, uint8_t *out, size_t n_blocks, float deviation, struct rng *r);
