// Sines and cosines for rotary positions, from IEEE operations alone, so that every machine of a
// ring rotates by the same bits whatever its C library does.
//
// The angle is reduced by multiples of pi/2, held as the sum of two doubles and subtracted with
// fused operations; what is left, |r| <= pi/4, goes through the Taylor series up to where the next
// term is below 2^-58.
#include "backend/cpu/cpu.h"

#include <math.h>

static const double HALF_PI_HIGH = 0x1.921fb54442d18p+0;
static const double HALF_PI_LOW = 0x1.1a62633145c07p-54;
static const double TWO_OVER_PI = 0x1.45f306dc9c883p-1;

// x^(2i+1) / (2i+1)! and x^(2i) / (2i)!, alternating signs, highest power first.
static const double SINE[] = {
    1.0 / 355687428096000,
    -1.0 / 1307674368000,
    1.0 / 6227020800,
    -1.0 / 39916800,
    1.0 / 362880,
    -1.0 / 5040,
    1.0 / 120,
    -1.0 / 6,
    1.0,
};
static const double COSINE[] = {
    1.0 / 20922789888000,
    -1.0 / 87178291200,
    1.0 / 479001600,
    -1.0 / 3628800,
    1.0 / 40320,
    -1.0 / 720,
    1.0 / 24,
    -1.0 / 2,
    1.0,
};

static double series(const double *c, double square)
{
    double sum = c[0];
    for (int i = 1; i < 9; i++)
        sum = sum * square + c[i];
    return sum;
}

void angle_cos_sin(int32_t pos, float freq, float *c, float *s)
{
    double x = (double)pos * (double)freq;
    double turns = rint(x * TWO_OVER_PI);
    double r = fma(-turns, HALF_PI_LOW, fma(-turns, HALF_PI_HIGH, x));
    double sine = series(SINE, r * r) * r, cosine = series(COSINE, r * r);
    switch ((int64_t)turns & 3) {
    case 0:
        *c = (float)cosine, *s = (float)sine;
        break;
    case 1:
        *c = (float)-sine, *s = (float)cosine;
        break;
    case 2:
        *c = (float)-cosine, *s = (float)-sine;
        break;
    default:
        *c = (float)sine, *s = (float)-cosine;
        break;
    }
}
