// The searches of fit_blocks.h, compiled for AVX2.
#include "kernels/fit_blocks.h"

fit_block *fit_block_avx2(uint32_t type)
{
    return fit_blocks[type];
}
