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

// IQ4_NL: w[i] = d * table[q[i]], nibbles as in Q4_0; the table is codebook_iq4_nl.
//   | d:2 | qs:16 |
struct block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
} BLOCK_PACKED;

// MXFP4: w[i] = 2^(e - 128) * table[q[i]], nibbles as in Q4_0; the table is codebook_mxfp4, twice
// the E2M1 numbers.
//   | e:1 | qs:16 |
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
} BLOCK_PACKED;

// Q2_K: sixteen sub-blocks j of 16: w = d * sc[j] * q - dmin * m[j]; scales[j] holds sc[j] low and
// m[j] high.
//   | scales:16 | qs:64 | d:2 | dmin:2 |
//   qs: each half of 128 weights, as four quarters k of 32, has 32 bytes; bits 2k+1..2k of byte l
//   are weight l of quarter k.
struct block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
} BLOCK_PACKED;

// Q3_K: sixteen sub-blocks j of 16: w = d * (sc[j] - 32) * (q - 4), sc of 6 bits.
//   | hmask:32 | qs:64 | scales:12 | d:2 |
//   qs as in Q2_K; bit h*4+k of hmask[l] is the third bit of weight l of quarter k of half h.
//   scales, bit 7..0 of a byte:   0..7    sc[8+j]3:0  sc[j]3:0
//                                 8..11   sc[12+j]5:4  sc[8+j]5:4  sc[4+j]5:4  sc[j]5:4
struct block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
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

// IQ4_XS: eight sub-blocks j of 32: w = d * (sc[j] - 32) * table[q], sc of 6 bits, the table that
// of IQ4_NL.
//   | d:2 | scales_h:2 | scales_l:4 | qs:128 |
//   Nibble j of scales_l (the low one of a byte first) is sc[j]3:0, bits 2j+1..2j of scales_h are
//   sc[j]5:4. qs: 16 bytes for each sub-block, nibbles as in Q4_0.
struct block_iq4_xs {
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} BLOCK_PACKED;

// The ternary formats: w = d * (q - 1), q in 0..2.
//
// TQ2_0: qs as in Q2_K.
//   | qs:64 | d:2 |
struct block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
} BLOCK_PACKED;

// TQ1_0: a byte holds five ternary digits (a byte of qh four) as a fraction: byte = ceil(256 *
// 0.t0 t1 t2 t3 t4), to base 3. So t0 = byte * 3 / 256, and byte * 3 mod 256 brings up t1.
//   | qs:48 | qh:4 | d:2 |
//   Digit n of the first 32 bytes of qs is weight 32 n + i, of the other 16 weight 160 + 16 n + i,
//   of qh weight 240 + 4 n + i.
struct block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
} BLOCK_PACKED;

// The grid formats choose a point of a codebook (scalar/codebooks.h) for every four or eight
// weights. s: four bits, or three in IQ1. Where signs are of seven bits, the eighth makes the
// number of minus signs even.
//
// IQ3_XXS: eight sub-blocks j of 32: w = d / 4 * (2 s[j] + 1) * (+-point), points of four.
//   | d:2 | qs:64 | scales_signs:4x8 |
//   qs: the number of each point. A word of scales_signs: s, then 4 x 7 signs from the lowest bit.
struct block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint32_t scales_signs[8];
} BLOCK_PACKED;

// IQ3_S: eight sub-blocks j of 32: w = d * (2 s[j] + 1) * (+-point), points of four.
//   | d:2 | qs:64 | qh:8 | signs:32 | scales:4 |
//   qs: the lower eight bits of a point's number, bit k of qh[j] the ninth of point k of sub-block
//   j. signs: a bit a weight. scales: nibble j (low first) is s[j].
struct block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
} BLOCK_PACKED;

// IQ2_XXS: eight sub-blocks j of 32: w = d / 8 * (2 s[j] + 1) * (+-point), points of eight.
//   | d:2 | 8 x ( points:4 | scale_signs:4 ) |
//   points: a byte is a number; scale_signs as in IQ3_XXS.
struct block_iq2_xxs {
    uint16_t d;
    struct {
        uint8_t points[4];
        uint32_t scale_signs;
    } BLOCK_PACKED sub[8];
} BLOCK_PACKED;

// IQ2_XS: sixteen sub-blocks j of 16: w = d / 8 * (2 s[j] + 1) * (+-point), points of eight.
//   | d:2 | qs:2x32 | scales:8 |
//   qs: signs:7 number:9 from the highest bit. scales: nibble j (low first) is s[j].
struct block_iq2_xs {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
} BLOCK_PACKED;

// IQ2_S: as IQ2_XS, with numbers of ten bits and all eight signs.
//   | d:2 | qs:32 | signs:32 | qh:8 | scales:8 |
//   qs: the lower eight bits of each number; bits 2k+1..2k of qh[i] are the upper two of point 4i +
//   k.
struct block_iq2_s {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
} BLOCK_PACKED;

// IQ1_S: eight sub-blocks j of 32: w = d * (2 s[j] + 1) * (point +- 1/8), points of eight.
//   | d:2 | qs:32 | qh:2x8 |
//   qs: the lower eight bits of each number. qh[j], from the highest bit: minus:1 s:3, then three
//   upper bits for each of the points 4j+3 .. 4j.
struct block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
} BLOCK_PACKED;

// IQ1_M: sixteen sub-blocks j of 16: as IQ1_S, but the sign of 1/8 belongs to a point.
//   | qs:32 | qh:16 | scales:2x4 |
//   Nibble i of qh (low first), from its highest bit: minus:1 and three upper bits of point i.
//   Bits 3k+2..3k of scales[i] are s[4i + k]; their upper four bits are those of d from scales[3]
//   down to scales[0].
struct block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
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
