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

// Four words of each of four rows, turned: vectors of the compiler, as every machine has them.
typedef uint32_t four_words __attribute__((vector_size(16)));

static inline four_words words_of(const uint8_t *row)
{
    four_words v;
    memcpy(&v, row, sizeof v);
    return v;
}

static inline void turn4(uint8_t *to, const uint8_t *from, size_t row_bytes)
{
    four_words a = words_of(from), b = words_of(from + row_bytes);
    four_words c = words_of(from + 2 * row_bytes), d = words_of(from + 3 * row_bytes);
    four_words ab01 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    four_words ab23 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    four_words cd01 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    four_words cd23 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    four_words out[4] = {__builtin_shufflevector(ab01, cd01, 0, 1, 4, 5),
                         __builtin_shufflevector(ab01, cd01, 2, 3, 6, 7),
                         __builtin_shufflevector(ab23, cd23, 0, 1, 4, 5),
                         __builtin_shufflevector(ab23, cd23, 2, 3, 6, 7)};
    for (int i = 0; i < 4; i++)
        memcpy(to + (size_t)i * LANE_ROWS * 4, out + i, sizeof out[i]);
}

// One element of LANE_ROWS rows.
static inline void spread_element(uint8_t *to, const uint8_t *from, size_t row_bytes, size_t size)
{
    for (size_t r = 0; r < LANE_ROWS; r++)
        memcpy(to + r * size, from + r * row_bytes, size);
}

// One run of one block of LANE_ROWS rows.
static void spread_all(uint8_t *to, const uint8_t *from, size_t row_bytes, struct run run)
{
    size_t i = 0;
    for (; run.size == 4 && i + 4 <= run.count; i += 4)
        for (size_t r = 0; r < LANE_ROWS; r += 4)
            turn4(to + (LANE_ROWS * i + r) * 4, from + r * row_bytes + 4 * i, row_bytes);
    for (; i < run.count; i++) {
        if (run.size == 4)
            spread_element(to + LANE_ROWS * 4 * i, from + 4 * i, row_bytes, 4);
        else if (run.size == 2)
            spread_element(to + LANE_ROWS * 2 * i, from + 2 * i, row_bytes, 2);
        else
            spread_element(to + LANE_ROWS * i, from + i, row_bytes, 1);
    }
}

static void pack_group(const struct run *runs, size_t bytes, uint8_t *to, const uint8_t *rows,
                       size_t row_bytes)
{
    for (size_t b = 0; b < row_bytes; b += bytes) {
        const uint8_t *from = rows + b;
        for (const struct run *f = runs; f < runs + MAX_RUNS; f++) {
            spread_all(to, from, row_bytes, *f);
            from += (size_t)f->size * f->count;
            to += (size_t)LANE_ROWS * f->size * f->count;
        }
    }
}

void lanes_pack(uint32_t type, void *out, const void *rows, size_t row_bytes, int n)
{
    CHECK(lanes_can(type) && n >= 1 && n <= LANE_ROWS);
    size_t bytes = wtype_info(type)->bytes;
    if (n == LANE_ROWS) {
        pack_group(fields[type], bytes, out, rows, row_bytes);
        return;
    }
    uint8_t *lane_block = out;
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

void lanes_take_row(uint32_t type, void *out, const void *lanes, size_t row_bytes, size_t row)
{
    size_t block = wtype_info(type)->bytes;
    const uint8_t *group = (const uint8_t *)lanes + row / LANE_ROWS * LANE_ROWS * row_bytes;
    for (size_t at = 0; at < row_bytes; at += block)
        lanes_take(type, (uint8_t *)out + at, group + LANE_ROWS * at, (int)(row % LANE_ROWS));
}
