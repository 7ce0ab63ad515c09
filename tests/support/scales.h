// Where a weight format keeps its floating-point scales, for tests that fill blocks with any bytes:
// any bytes are a block, but its scales should be sane numbers.
#pragma once

#include <stdint.h>

// Writes the half float `d` as the scale of a block, and `m` as that of its minima when it has
// them. MXFP4 gets the nearest lower power of two, and its largest when d is no number.
void scales_put(uint32_t type, uint8_t *block, uint16_t d, uint16_t m);

// A half float as the definition reads it.
double scales_half_at(const uint8_t *p);
