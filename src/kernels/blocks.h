// Weight formats: how a row of weights lies in a GGUF file, and how activations lie beside it.
//
// A row is a sequence of blocks; a block holds `width` weights in `bytes` bytes. Facts from the
// GGUF file format; every layout is drawn at its struct. All numbers little-endian, no alignment
// assumed: GGUF aligns tensors, not blocks, and a row may start at any multiple of its block size.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Type ids as in GGUF files.
enum wtype {
    WT_F32 = 0,
    WT_F16 = 1,
    WT_Q4_0 = 2,
    WT_Q4_1 = 3,
    WT_Q5_0 = 6,
    WT_Q5_1 = 7,
    WT_Q8_0 = 8,
    WT_Q2_K = 10,
    WT_Q3_K = 11,
    WT_Q4_K = 12,
    WT_Q5_K = 13,
    WT_Q6_K = 14,
    WT_IQ2_XXS = 16,
    WT_IQ2_XS = 17,
    WT_IQ3_XXS = 18,
    WT_IQ1_S = 19,
    WT_IQ4_NL = 20,
    WT_IQ3_S = 21,
    WT_IQ2_S = 22,
    WT_IQ4_XS = 23,
    WT_I8 = 24,
    WT_I16 = 25,
    WT_I32 = 26,
    WT_I64 = 27,
    WT_F64 = 28,
    WT_IQ1_M = 29,
    WT_BF16 = 30,
    WT_TQ1_0 = 34,
    WT_TQ2_0 = 35,
    WT_MXFP4 = 39,
    WT_COUNT = 40,
};

struct wtype_info {
    const char *name; // as printed: "Q4_K"; NULL for an id that is no format
    uint16_t width;   // weights a block
    uint16_t bytes;   // bytes a block
};

// Layout of a type, or NULL when the id is unknown. Knowing the layout does not mean that there are
// kernels for it: see kernels_can().
const struct wtype_info *wtype_info(uint32_t type);
int wtype_from_name(const char *name); // -1: unknown; case does not matter

// Bytes of a row of `n` weights; false when `n` is no multiple of the block width or on overflow.
bool wtype_row_bytes(uint32_t type, uint64_t n, size_t *out);

// ---- activations -------------------------------------------------------------------------------
// What a matmul multiplies weights with. Integer formats carry the sums that correct for weight
// formats with an offset.

enum act { ACT_F32, ACT_Q8, ACT_Q8K, ACT_COUNT };

// 32 activations x[i] ~ d * q[i], sum = sum of q. d = max|x| / 127.
struct act_q8 {
    float d;
    int32_t sum;
    int8_t q[32];
};

// 256 activations, sums of each 16. d = max|x| / 127.
struct act_q8k {
    float d;
    int16_t sums[16];
    int8_t q[256];
};

size_t act_row_bytes(enum act act, size_t n); // n a multiple of the block (1, 32, 256)
