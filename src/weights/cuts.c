// Cutting and dealing: see cuts.h.
#include "weights/cuts.h"

#include <stdlib.h>

static const size_t part_least = 64 << 10, part_usual = 4 << 20, part_most = 16 << 20;
static const uint64_t parts_usual = 1024;   // of larger models parts are larger, not more
static const uint64_t parts_at_most = 4096; // of a model, however small the slots

int32_t cuts_rows(uint64_t n_rows, size_t row_bytes, size_t part_bytes)
{
    uint64_t parts = (n_rows * row_bytes + part_bytes / 2) / part_bytes;
    uint64_t rows = parts ? (n_rows + parts - 1) / parts : n_rows;
    rows = (rows + LANE_ROWS - 1) / LANE_ROWS * LANE_ROWS;
    return (int32_t)(rows < n_rows ? rows : n_rows);
}

size_t cuts_part_bytes(uint64_t total, uint64_t slots)
{
    uint64_t bytes = total / parts_usual;
    bytes = bytes < part_usual ? part_usual : bytes > part_most ? part_most : bytes;
    uint64_t most = slots / 16; // in the ring, so that reading and computing overlap
    uint64_t least = total / parts_at_most;
    least = least < part_least ? part_least : least > part_most ? part_most : least;
    bytes = bytes < most ? bytes : most;
    return (size_t)(bytes < least ? least : bytes);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Multiples of the golden ratio, modulo one: those below any bound lie as evenly as can be. The
// largest have rank 0. The low bits say whose key it is; equal ones do not matter.
void cuts_rank(uint32_t *rank, size_t n, uint64_t *scratch)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u, low = UINT32_MAX;
    for (size_t i = 0; i < n; i++)
        scratch[i] = (((uint64_t)i + 1) * golden & ~low) | i;
    qsort(scratch, n, sizeof *scratch, compare);
    for (size_t i = 0; i < n; i++)
        rank[scratch[i] & low] = (uint32_t)i;
}

size_t cuts_fit(const size_t *homes, size_t n, uint64_t budget, uint64_t *taken)
{
    size_t fit = 0;
    *taken = 0;
    for (; fit < n && homes[fit] <= budget - *taken; fit++)
        *taken += homes[fit];
    return fit;
}
