// The AVX2 entries of the kernel table. Every one gives the bits of the scalar kernel it replaces.
// Decoding stays scalar: it is used for one row of an embedding at a time.
#include "kernels/x86/x86.h"

void avx2_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_AVX2);
    k->int_dots = avx2_int_dots;
    k->format[WT_F32].matmul = avx2_matmul_f32;
    k->format[WT_F16].matmul = avx2_matmul_f16;
    k->format[WT_BF16].matmul = avx2_matmul_bf16;
    k->format[WT_Q4_0].matmul = avx2_matmul_q4_0;
    k->format[WT_Q4_0].matmul_lanes = avx2_matmul_lanes_q4_0;
    k->format[WT_Q4_1].matmul = avx2_matmul_q4_1;
    k->format[WT_Q4_1].matmul_lanes = avx2_matmul_lanes_q4_1;
    k->format[WT_Q5_0].matmul = avx2_matmul_q5_0;
    k->format[WT_Q5_0].matmul_lanes = avx2_matmul_lanes_q5_0;
    k->format[WT_Q5_1].matmul = avx2_matmul_q5_1;
    k->format[WT_Q5_1].matmul_lanes = avx2_matmul_lanes_q5_1;
    k->format[WT_Q8_0].matmul = avx2_matmul_q8_0;
    k->format[WT_Q8_0].matmul_lanes = avx2_matmul_lanes_q8_0;
    k->format[WT_Q4_K].matmul = avx2_matmul_q4_k;
    k->format[WT_Q4_K].matmul_lanes = avx2_matmul_lanes_q4_k;
    k->format[WT_Q5_K].matmul = avx2_matmul_q5_k;
    k->format[WT_Q5_K].matmul_lanes = avx2_matmul_lanes_q5_k;
    k->format[WT_Q6_K].matmul = avx2_matmul_q6_k;
    k->format[WT_Q6_K].matmul_lanes = avx2_matmul_lanes_q6_k;
    k->format[WT_IQ4_NL].matmul = avx2_matmul_iq4_nl;
    k->format[WT_IQ4_NL].matmul_lanes = avx2_matmul_lanes_iq4_nl;
    k->format[WT_MXFP4].matmul = avx2_matmul_mxfp4;
    k->format[WT_MXFP4].matmul_lanes = avx2_matmul_lanes_mxfp4;
    k->format[WT_Q2_K].matmul = avx2_matmul_q2_k;
    k->format[WT_Q2_K].matmul_lanes = avx2_matmul_lanes_q2_k;
    k->format[WT_Q3_K].matmul = avx2_matmul_q3_k;
    k->format[WT_Q3_K].matmul_lanes = avx2_matmul_lanes_q3_k;
    k->format[WT_IQ4_XS].matmul = avx2_matmul_iq4_xs;
    k->format[WT_IQ4_XS].matmul_lanes = avx2_matmul_lanes_iq4_xs;
    k->format[WT_TQ2_0].matmul = avx2_matmul_tq2_0;
    k->format[WT_TQ2_0].matmul_lanes = avx2_matmul_lanes_tq2_0;
    k->format[WT_TQ1_0].matmul = avx2_matmul_tq1_0;
    k->format[WT_IQ3_XXS].matmul = avx2_matmul_iq3_xxs;
    k->format[WT_IQ3_S].matmul = avx2_matmul_iq3_s;
    k->format[WT_IQ2_XXS].matmul = avx2_matmul_iq2_xxs;
    k->format[WT_IQ2_XS].matmul = avx2_matmul_iq2_xs;
    k->format[WT_IQ2_S].matmul = avx2_matmul_iq2_s;
    k->format[WT_IQ1_S].matmul = avx2_matmul_iq1_s;
    k->format[WT_IQ1_M].matmul = avx2_matmul_iq1_m;
    k->quantize[ACT_Q8] = avx2_quantize_q8;
    k->quantize[ACT_Q8K] = avx2_quantize_q8k;
    k->rms_norm = avx2_rms_norm;
    k->add = avx2_add;
    k->mul = avx2_mul;
    k->glu[GLU_SILU] = avx2_silu_mul;
    k->glu[GLU_GELU] = avx2_gelu_mul;
    k->glu[GLU_CLAMPED] = avx2_clamped_mul;
    k->softcap = avx2_softcap;
    k->add_scaled = avx2_add_scaled;
    k->rope_pairs = avx2_rope_pairs;
    k->rope_halves = avx2_rope_halves;
    k->exp = avx2_exp_vector;
    k->f32_to_f16 = avx2_f32_to_f16;
    k->f16_to_f32 = avx2_f16_to_f32;
    k->attend[KV_F32] = avx2_attend_f32;
    k->attend[KV_F16] = avx2_attend_f16;
    k->attend[KV_Q8_0] = avx2_attend_q8_0;
    k->attn_merge = avx2_attn_merge;
}
