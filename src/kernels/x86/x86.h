// The x86 kernels and what dispatch.c asks of them.
#pragma once

#include "kernels/kernels.h"

void avx2_fill(struct kernels *k); // needs AVX2, FMA and F16C

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
