// Weight formats: the table of layouts, exact decoding, the encoders.
#include "support.h"

#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/kernels.h"
#include "kernels/kv_chunk.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *scalar;

static int setup(void **state)
{
    (void)state;
    scalar = kernels_for(ISA_SCALAR);
    return 0;
}

static void layouts_are_those_of_the_files(void **state)
{
    (void)state;
    TESTDATA(path, "formats/index.json");
    json_error_t error;
    json_t *index = json_load_file(path, 0, &error), *entry;
    assert_non_null(index);
    const char *name;
    int seen = 0;
    json_object_foreach(index, name, entry)
    {
        int type = wtype_from_name(name);
        assert_int_equal(type, json_integer_value(json_object_get(entry, "type_id")));
        const struct wtype_info *info = wtype_info((uint32_t)type);
        assert_string_equal(info->name, name);
        assert_int_equal(info->width, json_integer_value(json_object_get(entry, "block_values")));
        assert_int_equal(info->bytes, json_integer_value(json_object_get(entry, "block_bytes")));
        seen++;
    }
    assert_int_equal(seen, 25);
    json_decref(index);
}

// Whether a decoded weight may be rounded more than once.
static bool rounds(uint32_t type)
{
    return type == WT_Q4_1 || type == WT_Q5_1 || type == WT_Q2_K || type == WT_Q4_K ||
           type == WT_Q5_K || type == WT_Q6_K;
}

static void decoding_is_exact(void **state)
{
    (void)state;
    TESTDATA(folder, "formats/index.json");
    (void)folder;
    int compared = 0;
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type))
            continue;
        char name[64];
        size_t size, want_size;
        snprintf(name, sizeof name, "formats/%s.blocks", wtype_info(type)->name);
        uint8_t *blocks = test_read(test_data(name), &size);
        snprintf(name, sizeof name, "formats/%s.f32", wtype_info(type)->name);
        uint8_t *want_bytes = test_read(test_data(name), &want_size);
        const float *want = (const void *)want_bytes;
        size_t n = want_size / sizeof(float), row_bytes;
        assert_true(wtype_row_bytes(type, n, &row_bytes));
        assert_int_equal(row_bytes, size);
        float *got = malloc(want_size);
        scalar->format[type].decode(got, blocks, n);
        // Where a minimum is taken off, or scales have more bits than a float's product can hold,
        // the order of rounding is ours.
        for (size_t i = 0; i < n; i++)
            if (got[i] != want[i] && !(fabsf(got[i] - want[i]) <= 1e-6f * fabsf(want[i])))
                fail_msg("%s[%zu]: %.9g, not %.9g", name, i, (double)got[i], (double)want[i]);
        if (!rounds(type))
            assert_memory_equal(got, want, want_size);
        free(got);
        free(blocks);
        free(want_bytes);
        compared++;
    }
    assert_int_equal(compared, 25);
}

static void unknown_types_and_sizes_are_refused(void **state)
{
    (void)state;
    size_t bytes = 99;
    assert_null(wtype_info(4));
    assert_null(wtype_info(WT_COUNT));
    assert_null(wtype_info(UINT32_MAX));
    assert_false(kernels_can(4));
    assert_false(kernels_can(WT_I8));
    assert_false(kernels_can(UINT32_MAX));
    assert_int_equal(wtype_from_name("Q4_X"), -1);
    assert_int_equal(wtype_from_name("q4_k"), WT_Q4_K);
    assert_false(wtype_row_bytes(WT_Q4_K, 255, &bytes));
    assert_false(wtype_row_bytes(WT_F64, UINT64_MAX / 2, &bytes));
    assert_false(wtype_row_bytes(5, 32, &bytes));
    assert_int_equal(bytes, 99);
    assert_true(wtype_row_bytes(WT_Q6_K, 512, &bytes));
    assert_int_equal(bytes, 420);
    assert_int_equal(act_row_bytes(ACT_F32, 7), 28);
    assert_int_equal(act_row_bytes(ACT_Q8, 64), 80);
    assert_int_equal(act_row_bytes(ACT_Q8K, 512), 584);
    assert_string_equal(kv_type_name(KV_Q8_0), "q8_0");
}

// Formats that choose points of a codebook have no encoder.
static bool is_grid(uint32_t type)
{
    return type == WT_IQ1_S || type == WT_IQ1_M || type == WT_IQ2_XXS || type == WT_IQ2_XS ||
           type == WT_IQ2_S || type == WT_IQ3_XXS || type == WT_IQ3_S;
}

// Root mean square error of encoding relative to that of the values.
static double encoding_error(uint32_t type, const float *x, size_t n)
{
    size_t bytes;
    assert_true(wtype_row_bytes(type, n, &bytes));
    uint8_t *blocks = malloc(bytes);
    float *y = malloc(n * sizeof *y);
    assert_true(kernels_encode(type, blocks, x, n));
    scalar->format[type].decode(y, blocks, n);
    double error = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
        square += (double)x[i] * x[i];
    }
    free(y);
    free(blocks);
    return sqrt(error / square);
}

static void encoding_loses_little(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        double bound;
    } bounds[] = {{WT_F32, 0},      {WT_F16, 3e-4},  {WT_BF16, 2e-3},  {WT_Q8_0, 0.012},
                  {WT_Q4_0, 0.14},  {WT_Q4_1, 0.11}, {WT_Q5_0, 0.08},  {WT_Q5_1, 0.055},
                  {WT_Q4_K, 0.12},  {WT_Q5_K, 0.06}, {WT_Q6_K, 0.035}, {WT_IQ4_NL, 0.12},
                  {WT_MXFP4, 0.15}, {WT_Q2_K, 0.4},  {WT_Q3_K, 0.25},  {WT_IQ4_XS, 0.12},
                  {WT_TQ2_0, 0.9},  {WT_TQ1_0, 0.9}};
    enum { N = 4096 };
    float x[N];
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < N; i++) { // a sum of uniforms is bell-shaped enough
        double s = 0;
        for (int k = 0; k < 6; k++)
            s += rng_double(&r) - 0.5;
        x[i] = (float)s;
    }
    int encoders = 0;
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        assert_true(kernels_can(bounds[i].type));
        double e = encoding_error(bounds[i].type, x, N);
        if (e > bounds[i].bound)
            fail_msg("%s: error %g", wtype_info(bounds[i].type)->name, e);
        encoders++;
    }
    for (uint32_t type = 0; type < WT_COUNT; type++)
        encoders -= kernels_can(type) && !is_grid(type);
    assert_int_equal(encoders, 0); // every format that has kernels has an encoder, but for grids
    uint8_t block[256];
    assert_false(kernels_encode(WT_IQ2_S, block, x, 256));
    assert_false(kernels_encode(WT_Q8_0, block, x, 33));
}

// What a format represents exactly comes back exactly.
static void encoding_keeps_what_is_exact(void **state)
{
    (void)state;
    float zero[256] = {0}, y[256];
    uint8_t blocks[1024];
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type) || is_grid(type))
            continue;
        assert_true(kernels_encode(type, blocks, zero, 256));
        scalar->format[type].decode(y, blocks, 256);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 0);
    }
    float steps[256];
    for (int i = 0; i < 256; i++)
        steps[i] = (float)(i % 32 - 16);
    static const uint32_t exact[] = {WT_F16, WT_BF16, WT_Q5_0, WT_Q5_1};
    for (size_t k = 0; k < sizeof exact / sizeof *exact; k++) {
        assert_true(kernels_encode(exact[k], blocks, steps, 256));
        scalar->format[exact[k]].decode(y, blocks, 256);
        assert_memory_equal(y, steps, sizeof y);
    }
}

static void encoding_survives_what_is_no_number(void **state)
{
    (void)state;
    float x[256];
    uint8_t blocks[1024];
    for (int i = 0; i < 256; i++)
        x[i] = i % 3 ? NAN : i % 2 ? INFINITY : -3e38f;
    for (uint32_t type = 0; type < WT_COUNT; type++)
        if (kernels_can(type) && !is_grid(type))
            assert_true(kernels_encode(type, blocks, x, 256));
}

static void halves_are_exact_both_ways(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t in = (uint16_t)h, out;
        float f;
        scalar->f16_to_f32(&f, &in, 1);
        scalar->f32_to_f16(&out, &f, 1);
        if ((h & 0x7fff) > 0x7c00)
            assert_true(f != f && (out & 0x7fff) > 0x7c00);
        else
            assert_int_equal(out, in);
        if ((h & 0x7c00) == 0x7c00)
            continue;
        // The definition, in double precision.
        double mantissa = h & 0x3ff;
        int exponent = (int)(h >> 10 & 31);
        double want = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
        assert_true((double)f == (h & 0x8000 ? -want : want));
        // Half way to the next one: ties go to the even one; just above goes up.
        double next = want + (exponent ? ldexp(1, exponent - 25) : ldexp(1, -24));
        float middle = (float)((want + next) / 2);
        scalar->f32_to_f16(&out, &middle, 1);
        assert_int_equal(out, (h & 0x7fff) + (h & 1));
        middle = nextafterf(middle, INFINITY);
        scalar->f32_to_f16(&out, &middle, 1);
        assert_int_equal(out, (h & 0x7fff) + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_are_those_of_the_files),
        cmocka_unit_test(decoding_is_exact),
        cmocka_unit_test(unknown_types_and_sizes_are_refused),
        cmocka_unit_test(encoding_loses_little),
        cmocka_unit_test(encoding_keeps_what_is_exact),
        cmocka_unit_test(encoding_survives_what_is_no_number),
        cmocka_unit_test(halves_are_exact_both_ways),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
