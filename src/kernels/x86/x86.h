// The x86 kernels and what dispatch.c asks of them.
#pragma once

#include "kernels/kernels.h"

void avx2_fill(struct kernels *k);
void avx512_fill(struct kernels *k); // after avx2_fill

uint64_t avx2_int_dots(uint64_t rounds);
uint64_t avx512_int_dots(uint64_t rounds);

void avx2_matmul_f32(const struct matmul_args *a);
void avx2_matmul_f16(const struct matmul_args *a);
void avx2_matmul_bf16(const struct matmul_args *a);
void avx2_matmul_q4_0(const struct matmul_args *a);
void avx2_matmul_q4_1(const struct matmul_args *a);
void avx2_matmul_q5_0(const struct matmul_args *a);
void avx2_matmul_q5_1(const struct matmul_args *a);
void avx2_matmul_q8_0(const struct matmul_args *a);
void avx2_matmul_q4_k(const struct matmul_args *a);
void avx2_matmul_q5_k(const struct matmul_args *a);
void avx2_matmul_q6_k(const struct matmul_args *a);
void avx2_matmul_iq4_nl(const struct matmul_args *a);
void avx2_matmul_mxfp4(const struct matmul_args *a);
void avx2_matmul_q2_k(const struct matmul_args *a);
void avx2_matmul_q3_k(const struct matmul_args *a);
void avx2_matmul_iq4_xs(const struct matmul_args *a);
void avx2_matmul_tq2_0(const struct matmul_args *a);
void avx2_matmul_tq1_0(const struct matmul_args *a);
void avx2_matmul_iq3_xxs(const struct matmul_args *a);
void avx2_matmul_iq3_s(const struct matmul_args *a);
void avx2_matmul_iq2_xxs(const struct matmul_args *a);
void avx2_matmul_iq2_xs(const struct matmul_args *a);
void avx2_matmul_iq2_s(const struct matmul_args *a);
void avx2_matmul_iq1_s(const struct matmul_args *a);
void avx2_matmul_iq1_m(const struct matmul_args *a);

void avx2_matmul_lanes_q4_0(const struct matmul_args *a);
void avx2_matmul_lanes_q4_1(const struct matmul_args *a);
void avx2_matmul_lanes_q5_0(const struct matmul_args *a);
void avx2_matmul_lanes_q5_1(const struct matmul_args *a);
void avx2_matmul_lanes_q8_0(const struct matmul_args *a);
void avx2_matmul_lanes_q4_k(const struct matmul_args *a);
void avx2_matmul_lanes_q5_k(const struct matmul_args *a);
void avx2_matmul_lanes_q6_k(const struct matmul_args *a);
void avx2_matmul_lanes_iq4_nl(const struct matmul_args *a);
void avx2_matmul_lanes_mxfp4(const struct matmul_args *a);
void avx2_matmul_lanes_q2_k(const struct matmul_args *a);
void avx2_matmul_lanes_q3_k(const struct matmul_args *a);
void avx2_matmul_lanes_iq4_xs(const struct matmul_args *a);
void avx2_matmul_lanes_tq2_0(const struct matmul_args *a);

void avx512_matmul_f32(const struct matmul_args *a);
void avx512_matmul_f16(const struct matmul_args *a);
void avx512_matmul_bf16(const struct matmul_args *a);
void avx512_matmul_q4_0(const struct matmul_args *a);
void avx512_matmul_q4_1(const struct matmul_args *a);
void avx512_matmul_q5_0(const struct matmul_args *a);
void avx512_matmul_q5_1(const struct matmul_args *a);
void avx512_matmul_q8_0(const struct matmul_args *a);
void avx512_matmul_q4_k(const struct matmul_args *a);
void avx512_matmul_q5_k(const struct matmul_args *a);
void avx512_matmul_q6_k(const struct matmul_args *a);
void avx512_matmul_iq4_nl(const struct matmul_args *a);
void avx512_matmul_mxfp4(const struct matmul_args *a);
void avx512_matmul_q2_k(const struct matmul_args *a);
void avx512_matmul_q3_k(const struct matmul_args *a);
void avx512_matmul_iq4_xs(const struct matmul_args *a);
void avx512_matmul_tq2_0(const struct matmul_args *a);
void avx512_matmul_iq3_xxs(const struct matmul_args *a);
void avx512_matmul_iq3_s(const struct matmul_args *a);
void avx512_matmul_iq2_xxs(const struct matmul_args *a);
void avx512_matmul_iq2_xs(const struct matmul_args *a);
void avx512_matmul_iq2_s(const struct matmul_args *a);
void avx512_matmul_iq1_s(const struct matmul_args *a);
void avx512_matmul_iq1_m(const struct matmul_args *a);
void avx512_matmul_tq1_0(const struct matmul_args *a);
void avx512_matmul_lanes_q4_0(const struct matmul_args *a);
void avx512_matmul_lanes_q4_1(const struct matmul_args *a);
void avx512_matmul_lanes_q5_0(const struct matmul_args *a);
void avx512_matmul_lanes_q5_1(const struct matmul_args *a);
void avx512_matmul_lanes_q8_0(const struct matmul_args *a);
void avx512_matmul_lanes_q4_k(const struct matmul_args *a);
void avx512_matmul_lanes_q5_k(const struct matmul_args *a);
void avx512_matmul_lanes_q6_k(const struct matmul_args *a);
void avx512_matmul_lanes_iq4_nl(const struct matmul_args *a);
void avx512_matmul_lanes_mxfp4(const struct matmul_args *a);
void avx512_matmul_lanes_q2_k(const struct matmul_args *a);
void avx512_matmul_lanes_q3_k(const struct matmul_args *a);
void avx512_matmul_lanes_iq4_xs(const struct matmul_args *a);
void avx512_matmul_lanes_tq2_0(const struct matmul_args *a);

void avx2_quantize_q8(void *out, const float *x, size_t n);
void avx2_quantize_q8k(void *out, const float *x, size_t n);

void avx2_rms_norm(float *out, const float *x, const float *w, size_t n, float eps);
void avx2_add(float *out, const float *a, const float *b, size_t n);
void avx2_mul(float *out, const float *a, const float *b, size_t n);
void avx2_add_scaled(float *out, const float *x, float scale, size_t n);
void avx2_silu_mul(float *out, const float *gate, const float *up, size_t n);
void avx2_gelu_mul(float *out, const float *gate, const float *up, size_t n);
void avx2_clamped_mul(float *out, const float *gate, const float *up, size_t n);
void avx2_softcap(float *x, size_t n, float cap);
void avx2_rope_pairs(float *x, const float *cos, const float *sin, int n_rot);
void avx2_rope_halves(float *x, const float *cos, const float *sin, int n_rot);
void avx2_exp_vector(float *out, const float *x, size_t n);
void avx2_f32_to_f16(uint16_t *out, const float *x, size_t n);
void avx2_f16_to_f32(float *out, const uint16_t *x, size_t n);

void avx2_attend_f32(const struct attend_args *a);
void avx2_attend_f16(const struct attend_args *a);
void avx2_attend_q8_0(const struct attend_args *a);
void avx2_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim);

void avx512_attend_f32(const struct attend_args *a);
void avx512_attend_f16(const struct attend_args *a);
void avx512_attend_q8_0(const struct attend_args *a);
void avx512_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim);
