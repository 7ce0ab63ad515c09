// The AVX2 entries of the kernel table.
#include "kernels/x86/x86.h"

void avx2_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_AVX2);
}
