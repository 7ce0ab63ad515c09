// What dispatch.c asks of the x86 kernels.
#pragma once

#include "kernels/kernels.h"

void avx2_fill(struct kernels *k); // needs AVX2, FMA and F16C
