// The i8mm entries of the kernel table, over those of NEON. Every one gives the bits of the scalar
// kernel.
#include "kernels/arm/arm.h"

#define ROWS(type, name) k->format[WT_##type].matmul = i8mm_matmul_##name
#define FORMAT(type, name) \
    ROWS(type, name);      \
    k->format[WT_##type].matmul_lanes = i8mm_matmul_lanes_##name

void i8mm_fill(struct kernels *k)
{
    k->isa = isa_name(ISA_I8MM);
    k->int_dots = i8mm_int_dots;
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
}
