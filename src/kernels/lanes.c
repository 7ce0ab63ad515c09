// Lane form: which fields a block has, and turning it there and back.
#include "kernels/lanes.h"

#include "base/check.h"
#include "kernels/blocks.h"

#include <string.h>

// Elements of one size, in the order of the block. A run of zero ends the table.
struct run {
    uint8_t size, count;
};

enum { MAX_RUNS = 4 };

static const struct run fields[WT_COUNT][MAX_RUNS] = {
    [WT_Q4_0] = {{2, 1}, {4, 4}},    [WT_Q4_1] = {{2, 2}, {4, 4}},   [WT_Q5_0] = {{2, 1}, {4, 5}},
    [WT_Q5_1] = {{2, 2}, {4, 5}},    [WT_Q8_0] = {{2, 1}, {4, 8}},   [WT_IQ4_NL] = {{2, 1}, {4, 4}},
    [WT_MXFP4] = {{1, 1}, {4, 4}},   [WT_Q2_K] = {{4, 20}, {2, 2}},  [WT_Q3_K] = {{4, 27}, {2, 1}},
    [WT_Q4_K] = {{2, 2}, {4, 35}},   [WT_Q5_K] = {{2, 2}, {4, 43}},  [WT_Q6_K] = {{4, 52}, {2, 1}},
    [WT_IQ4_XS] = {{2, 2}, {4, 33}}, [WT_TQ2_0] = {{4, 16}, {2, 1}},
};

bool lanes_can(uint32_t type)
{
    return type < WT_COUNT && fields[type][0].count;
}

size_t lanes_rows(size_t n_rows)
{
    return (n_rows + LANE_ROWS - 1) / LANE_ROWS * LANE_ROWS;
}

// Constant sizes, so that copies are single instructions.
static void spread(uint8_t *to, const uint8_t *from, struct run run)
{
    for (int i = 0; i < run.count; i++, to += (size_t)LANE_ROWS * run.size, from += run.size) {
        if (run.size == 4)
            memcpy(to, from, 4);
        else if (run.size == 2)
            memcpy(to, from, 2);
        else
            *to = *from;
    }
}

static void gather(uint8_t *to, const uint8_t *from, struct run run)
{
    for (int i = 0; i < run.count; i++, to += run.size, from += (size_t)LANE_ROWS * run.size)
        memcpy(to, from, run.size);
}

void lanes_pack(uint32_t type, void *out, const void *rows, size_t row_bytes, int n)
{
    CHECK(lanes_can(type) && n >= 1 && n <= LANE_ROWS);
    size_t bytes = wtype_info(type)->bytes;
    uint8_t *lane_block = out;
    if (n < LANE_ROWS)
        memset(out, 0, LANE_ROWS * row_bytes);
    for (size_t b = 0; b < row_bytes / bytes; b++, lane_block += LANE_ROWS * bytes)
        for (int r = 0; r < n; r++) {
            const uint8_t *from = (const uint8_t *)rows + (size_t)r * row_bytes + b * bytes;
            uint8_t *to = lane_block;
            for (const struct run *f = fields[type]; f < fields[type] + MAX_RUNS; f++) {
                spread(to + (size_t)r * f->size, from, *f);
                from += (size_t)f->size * f->count;
                to += (size_t)LANE_ROWS * f->size * f->count;
            }
        }
}

void lanes_take(uint32_t type, void *block, const void *lane_block, int row)
{
    CHECK(lanes_can(type) && row >= 0 && row < LANE_ROWS);
    const uint8_t *from = lane_block;
    uint8_t *to = block;
    for (const struct run *f = fields[type]; f < fields[type] + MAX_RUNS; f++) {
        gather(to, from + (size_t)row * f->size, *f);
        to += (size_t)f->size * f->count;
        from += (size_t)LANE_ROWS * f->size * f->count;
    }
}
