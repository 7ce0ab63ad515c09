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

// ---- block layouts -----------------------------------------------------------------------------
// Packed, because a block may start at any byte: read members by value, never through a pointer to
// anything wider than a byte. `d` and `m` are IEEE half floats unless said otherwise.

#define BLOCK_PACKED __attribute__((packed))

enum { BLOCK_SMALL = 32, BLOCK_K = 256 };

// Q4_0: w[i] = d * (q[i] - 8). Byte i of qs holds q[i] low and q[i + 16] high.
//   | d:2 | qs:16 |
struct block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
} BLOCK_PACKED;

// Q4_1: w[i] = d * q[i] + m; nibbles as in Q4_0.
//   | d:2 | m:2 | qs:16 |
struct block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
} BLOCK_PACKED;

// Q5_0: w[i] = d * (q[i] - 16); nibbles as in Q4_0, bit i of qh is the fifth bit of q[i].
//   | d:2 | qh:4 | qs:16 |
struct block_q5_0 {
    uint16_t d;
    uint32_t qh;
    uint8_t qs[16];
} BLOCK_PACKED;

// Q5_1: w[i] = d * q[i] + m.
//   | d:2 | m:2 | qh:4 | qs:16 |
struct block_q5_1 {
    uint16_t d, m;
    uint32_t qh;
    uint8_t qs[16];
} BLOCK_PACKED;

// Q8_0: w[i] = d * qs[i]. Files may hold -128.
//   | d:2 | qs:32 |
struct block_q8_0 {
    uint16_t d;
    int8_t qs[32];
} BLOCK_PACKED;

// Q4_K: eight sub-blocks j of 32: w = d * sc[j] * q - dmin * m[j], sc and m of 6 bits.
//   | d:2 | dmin:2 | scales:12 | qs:128 |
//   scales, bit 7..0 of a byte:   0..3   sc[4+j]5:4  sc[j]5:0
//                                 4..7    m[4+j]5:4   m[j]5:0
//                                 8..11   m[4+j]3:0  sc[4+j]3:0
//   qs: 32 bytes for each pair of sub-blocks, the even one in the low nibbles.
struct block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} BLOCK_PACKED;

// Q5_K: as Q4_K; bit j of qh[l] is the fifth bit of weight l of sub-block j.
//   | d:2 | dmin:2 | scales:12 | qh:32 | qs:128 |
struct block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} BLOCK_PACKED;

// Q6_K: sixteen sub-blocks of 16: w = d * scales[i / 16] * (q[i] - 32).
//   | ql:128 | qh:64 | scales:16 | d:2 |
//   Each half h of 128 weights, as four quarters of 32 (l = 0..31), has 64 bytes of ql and 32 of
//   qh: quarters 0 and 1 are the low nibbles of ql[l] and ql[32 + l], 2 and 3 their high nibbles;
//   bits 2k+1..2k of qh[l] are the upper two bits of quarter k.
struct block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} BLOCK_PACKED;

// ---- activations -------------------------------------------------------------------------------
// What a matmul multiplies weights with. Integer formats carry the sums that correct for weight
// formats with an offset.

enum act { ACT_F32, ACT_Q8, ACT_Q8K, ACT_COUNT };

// 32 activations x[i] ~ d * q[i], sum = sum of q. d = max|x| / 127, so q lies in [-127, 127]: the
// kernels rely on -128 not occurring. A block with an infinity or a NaN has d = NaN and q = 0, so
// that it poisons what it is multiplied with; one with max|x| < 2^-100 is all zero.
struct act_q8 {
    float d;
    int32_t sum;
    int8_t q[32];
};

// 256 activations, sums of each 16; otherwise as act_q8.
struct act_q8k {
    float d;
    int16_t sums[16];
    int8_t q[256];
};

size_t act_row_bytes(enum act act, size_t n); // n a multiple of the block (1, 32, 256)
