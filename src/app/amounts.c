// Amounts for people: see amounts.h.
#include "app/amounts.h"

#include <stdio.h>

static int decimals(double x)
{
    return x < 9.995 ? 2 : x < 99.95;
}

void amount_size(char out[AMOUNT_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double x = (double)bytes;
    int unit = 0;
    for (; x >= 999.5 && unit < 6; unit++)
        x /= 1024;
    snprintf(out, AMOUNT_BYTES, "%.*f %s", unit ? decimals(x) : 0, x, units[unit]);
}

void amount_count(char out[AMOUNT_BYTES], uint64_t n)
{
    static const char *const units[] = {"", " thousand", " million", " billion", " trillion"};
    double x = (double)n;
    int unit = 0;
    for (; x >= 999.5 && unit < 4; unit++)
        x /= 1000;
    snprintf(out, AMOUNT_BYTES, "%.*f%s", unit ? decimals(x) : 0, x, units[unit]);
}
