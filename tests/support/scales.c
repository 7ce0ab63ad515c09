// Scales of blocks: see scales.h. Written from the drawings in kernels/blocks.h.
#include "scales.h"

#include "kernels/blocks.h"

#include <math.h>
#include <string.h>

static void put(uint8_t *at, uint16_t h)
{
    at[0] = (uint8_t)h;
    at[1] = (uint8_t)(h >> 8);
}

double scales_half_at(const uint8_t *p)
{
    uint16_t h = (uint16_t)(p[0] | p[1] << 8);
    double v = h >> 10 & 31 ? ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25) : ldexp(h & 1023, -24);
    return h >> 15 ? -v : v;
}

// The upper four bits of four words, the first word the lowest.
static void put_iq1_m(uint8_t *block, uint16_t d)
{
    for (int i = 0; i < 4; i++) {
        uint8_t *top = block + 48 + 2 * i + 1;
        *top = (uint8_t)((*top & 15) | (d >> 4 * i & 15) << 4);
    }
}

void scales_put(uint32_t type, uint8_t *block, uint16_t d, uint16_t m)
{
    switch (type) {
    case WT_Q4_K:
    case WT_Q5_K:
    case WT_Q4_1:
    case WT_Q5_1:
        put(block, d);
        put(block + 2, m);
        break;
    case WT_Q2_K:
        put(block + 80, d);
        put(block + 82, m);
        break;
    case WT_Q3_K:
        put(block + 108, d);
        break;
    case WT_Q6_K:
        put(block + 208, d);
        break;
    case WT_TQ1_0:
        put(block + 52, d);
        break;
    case WT_TQ2_0:
        put(block + 64, d);
        break;
    case WT_IQ1_M:
        put_iq1_m(block, d);
        break;
    case WT_MXFP4:
        // A half's exponent counts from 15, that of E8M0 from 127, and the table counts halves.
        *block = (d & 0x7c00) == 0x7c00 ? 255 : (uint8_t)((d >> 10 & 31) - 15 + 128);
        break;
    default:
        put(block, d);
    }
}
