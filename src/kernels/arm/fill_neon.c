// The NEON entries of the kernel table, for processors with dotprod. Every one gives the bits of
// the scalar kernel it replaces. Decoding stays scalar: it is used for one row of an embedding at a
// time.
#include "kernels/arm/arm.h"

#define ROWS(type, name) k->format[WT_##type].matmul = neon_matmul_##name
#define FORMAT(type, name) \
    ROWS(type, name);      \
    k->format[WT_##type].matmul_lanes = neon_matmul_lanes_##name

void neon_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_NEON);
    k->int_dots = neon_int_dots;
    k->format[WT_F32].matmul = neon_matmul_f32;
    k->format[WT_F16].matmul = neon_matmul_f16;
    k->format[WT_BF16].matmul = neon_matmul_bf16;
    FORMAT(Q4_0, q4_0);
    FORMAT(Q4_1, q4_1);
    FORMAT(Q5_0, q5_0);
    FORMAT(Q5_1, q5_1);
    FORMAT(Q8_0, q8_0);
    FORMAT(IQ4_NL, iq4_nl);
    FORMAT(MXFP4, mxfp4);
    FORMAT(Q2_K, q2_k);
    FORMAT(Q3_K, q3_k);
    FORMAT(Q4_K, q4_k);
    FORMAT(Q5_K, q5_k);
    FORMAT(Q6_K, q6_k);
    FORMAT(IQ4_XS, iq4_xs);
    FORMAT(TQ2_0, tq2_0);
    ROWS(IQ3_XXS, iq3_xxs);
    ROWS(IQ3_S, iq3_s);
    ROWS(IQ2_XXS, iq2_xxs);
    ROWS(IQ2_XS, iq2_xs);
    ROWS(IQ2_S, iq2_s);
    ROWS(IQ1_S, iq1_s);
    ROWS(IQ1_M, iq1_m);
    ROWS(TQ1_0, tq1_0);
    k->quantize[ACT_Q8] = neon_quantize_q8;
    k->quantize[ACT_Q8K] = neon_quantize_q8k;
    k->rms_norm = neon_rms_norm;
    k->add = neon_add;
    k->mul = neon_mul;
    k->glu[GLU_SILU] = neon_silu_mul;
    k->glu[GLU_GELU] = neon_gelu_mul;
    k->glu[GLU_CLAMPED] = neon_clamped_mul;
    k->softcap = neon_softcap;
    k->add_scaled = neon_add_scaled;
    k->rope_pairs = neon_rope_pairs;
    k->rope_halves = neon_rope_halves;
    k->exp = neon_exp_vector;
    k->f32_to_f16 = neon_f32_to_f16;
    k->f16_to_f32 = neon_f16_to_f32;
    k->attend[KV_F32] = neon_attend_f32;
    k->attend[KV_F16] = neon_attend_f16;
    k->attend[KV_Q8_0] = neon_attend_q8_0;
    k->attn_merge = neon_attn_merge;
}
