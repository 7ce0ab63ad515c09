// The kernel tables: one for each instruction set, filled once. Scalar entries first, then each
// instruction set that `isa` includes overrides what it does better.
#include "kernels/kernels.h"

#include "base/check.h"
#include "kernels/scalar/scalar.h"

#include <pthread.h>

#if defined(__x86_64__)
#include "kernels/x86/x86.h"
#endif

static struct kernels tables[ISA_COUNT];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill_scalar(struct kernels *k)
{
    struct format_kernels *f = k->format;
    k->isa = isa_name(ISA_SCALAR);
    f[WT_F32] = (struct format_kernels){ACT_F32, scalar_decode_f32, scalar_matmul_f32};
    f[WT_F16] = (struct format_kernels){ACT_F32, scalar_decode_f16, scalar_matmul_f16};
    f[WT_BF16] = (struct format_kernels){ACT_F32, scalar_decode_bf16, scalar_matmul_bf16};
    f[WT_Q4_0] = (struct format_kernels){ACT_Q8, scalar_decode_q4_0, scalar_matmul_q4_0};
    f[WT_Q4_1] = (struct format_kernels){ACT_Q8, scalar_decode_q4_1, scalar_matmul_q4_1};
    f[WT_Q5_0] = (struct format_kernels){ACT_Q8, scalar_decode_q5_0, scalar_matmul_q5_0};
    f[WT_Q5_1] = (struct format_kernels){ACT_Q8, scalar_decode_q5_1, scalar_matmul_q5_1};
    f[WT_Q8_0] = (struct format_kernels){ACT_Q8, scalar_decode_q8_0, scalar_matmul_q8_0};
    f[WT_Q4_K] = (struct format_kernels){ACT_Q8K, scalar_decode_q4_k, scalar_matmul_q4_k};
    f[WT_Q5_K] = (struct format_kernels){ACT_Q8K, scalar_decode_q5_k, scalar_matmul_q5_k};
    f[WT_Q6_K] = (struct format_kernels){ACT_Q8K, scalar_decode_q6_k, scalar_matmul_q6_k};
    k->quantize[ACT_F32] = scalar_quantize_f32;
    k->quantize[ACT_Q8] = scalar_quantize_q8;
    k->quantize[ACT_Q8K] = scalar_quantize_q8k;
    k->rms_norm = scalar_rms_norm;
    k->add = scalar_add;
    k->mul = scalar_mul;
    k->silu_mul = scalar_silu_mul;
    k->rope_pairs = scalar_rope_pairs;
    k->rope_halves = scalar_rope_halves;
    k->exp = scalar_exp;
    k->f32_to_f16 = scalar_f32_to_f16;
    k->f16_to_f32 = scalar_f16_to_f32;
    k->attend[KV_F32] = scalar_attend_f32;
    k->attend[KV_F16] = scalar_attend_f16;
    k->attn_merge = scalar_attn_merge;
}

static void kernels_init(struct kernels *k, enum isa isa)
{
    fill_scalar(k);
    if (isa < ISA_AVX2)
        return;
#if defined(__x86_64__)
    avx2_fill(k);
#endif
}

static void fill_tables(void)
{
    for (int isa = 0; isa < ISA_COUNT; isa++)
        kernels_init(&tables[isa], isa);
}

const struct kernels *kernels_for(enum isa isa)
{
    CHECK(isa < ISA_COUNT && isa <= isa_detect());
    pthread_once(&filled, fill_tables);
    return &tables[isa];
}

bool kernels_can(uint32_t type)
{
    return type < WT_COUNT && kernels_for(ISA_SCALAR)->format[type].decode;
}
