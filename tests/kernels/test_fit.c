// The encoders that search: never worse than plain rounding, the same bytes with every instruction
// set, importance that counts, and blocks at the edge of what can be.
#include "support.h"

#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 64 * 256, BLOCK_MAX = 256 };

static const uint32_t types[] = {WT_Q8_0, WT_Q6_K, WT_Q5_K,   WT_Q4_K, WT_Q4_0,
                                 WT_Q3_K, WT_Q2_K, WT_IQ4_XS, WT_Q5_0, WT_IQ4_NL};
enum { TYPES = sizeof types / sizeof *types };

// Kinds of weights: a bell, one with outliers, all positive, two levels, mostly zeros.
enum { KINDS = 5 };
static void fill(float *x, int kind, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < N; i++) {
        double bell = 0, dice = rng_double(&r);
        for (int k = 0; k < 6; k++)
            bell += rng_double(&r) - 0.5;
        double v = bell;
        if (kind == 1)
            v *= dice < 0.02 ? 8 : 1;
        else if (kind == 2)
            v = 3 + bell;
        else if (kind == 3)
            v = dice < 0.5 ? -0.25 : 1;
        else if (kind == 4)
            v = dice < 0.9 ? 0 : bell;
        x[i] = (float)(v * 0.02);
    }
}

static void decode(uint32_t type, float *out, const void *blocks, size_t n)
{
    kernels_for(ISA_SCALAR)->format[type].decode(out, blocks, n);
}

static double square_error(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sum;
}

static void no_block_is_worse_than_rounded(void **state)
{
    (void)state;
    static float x[N], fitted[N], rounded[N];
    static uint8_t blocks[N * 2];
    for (size_t k = 0; k < TYPES; k++) {
        double all = 0, all_rounded = 0;
        uint16_t width = wtype_info(types[k])->width;
        assert_true(kernels_fit_can(types[k]));
        for (int kind = 0; kind < KINDS; kind++) {
            fill(x, kind, 7 + (uint64_t)kind);
            assert_true(kernels_fit(isa_detect(), types[k], blocks, x, NULL, N));
            decode(types[k], fitted, blocks, N);
            assert_true(kernels_encode(types[k], blocks, x, N));
            decode(types[k], rounded, blocks, N);
            for (int i = 0; i < N; i += width) {
                double a = square_error(x + i, fitted + i, width);
                double b = square_error(x + i, rounded + i, width);
                if (!(a <= b * (1 + 1e-5)))
                    fail_msg("%s, kind %d, block %d: %g, rounded %g", wtype_info(types[k])->name,
                             kind, i / width, a, b);
            }
            if (kind == 0) {
                all = square_error(x, fitted, N);
                all_rounded = square_error(x, rounded, N);
            }
        }
        printf("# %-7s %.3f of the square error of rounding\n", wtype_info(types[k])->name,
               all / all_rounded);
        assert_true(all < 0.92 * all_rounded); // of a bell; between 0.6 and 0.9
    }
}

static void every_instruction_set_gives_the_same_bytes(void **state)
{
    (void)state;
    static float x[N], importance[N];
    static uint8_t want[N * 2], got[N * 2];
    struct rng r;
    rng_init(&r, 3);
    for (int i = 0; i < N; i++)
        importance[i] = (float)rng_double(&r);
    for (size_t k = 0; k < TYPES; k++)
        for (int kind = 0; kind < KINDS; kind++) {
            size_t bytes;
            fill(x, kind, 1);
            const float *columns = kind & 1 ? importance : NULL;
            assert_true(wtype_row_bytes(types[k], N, &bytes));
            assert_true(kernels_fit(ISA_SCALAR, types[k], want, x, columns, N));
            for (enum isa i = test_next_isa(-1); i < ISA_COUNT; i = test_next_isa((int)i)) {
                memset(got, 0xa5, bytes);
                assert_true(kernels_fit(i, types[k], got, x, columns, N));
                assert_memory_equal(got, want, bytes);
            }
        }
}

// Values that come from a block: the search finds scales that give them back.
static void what_a_format_can_hold_comes_back(void **state)
{
    (void)state;
    static float x[N], y[N];
    static uint8_t blocks[N * 2];
    for (size_t k = 0; k < TYPES; k++) {
        fill(x, 0, 11);
        assert_true(kernels_encode(types[k], blocks, x, N));
        decode(types[k], x, blocks, N);
        assert_true(kernels_fit(isa_detect(), types[k], blocks, x, NULL, N));
        decode(types[k], y, blocks, N);
        assert_true(square_error(x, y, N) == 0);
    }
}

static void columns_that_matter_are_kept_better(void **state)
{
    (void)state;
    static float x[N], y[N], plain[N], importance[N];
    static uint8_t blocks[N * 2];
    fill(x, 0, 5);
    for (int i = 0; i < N; i++)
        importance[i] = i % 4 ? 1 : 100;
    for (size_t k = 0; k < TYPES; k++) {
        assert_true(kernels_fit(isa_detect(), types[k], blocks, x, NULL, N));
        decode(types[k], plain, blocks, N);
        assert_true(kernels_fit(isa_detect(), types[k], blocks, x, importance, N));
        decode(types[k], y, blocks, N);
        double with = 0, without = 0;
        for (int i = 0; i < N; i += 4) {
            with += square_error(x + i, y + i, 1);
            without += square_error(x + i, plain + i, 1);
        }
        if (!(with < 0.93 * without))
            fail_msg("%s: %g, without importance %g", wtype_info(types[k])->name, with, without);
    }
}

static void importance_of_nothing_or_of_any_size_does_no_harm(void **state)
{
    (void)state;
    static const float sizes[] = {0, 1e-38f, 1e-30f, 1, 1e30f, 3e38f};
    static float x[N], y[N], importance[N];
    static uint8_t blocks[N * 2];
    fill(x, 1, 9);
    for (size_t k = 0; k < TYPES; k++) {
        uint8_t first[BLOCK_MAX * 4];
        size_t bytes = wtype_info(types[k])->bytes;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (int i = 0; i < N; i++)
                importance[i] = sizes[s] * (s ? (float)(1 + i % 3) / 3 : 1);
            assert_true(kernels_fit(isa_detect(), types[k], blocks, x, importance, N));
            decode(types[k], y, blocks, N);
            assert_true(square_error(x, y, N) < 0.2 * square_error(x, (float[N]){0}, N));
            if (s == 3)
                memcpy(first, blocks, bytes);
            if (s == 4) // only how columns compare counts
                assert_memory_equal(first, blocks, bytes);
        }
    }
}

static void blocks_at_the_edge_stay_finite_and_near(void **state)
{
    (void)state;
    float x[BLOCK_MAX], y[BLOCK_MAX];
    uint8_t blocks[BLOCK_MAX * 4];
    for (size_t k = 0; k < TYPES; k++)
        for (int kind = 0; kind < 8; kind++) {
            for (int i = 0; i < BLOCK_MAX; i++) {
                float wave = sinf((float)i);
                x[i] = kind == 0   ? 0
                       : kind == 1 ? -0.0f
                       : kind == 2 ? FIT_MAX * (i & 1 ? -1 : 1)
                       : kind == 3 ? FIT_MAX * wave
                       : kind == 4 ? 1e-7f * wave // halves have 24 bits behind the point
                       : kind == 5 ? 1e-38f * wave
                       : kind == 6 ? -1.25f
                                   : (i == 77 ? 1000 : 1e-3f * wave);
            }
            assert_true(kernels_fit(isa_detect(), types[k], blocks, x, NULL, BLOCK_MAX));
            decode(types[k], y, blocks, BLOCK_MAX);
            double norm = square_error(x, (float[BLOCK_MAX]){0}, BLOCK_MAX);
            for (int i = 0; i < BLOCK_MAX; i++)
                assert_true(isfinite(y[i]));
            assert_true(square_error(x, y, BLOCK_MAX) <= (kind == 4 ? 1.01 : 0.12) * norm ||
                        kind == 5);
            for (int i = 0; i < BLOCK_MAX && kind < 2; i++)
                assert_true(y[i] == 0);
        }
}

static void other_formats_are_rounded_and_parts_of_blocks_refused(void **state)
{
    (void)state;
    float x[BLOCK_MAX];
    uint8_t a[BLOCK_MAX * 4], b[BLOCK_MAX * 4];
    for (int i = 0; i < BLOCK_MAX; i++)
        x[i] = cosf((float)i);
    static const uint32_t others[] = {WT_F32, WT_F16, WT_BF16, WT_Q4_1, WT_Q5_1, WT_MXFP4};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        size_t bytes;
        assert_false(kernels_fit_can(others[k]));
        assert_true(wtype_row_bytes(others[k], BLOCK_MAX, &bytes));
        assert_true(kernels_fit(isa_detect(), others[k], a, x, NULL, BLOCK_MAX));
        assert_true(kernels_encode(others[k], b, x, BLOCK_MAX));
        assert_memory_equal(a, b, bytes);
    }
    assert_false(kernels_fit(isa_detect(), WT_Q4_K, a, x, NULL, 128));
    assert_false(kernels_fit(isa_detect(), WT_Q4_0, a, x, NULL, 33));
    assert_false(kernels_fit(isa_detect(), WT_IQ2_S, a, x, NULL, BLOCK_MAX));
    assert_false(kernels_fit(isa_detect(), WT_COUNT, a, x, NULL, BLOCK_MAX));
    assert_false(kernels_fit_can(UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_block_is_worse_than_rounded),
        cmocka_unit_test(every_instruction_set_gives_the_same_bytes),
        cmocka_unit_test(what_a_format_can_hold_comes_back),
        cmocka_unit_test(columns_that_matter_are_kept_better),
        cmocka_unit_test(importance_of_nothing_or_of_any_size_does_no_harm),
        cmocka_unit_test(blocks_at_the_edge_stay_finite_and_near),
        cmocka_unit_test(other_formats_are_rounded_and_parts_of_blocks_refused),
    };
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
