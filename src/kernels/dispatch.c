// The kernel tables: one for each instruction set, filled once. Scalar entries first, then each
// instruction set that `isa` includes overrides what it does better.
#include "kernels/kernels.h"

#include "base/check.h"
#include "kernels/scalar/scalar.h"

#include <pthread.h>

#if defined(__x86_64__)
#include "kernels/x86/x86.h"
#elif defined(__aarch64__)
#include "kernels/arm/arm.h"
#endif

static struct kernels tables[ISA_COUNT];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

#define SCALAR_ROWS(act, name)                                \
    (struct format_kernels)                                   \
    {                                                         \
        act, scalar_decode_##name, scalar_matmul_##name, NULL \
    }
#define SCALAR_LANES(act, name)                                                     \
    (struct format_kernels)                                                         \
    {                                                                               \
        act, scalar_decode_##name, scalar_matmul_##name, scalar_matmul_lanes_##name \
    }

static void fill_scalar(struct kernels *k)
{
    struct format_kernels *f = k->format;
    k->isa = isa_name(ISA_SCALAR);
    k->int_dots = scalar_int_dots;
    f[WT_F32] = SCALAR_ROWS(ACT_F32, f32);
    f[WT_F16] = SCALAR_ROWS(ACT_F32, f16);
    f[WT_BF16] = SCALAR_ROWS(ACT_F32, bf16);
    f[WT_Q4_0] = SCALAR_LANES(ACT_Q8, q4_0);
    f[WT_Q4_1] = SCALAR_LANES(ACT_Q8, q4_1);
    f[WT_Q5_0] = SCALAR_LANES(ACT_Q8, q5_0);
    f[WT_Q5_1] = SCALAR_LANES(ACT_Q8, q5_1);
    f[WT_Q8_0] = SCALAR_LANES(ACT_Q8, q8_0);
    f[WT_Q4_K] = SCALAR_LANES(ACT_Q8K, q4_k);
    f[WT_Q5_K] = SCALAR_LANES(ACT_Q8K, q5_k);
    f[WT_Q6_K] = SCALAR_LANES(ACT_Q8K, q6_k);
    f[WT_IQ4_NL] = SCALAR_LANES(ACT_Q8, iq4_nl);
    f[WT_MXFP4] = SCALAR_LANES(ACT_Q8, mxfp4);
    f[WT_Q2_K] = SCALAR_LANES(ACT_Q8K, q2_k);
    f[WT_Q3_K] = SCALAR_LANES(ACT_Q8K, q3_k);
    f[WT_IQ4_XS] = SCALAR_LANES(ACT_Q8K, iq4_xs);
    f[WT_TQ2_0] = SCALAR_LANES(ACT_Q8K, tq2_0);
    f[WT_TQ1_0] = SCALAR_ROWS(ACT_Q8K, tq1_0);
    f[WT_IQ3_XXS] = SCALAR_ROWS(ACT_Q8K, iq3_xxs);
    f[WT_IQ3_S] = SCALAR_ROWS(ACT_Q8K, iq3_s);
    f[WT_IQ2_XXS] = SCALAR_ROWS(ACT_Q8K, iq2_xxs);
    f[WT_IQ2_XS] = SCALAR_ROWS(ACT_Q8K, iq2_xs);
    f[WT_IQ2_S] = SCALAR_ROWS(ACT_Q8K, iq2_s);
    f[WT_IQ1_S] = SCALAR_ROWS(ACT_Q8K, iq1_s);
    f[WT_IQ1_M] = SCALAR_ROWS(ACT_Q8K, iq1_m);
    k->quantize[ACT_F32] = scalar_quantize_f32;
    k->quantize[ACT_Q8] = scalar_quantize_q8;
    k->quantize[ACT_Q8K] = scalar_quantize_q8k;
    k->rms_norm = scalar_rms_norm;
    k->add = scalar_add;
    k->mul = scalar_mul;
    k->glu[GLU_SILU] = scalar_silu_mul;
    k->glu[GLU_GELU] = scalar_gelu_mul;
    k->glu[GLU_CLAMPED] = scalar_clamped_mul;
    k->softcap = scalar_softcap;
    k->add_scaled = scalar_add_scaled;
    k->rope_pairs = scalar_rope_pairs;
    k->rope_halves = scalar_rope_halves;
    k->exp = scalar_exp;
    k->f32_to_f16 = scalar_f32_to_f16;
    k->f16_to_f32 = scalar_f16_to_f32;
    k->attend[KV_F32] = scalar_attend_f32;
    k->attend[KV_F16] = scalar_attend_f16;
    k->attend[KV_Q8_0] = scalar_attend_q8_0;
    k->attn_merge = scalar_attn_merge;
}

static void kernels_init(struct kernels *k, enum isa isa)
{
    fill_scalar(k);
    if (isa == ISA_SCALAR)
        return;
#if defined(__x86_64__)
    avx2_fill(k);
    if (isa == ISA_AVX2)
        return;
    avx512_fill(k);
#elif defined(__aarch64__)
    neon_fill(k);
    if (isa == ISA_NEON)
        return;
    i8mm_fill(k);
#endif
}

static void fill_tables(void)
{
    for (int isa = 0; isa < ISA_COUNT; isa++)
        if (isa_has((enum isa)isa))
            kernels_init(&tables[isa], (enum isa)isa);
}

const struct kernels *kernels_for(enum isa isa)
{
    CHECK(isa_has(isa));
    pthread_once(&filled, fill_tables);
    return &tables[isa];
}

bool kernels_can(uint32_t type)
{
    return type < WT_COUNT && kernels_for(ISA_SCALAR)->format[type].decode;
}
