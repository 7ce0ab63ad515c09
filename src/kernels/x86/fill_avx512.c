// The AVX-512 entries of the kernel table, over those of AVX2. Every one gives the bits of the
// scalar kernel.
#include "kernels/x86/x86.h"

void avx512_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_AVX512);
    k->int_dots = avx512_int_dots;
    k->attend[KV_F32] = avx512_attend_f32;
    k->attend[KV_F16] = avx512_attend_f16;
    k->attend[KV_Q8_0] = avx512_attend_q8_0;
    k->attn_merge = avx512_attn_merge;
}
