// Weight formats: the table of layouts, exact decoding, the encoders.
#include "support.h"

#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/kernels.h"

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
    assert_true(seen >= 11);
    json_decref(index);
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
        // A product of more than two factors may round once more.
        for (size_t i = 0; i < n; i++)
            if (got[i] != want[i] && !(fabsf(got[i] - want[i]) <= 1e-6f * fabsf(want[i])))
                fail_msg("%s[%zu]: %.9g, not %.9g", name, i, (double)got[i], (double)want[i]);
        if (type == WT_F32 || type == WT_F16 || type == WT_BF16 || type == WT_Q8_0 ||
            type == WT_Q4_0 || type == WT_Q5_0)
            assert_memory_equal(got, want, want_size);
        free(got);
        free(blocks);
        free(want_bytes);
        compared++;
    }
    assert_int_equal(compared, 11);
}

// ---- the layouts once more, weight by weight, from the drawings in blocks.h --------------

static double half_at(const uint8_t *p)
{
    uint16_t h = (uint16_t)(p[0] | p[1] << 8);
    double v = h >> 10 & 31 ? ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25) : ldexp(h & 1023, -24);
    return h >> 15 ? -v : v;
}

static int bit_at(const uint8_t *p, int bit)
{
    return p[bit / 8] >> bit % 8 & 1;
}

// Nibble i of 32 that lie as 16 bytes.
static int nibble32(const uint8_t *qs, int i)
{
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

static double k_value(const uint8_t *b, const uint8_t *qh, const uint8_t *qs, int i)
{
    const uint8_t *s = b + 4;
    int j = i / 32, l = i % 32, byte = qs[i / 64 * 32 + l];
    int q = j % 2 ? byte >> 4 : byte & 15;
    int sc = j < 4 ? s[j] % 64 : s[j + 4] % 16 + 16 * (s[j - 4] / 64);
    int m = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + 16 * (s[j] / 64);
    if (qh)
        q += 16 * (qh[l] >> j & 1);
    return half_at(b) * sc * q - half_at(b + 2) * m;
}

static double q6_k_value(const uint8_t *b, int i)
{
    int h = i / 128, quarter = i % 128 / 32, l = i % 32;
    int low = b[64 * h + 32 * (quarter % 2) + l], high = b[128 + 32 * h + l];
    int q = (quarter < 2 ? low % 16 : low / 16) + 16 * (high >> 2 * quarter & 3);
    return half_at(b + 208) * (int8_t)b[192 + i / 16] * (q - 32);
}

static double value(uint32_t type, const uint8_t *b, int i)
{
    switch (type) {
    case WT_Q4_0:
        return half_at(b) * (nibble32(b + 2, i) - 8);
    case WT_Q4_1:
        return half_at(b) * nibble32(b + 4, i) + half_at(b + 2);
    case WT_Q5_0:
        return half_at(b) * (nibble32(b + 6, i) + 16 * bit_at(b + 2, i) - 16);
    case WT_Q5_1:
        return half_at(b) * (nibble32(b + 8, i) + 16 * bit_at(b + 4, i)) + half_at(b + 2);
    case WT_Q8_0:
        return half_at(b) * (int8_t)b[2 + i];
    case WT_Q4_K:
        return k_value(b, NULL, b + 16, i);
    case WT_Q5_K:
        return k_value(b, b + 16, b + 48, i);
    default:
        return q6_k_value(b, i);
    }
}

static void every_weight_lies_where_the_layout_says(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q4_0, WT_Q4_1, WT_Q5_0, WT_Q5_1,
                                     WT_Q8_0, WT_Q4_K, WT_Q5_K, WT_Q6_K};
    struct rng r;
    rng_init(&r, 3);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        for (int round = 0; round < 50; round++) {
            const struct wtype_info *info = wtype_info(types[k]);
            uint8_t block[256];
            float y[256];
            for (int i = 0; i < info->bytes; i++)
                block[i] = (uint8_t)rng_u64(&r);
            // Scales are finite: the exponent's top bit is clear.
            int d_at = types[k] == WT_Q6_K ? 208 : 0;
            block[d_at + 1] &= 0xbf;
            if (types[k] != WT_Q8_0 && types[k] != WT_Q4_0 && types[k] != WT_Q5_0 && !d_at)
                block[3] &= 0xbf;
            scalar->format[types[k]].decode(y, block, info->width);
            for (int i = 0; i < info->width; i++) {
                double want = value(types[k], block, i);
                if (!(fabs(y[i] - want) <= 1e-6 * fabs(want) + 1e-9))
                    fail_msg("%s[%d]: %.9g, not %.9g", info->name, i, (double)y[i], want);
            }
        }
}

static void unknown_types_and_sizes_are_refused(void **state)
{
    (void)state;
    size_t bytes = 99;
    assert_null(wtype_info(4));
    assert_null(wtype_info(WT_COUNT));
    assert_null(wtype_info(UINT32_MAX));
    assert_false(kernels_can(4));
    assert_false(kernels_can(WT_IQ2_XXS));
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
    assert_int_equal(kv_type_from_name("f16"), KV_F16);
    assert_int_equal(kv_type_from_name("f8"), -1);
    assert_int_equal(isa_from_name("AVX2"), ISA_AVX2);
    assert_int_equal(isa_from_name("avx3"), -1);
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
    } bounds[] = {{WT_F32, 0},     {WT_F16, 3e-4},  {WT_BF16, 2e-3}, {WT_Q8_0, 0.012},
                  {WT_Q4_0, 0.14}, {WT_Q4_1, 0.11}, {WT_Q5_0, 0.08}, {WT_Q5_1, 0.055},
                  {WT_Q4_K, 0.12}, {WT_Q5_K, 0.06}, {WT_Q6_K, 0.035}};
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
        encoders -= kernels_can(type);
    assert_int_equal(encoders, 0); // every format that has kernels has an encoder
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
        if (!kernels_can(type))
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
        if (kernels_can(type))
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
        cmocka_unit_test(every_weight_lies_where_the_layout_says),
        cmocka_unit_test(unknown_types_and_sizes_are_refused),
        cmocka_unit_test(encoding_loses_little),
        cmocka_unit_test(encoding_keeps_what_is_exact),
        cmocka_unit_test(encoding_survives_what_is_no_number),
        cmocka_unit_test(halves_are_exact_both_ways),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
