// The NEON entries of the kernel table, for processors with dotprod. Every one gives the bits of
// the scalar kernel it replaces. Decoding stays scalar: it is used for one row of an embedding at a
// time.
#include "kernels/arm/arm.h"

void neon_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_NEON);
    k->int_dots = neon_int_dots;
    k->format[WT_F32].matmul = neon_matmul_f32;
    k->format[WT_F16].matmul = neon_matmul_f16;
    k->format[WT_BF16].matmul = neon_matmul_bf16;
    k->quantize[ACT_Q8] = neon_quantize_q8;
    k->quantize[ACT_Q8K] = neon_quantize_q8k;
    k->rms_norm = neon_rms_norm;
    k->add = neon_add;
    k->mul = neon_mul;
    k->silu_mul = neon_silu_mul;
    k->rope_pairs = neon_rope_pairs;
    k->rope_halves = neon_rope_halves;
    k->exp = neon_exp_vector;
    k->f32_to_f16 = neon_f32_to_f16;
    k->f16_to_f32 = neon_f16_to_f32;
}
