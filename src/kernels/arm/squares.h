// Pairs of rows and pairs of tokens, whose products the i8mm instruction gives as squares of four
// sums: see small_i8mm.c.
#pragma once

#include "kernels/arm/neon.h"

// 16 registers of words of four rows (panel_rows.h) to chunks of eight weights of two rows.
NEON_INLINE void squares_pair_rows(int8x16_t w[16])
{
    int8x16_t out[16];
    NEON_UNROLL
    for (int c = 0; c < 2; c++)
        NEON_UNROLL
    for (int v = 0; v < 4; v++) {
        int32x4_t a = vreinterpretq_s32_s8(w[8 * c + v]);
        int32x4_t b = vreinterpretq_s32_s8(w[8 * c + 4 + v]);
        out[8 * c + 2 * v] = vreinterpretq_s8_s32(vzip1q_s32(a, b));
        out[8 * c + 2 * v + 1] = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
    memcpy(w, out, sizeof out);
}

// 16 activations of two tokens to two chunks.
NEON_INLINE void squares_pair_tokens(int8x16_t out[2], const int8_t *first, const int8_t *second)
{
    int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(first)), b = vreinterpretq_s64_s8(vld1q_s8(second));
    out[0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
    out[1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
}

// The sums of four rows, two squares, with the first or the second token.
NEON_INLINE int32x4_t squares_column(const int32x4_t square[2], int token)
{
    return token ? vuzp2q_s32(square[0], square[1]) : vuzp1q_s32(square[0], square[1]);
}
