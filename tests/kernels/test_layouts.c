// Block layouts once more: every weight of every integer format, read singly from the drawings in
// blocks.h in double precision, and the codebooks against the files.
#include "support.h"

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/scalar/codebooks.h"
#include "scales.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bit_at(const uint8_t *p, int bit)
{
    return p[bit / 8] >> bit % 8 & 1;
}

static int word_at(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static uint32_t long_at(const uint8_t *p)
{
    return (uint32_t)word_at(p) | (uint32_t)word_at(p + 2) << 16;
}

// Nibble i of 32 that lie as 16 bytes.
static int nibble32(const uint8_t *qs, int i)
{
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

// Nibble i, the low one of a byte first.
static int nibble_at(const uint8_t *p, int i)
{
    return p[i / 2] >> i % 2 * 4 & 15;
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
    return scales_half_at(b) * sc * q - scales_half_at(b + 2) * m;
}

static double q6_k_value(const uint8_t *b, int i)
{
    int h = i / 128, quarter = i % 128 / 32, l = i % 32;
    int low = b[64 * h + 32 * (quarter % 2) + l], high = b[128 + 32 * h + l];
    int q = (quarter < 2 ? low % 16 : low / 16) + 16 * (high >> 2 * quarter & 3);
    return scales_half_at(b + 208) * (int8_t)b[192 + i / 16] * (q - 32);
}

static int two_bits(const uint8_t *qs, int i)
{
    int h = i / 128, quarter = i % 128 / 32;
    return qs[32 * h + i % 32] >> 2 * quarter & 3;
}

static double q2_k_value(const uint8_t *b, int i)
{
    int both = b[i / 16];
    return scales_half_at(b + 80) * (both % 16) * two_bits(b + 16, i) -
           scales_half_at(b + 82) * (both / 16);
}

static double q3_k_value(const uint8_t *b, int i)
{
    const uint8_t *s = b + 96;
    int j = i / 16, q = two_bits(b + 32, i) + 4 * (b[i % 32] >> i / 32 & 1) - 4;
    int sc = (j < 8 ? s[j] % 16 : s[j - 8] / 16) + 16 * (s[8 + j % 4] >> 2 * (j / 4) & 3);
    return scales_half_at(b + 108) * (sc - 32) * q;
}

static double iq4_xs_value(const uint8_t *b, int i)
{
    int j = i / 32, sc = nibble_at(b + 4, j) + 16 * (word_at(b + 2) >> 2 * j & 3);
    return scales_half_at(b) * (sc - 32) * codebook_iq4_nl[nibble32(b + 8 + 16 * j, i % 32)];
}

static double tq1_0_value(const uint8_t *b, int i)
{
    int byte = i < 160 ? b[i % 32] : i < 240 ? b[32 + (i - 160) % 16] : b[48 + (i - 240) % 4];
    int digit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
    for (; digit; digit--)
        byte = byte * 3 % 256;
    return scales_half_at(b + 52) * (byte * 3 / 256 - 1);
}

// ---- the grid formats --------------------------------------------------------------------------

static double point4(uint32_t point, int i)
{
    return (int8_t)(point >> 8 * i);
}

static double point8(uint64_t point, int i)
{
    return (int8_t)(point >> 8 * i);
}

// Sign i of 32, of which every eighth is such that the number of minus signs among eight is even.
static int even_sign(uint32_t signs, int i)
{
    int seven = signs >> i / 8 * 7 & 127, count = 0;
    for (int bit = 0; bit < 7; bit++)
        count += seven >> bit & 1;
    return (i % 8 == 7 ? count % 2 : seven >> i % 8 & 1) ? -1 : 1;
}

static double iq3_xxs_value(const uint8_t *b, int i)
{
    uint32_t both = long_at(b + 66 + i / 32 * 4);
    return scales_half_at(b) * 0.25 * (2 * (both >> 28) + 1) *
           point4(codebook_iq3_xxs[b[2 + i / 4]], i % 4) * even_sign(both, i % 32);
}

static double iq3_s_value(const uint8_t *b, int i)
{
    int number = b[2 + i / 4] + 256 * bit_at(b + 66, i / 4);
    return scales_half_at(b) * (2 * nibble_at(b + 106, i / 32) + 1) *
           point4(codebook_iq3_s[number], i % 4) * (bit_at(b + 74, i) ? -1 : 1);
}

static double iq2_xxs_value(const uint8_t *b, int i)
{
    const uint8_t *sub = b + 2 + i / 32 * 8;
    uint32_t both = long_at(sub + 4);
    return scales_half_at(b) * 0.125 * (2 * (both >> 28) + 1) *
           point8(codebook_iq2_xxs[sub[i % 32 / 8]], i % 8) * even_sign(both, i % 32);
}

static double iq2_xs_value(const uint8_t *b, int i)
{
    int q = word_at(b + 2 + i / 8 * 2);
    return scales_half_at(b) * 0.125 * (2 * nibble_at(b + 66, i / 16) + 1) *
           point8(codebook_iq2_xs[q % 512], i % 8) * even_sign((uint32_t)q >> 9, i % 8);
}

static double iq2_s_value(const uint8_t *b, int i)
{
    int number = b[2 + i / 8] + 256 * (b[66 + i / 32] >> i % 32 / 8 * 2 & 3);
    return scales_half_at(b) * 0.125 * (2 * nibble_at(b + 74, i / 16) + 1) *
           point8(codebook_iq2_s[number], i % 8) * (bit_at(b + 34, i) ? -1 : 1);
}

static double iq1_s_value(const uint8_t *b, int i)
{
    int qh = word_at(b + 34 + i / 32 * 2);
    int number = b[2 + i / 8] + 256 * (qh >> i % 32 / 8 * 3 & 7);
    return scales_half_at(b) * (2 * (qh >> 12 & 7) + 1) *
           (point8(codebook_iq1[number], i % 8) + (qh >> 15 ? -0.125 : 0.125));
}

static double iq1_m_value(const uint8_t *b, int i)
{
    uint8_t d[2] = {(uint8_t)(b[49] / 16 | (b[51] & 0xf0)), (uint8_t)(b[53] / 16 | (b[55] & 0xf0))};
    int high = nibble_at(b + 32, i / 8), number = b[i / 8] + 256 * (high % 8);
    int s = word_at(b + 48 + i / 64 * 2) >> i % 64 / 16 * 3 & 7;
    return scales_half_at(d) * (2 * s + 1) *
           (point8(codebook_iq1[number], i % 8) + (high / 8 ? -0.125 : 0.125));
}

// ---- tests -------------------------------------------------------------------------------------

static double small_value(uint32_t type, const uint8_t *b, int i)
{
    switch (type) {
    case WT_Q4_0:
        return scales_half_at(b) * (nibble32(b + 2, i) - 8);
    case WT_Q4_1:
        return scales_half_at(b) * nibble32(b + 4, i) + scales_half_at(b + 2);
    case WT_Q5_0:
        return scales_half_at(b) * (nibble32(b + 6, i) + 16 * bit_at(b + 2, i) - 16);
    case WT_Q5_1:
        return scales_half_at(b) * (nibble32(b + 8, i) + 16 * bit_at(b + 4, i)) +
               scales_half_at(b + 2);
    case WT_IQ4_NL:
        return scales_half_at(b) * codebook_iq4_nl[nibble32(b + 2, i)];
    case WT_MXFP4:
        return ldexp(codebook_mxfp4[nibble32(b + 1, i)], b[0] - 128);
    case WT_Q8_0:
        return scales_half_at(b) * (int8_t)b[2 + i];
    default:
        fail_msg("%s: no drawing was read", wtype_info(type)->name);
        return 0;
    }
}

static double value(uint32_t type, const uint8_t *b, int i)
{
    switch (type) {
    case WT_Q4_K:
        return k_value(b, NULL, b + 16, i);
    case WT_Q5_K:
        return k_value(b, b + 16, b + 48, i);
    case WT_Q6_K:
        return q6_k_value(b, i);
    case WT_Q2_K:
        return q2_k_value(b, i);
    case WT_Q3_K:
        return q3_k_value(b, i);
    case WT_IQ4_XS:
        return iq4_xs_value(b, i);
    case WT_TQ2_0:
        return scales_half_at(b + 64) * (two_bits(b, i) - 1);
    case WT_TQ1_0:
        return tq1_0_value(b, i);
    case WT_IQ3_XXS:
        return iq3_xxs_value(b, i);
    case WT_IQ3_S:
        return iq3_s_value(b, i);
    case WT_IQ2_XXS:
        return iq2_xxs_value(b, i);
    case WT_IQ2_XS:
        return iq2_xs_value(b, i);
    case WT_IQ2_S:
        return iq2_s_value(b, i);
    case WT_IQ1_S:
        return iq1_s_value(b, i);
    case WT_IQ1_M:
        return iq1_m_value(b, i);
    default:
        return small_value(type, b, i);
    }
}

static void every_weight_lies_where_the_layout_says(void **state)
{
    (void)state;
    const struct kernels *scalar = kernels_for(ISA_SCALAR);
    struct rng r;
    rng_init(&r, 3);
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        const struct wtype_info *info = wtype_info(type);
        if (!kernels_can(type) || info->width == 1)
            continue;
        for (int round = 0; round < 100; round++) {
            uint8_t block[256];
            float y[256];
            for (int i = 0; i < info->bytes; i++)
                block[i] = (uint8_t)rng_u64(&r);
            // Scales are finite: the exponent's top bit is clear.
            scales_put(type, block, rng_u64(&r) & 0xbfff, rng_u64(&r) & 0xbfff);
            if (type == WT_MXFP4)
                block[0] = (uint8_t)(round < 16 ? round : round + 80);
            scalar->format[type].decode(y, block, info->width);
            for (int i = 0; i < info->width; i++) {
                double want = value(type, block, i);
                if (!(fabs((double)y[i] - want) <= 1e-6 * fabs(want) + (info->width > 32) * 1e-9))
                    fail_msg("%s[%d]: %.9g, not %.9g", info->name, i, (double)y[i], want);
            }
        }
    }
}

static void codebooks_are_those_of_the_files(void **state)
{
    (void)state;
    TESTDATA(folder, "formats/codebook_iq1s_grid.txt");
    (void)folder;
    const struct {
        const char *name;
        const void *table;
        size_t width, n;
    } books[] = {
        {"kvalues_iq4nl", codebook_iq4_nl, 1, 16}, {"kvalues_fp4", codebook_mxfp4, 1, 16},
        {"iq3xxs_grid", codebook_iq3_xxs, 4, 256}, {"iq3s_grid", codebook_iq3_s, 4, 512},
        {"iq2xxs_grid", codebook_iq2_xxs, 8, 256}, {"iq2xs_grid", codebook_iq2_xs, 8, 512},
        {"iq2s_grid", codebook_iq2_s, 8, 1024},    {"iq1s_grid", codebook_iq1, 8, 2048},
    };
    for (size_t i = 0; i < sizeof books / sizeof *books; i++) {
        char name[64];
        snprintf(name, sizeof name, "formats/codebook_%s.txt", books[i].name);
        FILE *f = fopen(test_data(name), "r");
        assert_non_null(f);
        char line[64];
        size_t n = 0;
        for (; fgets(line, sizeof line, f); n++) {
            uint64_t want =
                *line == '-' ? (uint64_t)strtoll(line, NULL, 0) : strtoull(line, NULL, 0);
            assert_true(n < books[i].n);
            assert_memory_equal((const uint8_t *)books[i].table + n * books[i].width, &want,
                                books[i].width);
        }
        assert_int_equal(n, books[i].n);
        fclose(f);
    }
}

static void signs_are_those_of_the_file(void **state)
{
    (void)state;
    TESTDATA(path, "formats/codebook_ksigns_iq2xs.txt");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[64];
    unsigned n = 0;
    for (; fgets(line, sizeof line, f); n++)
        assert_int_equal(codebook_signs(n), strtol(line, NULL, 0));
    assert_int_equal(n, 128);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_weight_lies_where_the_layout_says),
        cmocka_unit_test(codebooks_are_those_of_the_files),
        cmocka_unit_test(signs_are_those_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
