// The ARM kernels and what dispatch.c asks of them.
#pragma once

#include "kernels/kernels.h"

void neon_fill(struct kernels *k);
void i8mm_fill(struct kernels *k); // after neon_fill

uint64_t neon_int_dots(uint64_t rounds);
uint64_t i8mm_int_dots(uint64_t rounds);

void neon_matmul_f32(const struct matmul_args *a);
void neon_matmul_f16(const struct matmul_args *a);
void neon_matmul_bf16(const struct matmul_args *a);

#define ARM_ROWS(name)                                    \
    void neon_matmul_##name(const struct matmul_args *a); \
    void i8mm_matmul_##name(const struct matmul_args *a);
#define ARM_FORMAT(name)                                        \
    ARM_ROWS(name)                                              \
    void neon_matmul_lanes_##name(const struct matmul_args *a); \
    void i8mm_matmul_lanes_##name(const struct matmul_args *a);

ARM_FORMAT(q4_0)
ARM_FORMAT(q4_1)
ARM_FORMAT(q5_0)
ARM_FORMAT(q5_1)
ARM_FORMAT(q8_0)
ARM_FORMAT(iq4_nl)
ARM_FORMAT(mxfp4)
ARM_FORMAT(q2_k)
ARM_FORMAT(q3_k)
ARM_FORMAT(q4_k)
ARM_FORMAT(q5_k)
ARM_FORMAT(q6_k)
ARM_FORMAT(iq4_xs)
ARM_FORMAT(tq2_0)
ARM_ROWS(iq3_xxs)
ARM_ROWS(iq3_s)
ARM_ROWS(iq2_xxs)
ARM_ROWS(iq2_xs)
ARM_ROWS(iq2_s)
ARM_ROWS(iq1_s)
ARM_ROWS(iq1_m)
ARM_ROWS(tq1_0)

#undef ARM_FORMAT
#undef ARM_ROWS

void neon_quantize_q8(void *out, const float *x, size_t n);
void neon_quantize_q8k(void *out, const float *x, size_t n);

void neon_rms_norm(float *out, const float *x, const float *w, size_t n, float eps);
void neon_add(float *out, const float *a, const float *b, size_t n);
void neon_mul(float *out, const float *a, const float *b, size_t n);
void neon_add_scaled(float *out, const float *x, float scale, size_t n);
void neon_silu_mul(float *out, const float *gate, const float *up, size_t n);
void neon_gelu_mul(float *out, const float *gate, const float *up, size_t n);
void neon_clamped_mul(float *out, const float *gate, const float *up, size_t n);
void neon_softcap(float *x, size_t n, float cap);
void neon_rope_pairs(float *x, const float *cos, const float *sin, int n_rot);
void neon_rope_halves(float *x, const float *cos, const float *sin, int n_rot);
void neon_exp_vector(float *out, const float *x, size_t n);
void neon_f32_to_f16(uint16_t *out, const float *x, size_t n);
void neon_f16_to_f32(float *out, const uint16_t *x, size_t n);

void neon_attend_f32(const struct attend_args *a);
void neon_attend_f16(const struct attend_args *a);
void neon_attend_q8_0(const struct attend_args *a);
void neon_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim);
