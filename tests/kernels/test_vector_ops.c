// Operations over vectors, activations to integers: against double precision, and every
// instruction set against scalar/ bit for bit.
#include "support.h"

#include "base/rng.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rng rng;
static const struct kernels *scalar;

static int setup(void **state)
{
    (void)state;
    rng_init(&rng, 11);
    scalar = kernels_for(ISA_SCALAR);
    return 0;
}

static float random_float(float range)
{
    return (float)(rng_double(&rng) * 2 - 1) * range;
}

static void fill(float *x, size_t n, float range)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(range);
}

// Numbers that are no ordinary ones, here and there.
static void sprinkle(float *x, size_t n)
{
    static const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -3e38f, 88.8f, -104};
    for (size_t i = 0; i < n; i++)
        if (!rng_below(&rng, 3))
            x[i] = odd[rng_below(&rng, sizeof odd / sizeof *odd)];
}

static bool same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) && !(a[i] != a[i] && b[i] != b[i]))
            return false;
    return true;
}

// ---- exp and silu ------------------------------------------------------------------------------

static void exp_is_right_to_two_units(void **state)
{
    (void)state;
    for (int i = -110 * 1024; i <= 95 * 1024; i++) {
        float x = (float)i / 1024 + random_float(0x1p-11f), y;
        scalar->exp(&y, &x, 1);
        double want = exp(x);
        if (want > 3.4028235677973366e38)
            assert_true(y == INFINITY);
        else
            assert_true(fabs(y - want) <= 2e-7 * want + 0x1p-150);
    }
}

static void exp_of_the_extremes(void **state)
{
    (void)state;
    const float x[] = {0, -0.0f, INFINITY, -INFINITY, 1e30f, -1e30f, 200, -200, 88.7f, 88.73f};
    float y[10], nan = NAN;
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        kernels_for(isa)->exp(y, x, 10);
        assert_true(y[0] == 1 && y[1] == 1);
        assert_true(y[2] == INFINITY && y[4] == INFINITY && y[6] == INFINITY && y[9] == INFINITY);
        assert_true(y[3] == 0 && y[5] == 0 && y[7] == 0);
        assert_true(y[8] > 3e38f && y[8] < INFINITY);
        kernels_for(isa)->exp(y, &nan, 1);
        assert_true(y[0] != y[0]);
    }
}

static void silu_is_that_of_double_precision(void **state)
{
    (void)state;
    float gate[1000], up[1000], out[1000];
    fill(gate, 1000, 30);
    fill(up, 1000, 3);
    scalar->glu[GLU_SILU](out, gate, up, 1000);
    for (int i = 0; i < 1000; i++) {
        double want = gate[i] / (1 + exp(-(double)gate[i])) * up[i];
        assert_true(fabs(out[i] - want) <= 5e-7 * fabs(want) + 1e-37);
    }
    float large[2] = {-1000, 1000}, one[2] = {1, 1};
    scalar->glu[GLU_SILU](out, large, one, 2);
    assert_true(out[0] == 0 && out[1] == 1000);
}

static void gelu_is_that_of_double_precision(void **state)
{
    (void)state;
    float gate[1000], up[1000], out[1000];
    fill(gate, 1000, 12);
    fill(up, 1000, 3);
    scalar->glu[GLU_GELU](out, gate, up, 1000);
    for (int i = 0; i < 1000; i++) {
        double g = (double)gate[i], z = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
        double want = 0.5 * g * (1 + tanh(z)) * (double)up[i];
        assert_true(fabs((double)out[i] - want) <= 2e-6 * fabs(want) + 2e-6);
    }
    float large[2] = {-1000, 1000}, one[2] = {1, 1};
    scalar->glu[GLU_GELU](out, large, one, 2);
    assert_true(out[0] == 0 && out[1] == 1000);
}

static void clamped_gates_are_those_of_double_precision(void **state)
{
    (void)state;
    float gate[1000], up[1000], out[1000];
    fill(gate, 1000, 20);
    fill(up, 1000, 20);
    scalar->glu[GLU_CLAMPED](out, gate, up, 1000);
    for (int i = 0; i < 1000; i++) {
        double g = fmin((double)gate[i], 7), u = fmax(fmin((double)up[i], 7), -7);
        double want = g / (1 + exp(-1.702 * g)) * (u + 1);
        assert_true(fabs((double)out[i] - want) <= 1e-5 * fabs(want) + 1e-6);
    }
}

static void a_soft_cap_is_that_of_double_precision(void **state)
{
    (void)state;
    float x[1000], y[1000];
    fill(x, 1000, 200);
    x[0] = INFINITY;
    x[1] = -INFINITY;
    x[2] = 0;
    memcpy(y, x, sizeof x);
    scalar->softcap(y, 1000, 30);
    for (int i = 0; i < 1000; i++)
        assert_true(fabs((double)y[i] - 30 * tanh((double)x[i] / 30)) <= 1e-5);
    assert_true(y[0] == 30 && y[1] == -30 && y[2] == 0);
}

// ---- norms, rotation ---------------------------------------------------------------------------

static void rms_norm_is_that_of_double_precision(void **state)
{
    (void)state;
    for (size_t n = 1; n < 200; n += 7) {
        float x[200], w[200], out[200];
        fill(x, n, 4);
        fill(w, n, 2);
        scalar->rms_norm(out, x, w, n, 1e-5f);
        double square = 0;
        for (size_t i = 0; i < n; i++)
            square += (double)x[i] * x[i];
        for (size_t i = 0; i < n; i++) {
            double want = x[i] * (double)w[i] / sqrt(square / (double)n + 1e-5f);
            assert_true(fabs(out[i] - want) <= 1e-6 * fabs(want));
        }
        scalar->rms_norm(x, x, w, n, 1e-5f); // in place
        assert_memory_equal(x, out, n * sizeof *x);
    }
}

static void rotation_turns_each_pair(void **state)
{
    (void)state;
    enum { N = 12 };
    float x[N], pairs[N], halves[N], c[N / 2], s[N / 2];
    fill(x, N, 1);
    for (int i = 0; i < N / 2; i++) {
        float angle = random_float(3);
        c[i] = cosf(angle);
        s[i] = sinf(angle);
    }
    memcpy(pairs, x, sizeof x);
    memcpy(halves, x, sizeof x);
    scalar->rope_pairs(pairs, c, s, N);
    scalar->rope_halves(halves, c, s, N);
    for (int i = 0; i < N / 2; i++) {
        double a = x[2 * i], b = x[2 * i + 1];
        assert_true(fabs(pairs[2 * i] - (a * c[i] - b * s[i])) < 1e-6);
        assert_true(fabs(pairs[2 * i + 1] - (a * s[i] + b * c[i])) < 1e-6);
        a = x[i], b = x[N / 2 + i];
        assert_true(fabs(halves[i] - (a * c[i] - b * s[i])) < 1e-6);
        assert_true(fabs(halves[N / 2 + i] - (a * s[i] + b * c[i])) < 1e-6);
    }
}

// ---- activations to integers -------------------------------------------------------------------

static void quantized_activations_are_near_and_bounded(void **state)
{
    (void)state;
    float x[256];
    struct act_q8k k;
    struct act_q8 b[8];
    for (int round = 0; round < 200; round++) {
        fill(x, 256, powf(2, random_float(60)));
        x[rng_below(&rng, 256)] *= 10;
        scalar->quantize[ACT_Q8](b, x, 256);
        scalar->quantize[ACT_Q8K](&k, x, 256);
        int sum = 0;
        for (int i = 0; i < 256; i++) {
            int q = b[i / 32].q[i % 32];
            assert_true(q >= -127 && k.q[i] >= -127);
            assert_true(fabsf(x[i] - b[i / 32].d * (float)q) <= 0.5001f * b[i / 32].d);
            assert_true(fabsf(x[i] - k.d * (float)k.q[i]) <= 0.5001f * k.d);
            sum = i % 32 ? sum + q : q;
            if (i % 32 == 31)
                assert_int_equal(b[i / 32].sum, sum);
        }
        for (int j = 0; j < 16; j++) {
            sum = 0;
            for (int i = 0; i < 16; i++)
                sum += k.q[16 * j + i];
            assert_int_equal(k.sums[j], sum);
        }
    }
}

static void what_is_no_number_poisons_its_block(void **state)
{
    (void)state;
    float x[64] = {0};
    struct act_q8 b[2];
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        x[3] = NAN;
        kernels_for(isa)->quantize[ACT_Q8](b, x, 64);
        assert_true(b[0].d != b[0].d && b[1].d == 0 && b[0].q[3] == 0);
        x[3] = -INFINITY;
        kernels_for(isa)->quantize[ACT_Q8](b, x, 64);
        assert_true(b[0].d != b[0].d);
        x[3] = 1e-38f;
        kernels_for(isa)->quantize[ACT_Q8](b, x, 64);
        assert_true(b[0].d == 0 && b[0].q[3] == 0 && b[0].sum == 0);
    }
}

// ---- bits --------------------------------------------------------------------------------------

enum { N_MAX = 300 };

// All operations on one input, at an odd alignment of floats.
static void compare_vectors(const struct kernels *k, size_t n, bool odd_numbers)
{
    float a[N_MAX + 1], b[N_MAX + 1], x[N_MAX], y[N_MAX];
    fill(a, N_MAX, 20);
    fill(b, N_MAX, 20);
    if (odd_numbers)
        sprinkle(a, N_MAX);
    const float *p = a + 1, *q = b + 1;
#define COMPARE(op, ...)                                         \
    do {                                                         \
        float *out = x;                                          \
        scalar->op(__VA_ARGS__);                                 \
        out = y;                                                 \
        k->op(__VA_ARGS__);                                      \
        if (!same(x, y, n))                                      \
            fail_msg("%s of %zu differs on %s", #op, n, k->isa); \
    } while (0)
    COMPARE(rms_norm, out, p, q, n, 1e-6f);
    COMPARE(add, out, p, q, n);
    COMPARE(mul, out, p, q, n);
    memcpy(x, q, n * sizeof *x);
    memcpy(y, q, n * sizeof *x);
    COMPARE(add_scaled, out, p, 0.37f, n);
    COMPARE(glu[GLU_SILU], out, p, q, n);
    COMPARE(glu[GLU_GELU], out, p, q, n);
    COMPARE(glu[GLU_CLAMPED], out, p, q, n);
    COMPARE(exp, out, p, n);
    memcpy(x, p, n * sizeof *x);
    memcpy(y, p, n * sizeof *x);
    COMPARE(softcap, out, n, 5);
    int n_rot = (int)n & ~1;
    memcpy(x, p, n * sizeof *x);
    memcpy(y, p, n * sizeof *x);
    COMPARE(rope_pairs, out, q, q + n_rot / 2, n_rot);
    COMPARE(rope_halves, out, q, q + n_rot / 2, n_rot);
    uint16_t h[N_MAX], g[N_MAX];
    scalar->f32_to_f16(h, p, n);
    k->f32_to_f16(g, p, n);
    assert_memory_equal(h, g, n * sizeof *h);
    COMPARE(f16_to_f32, out, h, n);
#undef COMPARE
}

static void vectors_have_the_bits_of_scalar(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (size_t n = 1; n < N_MAX; n += n < 40 ? 1 : 13)
            for (int odd = 0; odd < 2; odd++)
                compare_vectors(kernels_for(isa), n, odd);
}

static void halves_and_exp_have_the_bits_of_scalar_everywhere(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    enum { N = 4096 };
    float x[N], y[N], z[N];
    uint16_t h[N], g[N];
    for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        const struct kernels *k = kernels_for(isa);
        for (uint32_t bits = 0; bits < 65536; bits += N) {
            for (uint32_t i = 0; i < N; i++)
                h[i] = (uint16_t)(bits + i);
            scalar->f16_to_f32(x, h, N);
            k->f16_to_f32(y, h, N);
            assert_memory_equal(x, y, sizeof x);
        }
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += UINT64_C(4093) * N) {
            for (uint64_t i = 0; i < N; i++) {
                uint32_t pattern = (uint32_t)(bits + i * 4093);
                memcpy(x + i, &pattern, sizeof pattern);
            }
            scalar->f32_to_f16(h, x, N);
            k->f32_to_f16(g, x, N);
            assert_memory_equal(h, g, sizeof h);
            scalar->exp(y, x, N);
            k->exp(z, x, N);
            assert_true(same(y, z, N));
        }
    }
}

static void activations_have_the_bits_of_scalar(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    static uint8_t want[4096], got[4096];
    for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (int round = 0; round < 300; round++)
            for (enum act act = 0; act < ACT_COUNT; act++) {
                float x[513];
                fill(x, 513, powf(2, random_float(120)));
                if (round % 3 == 0) // ties
                    for (int i = 0; i < 513; i++)
                        x[i] = (float)(int)rng_below(&rng, 509) / 2 - 127;
                if (round % 5 == 0)
                    memset(x + 1, 0, 256 * sizeof *x);
                if (round % 7 == 0)
                    sprinkle(x, 40);
                scalar->quantize[act](want, x + 1, 512);
                kernels_for(isa)->quantize[act](got, x + 1, 512);
                assert_memory_equal(want, got, act_row_bytes(act, 512));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_right_to_two_units),
        cmocka_unit_test(exp_of_the_extremes),
        cmocka_unit_test(silu_is_that_of_double_precision),
        cmocka_unit_test(gelu_is_that_of_double_precision),
        cmocka_unit_test(clamped_gates_are_those_of_double_precision),
        cmocka_unit_test(a_soft_cap_is_that_of_double_precision),
        cmocka_unit_test(rms_norm_is_that_of_double_precision),
        cmocka_unit_test(rotation_turns_each_pair),
        cmocka_unit_test(quantized_activations_are_near_and_bounded),
        cmocka_unit_test(what_is_no_number_poisons_its_block),
        cmocka_unit_test(vectors_have_the_bits_of_scalar),
        cmocka_unit_test(halves_and_exp_have_the_bits_of_scalar_everywhere),
        cmocka_unit_test(activations_have_the_bits_of_scalar),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
