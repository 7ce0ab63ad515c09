// The kernel table: pure arithmetic on raw pointers. No allocation, no threads, no errors.
//
// kernels_init fills the table from scalar/ first, then an early-return ladder per instruction set
// overrides entries; the suffix of a file is its instruction set. The scalar kernel is the
// definition: tests/kernels compares every other one with it.
//
// Invariance. A format defines its sum, so that a product's bits do not depend on how many tokens,
// rows or threads there were:
//   integer formats  acc = 0; for each block, ascending: acc = fmaf(d_w * d_x, (float)isum, acc),
//                    isum the exact integer dot of the block (sub-block scales folded in as
//                    integers); formats with a minimum then do acc = fmaf(-(m_w * d_x),
//                    (float)imin, acc) for the same block.
//   float formats    eight sums s[j] = fma over k = j mod 8, ascending, then the fixed tree
//                    ((s0+s4)+(s2+s6))+((s1+s5)+(s3+s7)).
// Sums over a vector (norms) use the eight-lane order too; those of attention are in kv_chunk.h.
// Products are compiled with -ffp-contract=off: a fused operation is written as one. Every
// instruction set there is so far gives the bits of scalar/ in every entry of the table, and the
// tests compare bits.
#pragma once

#include "kernels/blocks.h"

#include <stddef.h>
#include <stdint.h>

enum kv_type { KV_F32, KV_F16, KV_Q8_0, KV_TYPE_COUNT };

// Positions of a chunk: attention makes one partial result for each. Chunks begin at absolute
// multiples of this.
enum { KV_CHUNK = 64 };

// What attention over one chunk of positions leaves: softmax numerator and denominator relative to
// the chunk's own maximum. acc: (head_dim).
struct attn_partial {
    float max, sum;
    float *acc;
};

// Which positions of a chunk a query sees: [lo, hi), lo < hi.
struct attn_span {
    uint8_t lo, hi;
};

// One chunk of one key-value head, and queries that see some of it. kv_chunk.h draws chunks and
// says what the sums are.
struct attend_args {
    struct attn_partial *out;     // (n_rows): filled
    const struct attn_span *seen; // (n_rows)
    const void *q;                // query r at q + r * q_stride, as kv_query made it
    size_t q_stride;              // bytes
    const uint8_t *chunk;
    const uint8_t *ahead; // a chunk that will be wanted next, so that it is on its way; or `chunk`
    int n_rows, head_dim;
    float softcap; // of scores, before the maximum is taken; 0: none
};

// How the two halves of a gated network become one. exp is the table's.
enum glu {
    GLU_SILU, // gate / (1 + exp(-gate)) * up
    // GELU in its tanh form, as a sigmoid: gate / (1 + exp(-z)) * up, z = gate * (GELU_CUBE *
    // gate^2
    // + GELU_LINEAR)
    GLU_GELU,
    // gpt-oss: g = min(gate, 7), u = up within [-7, 7]: g / (1 + exp(-1.702 g)) * (u + 1)
    GLU_CLAMPED,
    GLU_COUNT,
};
#define GELU_LINEAR   1.5957691216057308f  // 2 sqrt(2 / pi)
#define GELU_CUBE     0.07135481282789474f // and 0.044715 times that
#define CLAMPED_LIMIT 7.0f
#define CLAMPED_SLOPE 1.702f

struct matmul_args {
    float *out;        // out[t * out_stride + r]
    size_t out_stride; // floats
    const void *w;     // row r at w + r * w_stride; in lane form a group of rows (see lanes.h)
    size_t w_stride;   // bytes
    const void *x;     // token t at x + t * x_stride, held as format.act says
    size_t x_stride;   // bytes
    size_t n_in;       // a multiple of the format's block width
    int row_lo, row_hi;
    int n_tokens;
};

struct format_kernels {
    enum act act;                                             // what activations it multiplies
    void (*decode)(float *out, const void *blocks, size_t n); // exact values
    void (*matmul)(const struct matmul_args *a);              // any n_tokens >= 1
    // The same product, to the bit, of weights in lane form; row_lo is a multiple of LANE_ROWS.
    // NULL where the format has no lane form.
    void (*matmul_lanes)(const struct matmul_args *a);
};

struct kernels {
    const char *isa;                        // isa_name
    struct format_kernels format[WT_COUNT]; // .decode NULL: no kernels for this format

    // The ceiling of integer products: so many rounds of this instruction set's int8 dot products,
    // with all operands in registers. Returns the operations done, a multiplication and an addition
    // each; whoever measures takes the time.
    uint64_t (*int_dots)(uint64_t rounds);

    void (*quantize[ACT_COUNT])(void *out, const float *x, size_t n); // [ACT_F32]: a copy

    // out = x * w / sqrt(mean(x^2) + eps); out may be x.
    void (*rms_norm)(float *out, const float *x, const float *w, size_t n, float eps);
    void (*add)(float *out, const float *a, const float *b, size_t n); // out may be a
    void (*mul)(float *out, const float *a, const float *b, size_t n); // out may be a
    void (*glu[GLU_COUNT])(float *out, const float *gate, const float *up, size_t n); // likewise
    void (*softcap)(float *x, size_t n, float cap); // x = cap * tanh(x / cap), cap > 0
    void (*add_scaled)(float *out, const float *x, float scale, size_t n); // fmaf(x, scale, out)
    // Rotates one head of n_rot dims in place by angles given as (n_rot / 2) cosines and sines.
    void (*rope_pairs)(float *x, const float *cos, const float *sin, int n_rot);  // (2i, 2i+1)
    void (*rope_halves)(float *x, const float *cos, const float *sin, int n_rot); // (i, i + n/2)
    void (*exp)(float *out, const float *x, size_t n); // our own expf: same bits on every ISA
    void (*f32_to_f16)(uint16_t *out, const float *x, size_t n); // nearest even
    void (*f16_to_f32)(float *out, const uint16_t *x, size_t n);

    void (*attend[KV_TYPE_COUNT])(const struct attend_args *a);
    // Merges `p` into `into`, in place; chunks are merged in ascending order of position. Nothing
    // yet is max = -INFINITY, sum = 0, acc = 0.
    void (*attn_merge)(struct attn_partial *into, const struct attn_partial *p, int head_dim);
};

// In the order of preference, within a family of processors.
enum isa {
    ISA_SCALAR,
    ISA_AVX2,   // AVX2, FMA, F16C
    ISA_AVX512, // and AVX-512 F, BW, DQ, VL, VNNI
    ISA_NEON,   // ARMv8.2 with dotprod
    ISA_I8MM,   // and i8mm
    ISA_COUNT,
};

bool isa_has(enum isa isa); // this machine
enum isa isa_detect(void);  // the best this machine has
const char *isa_name(enum isa isa);

// The table for `isa`; the machine must have it. The tables live for ever and are read-only.
const struct kernels *kernels_for(enum isa isa);

// Whether weights of this type can be multiplied.
bool kernels_can(uint32_t type);
