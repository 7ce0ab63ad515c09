// The AVX2 entries of the kernel table. Every one gives the bits of the scalar kernel it replaces.
// Decoding stays scalar: it is used for one row of an embedding at a time.
#include "kernels/x86/x86.h"

void avx2_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_AVX2);
    k->format[WT_F32].matmul = avx2_matmul_f32;
    k->format[WT_F16].matmul = avx2_matmul_f16;
    k->format[WT_BF16].matmul = avx2_matmul_bf16;
    k->format[WT_Q4_0].matmul = avx2_matmul_q4_0;
    k->format[WT_Q4_1].matmul = avx2_matmul_q4_1;
    k->format[WT_Q5_0].matmul = avx2_matmul_q5_0;
    k->format[WT_Q5_1].matmul = avx2_matmul_q5_1;
    k->format[WT_Q8_0].matmul = avx2_matmul_q8_0;
    k->format[WT_Q4_K].matmul = avx2_matmul_q4_k;
    k->format[WT_Q5_K].matmul = avx2_matmul_q5_k;
    k->format[WT_Q6_K].matmul = avx2_matmul_q6_k;
}
