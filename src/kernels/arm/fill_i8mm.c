// The i8mm entries of the kernel table, over those of NEON. Every one gives the bits of the scalar
// kernel.
#include "kernels/arm/arm.h"

void i8mm_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_I8MM);
    k->int_dots = i8mm_int_dots;
}
