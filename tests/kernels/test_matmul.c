// Matmul of every format and instruction set: against double precision, against scalar/ bit for
// bit, and against itself in other shapes. `test_matmul --bench [FORMAT]` times them instead,
// by the processor time of one thread.
#include "support.h"

#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/kernels.h"
#include "kernels/lanes.h"
#include "scales.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct rng rng;

static int setup(void **state)
{
    (void)state;
    rng_init(&rng, 7);
    return 0;
}

// ---- a problem ---------------------------------------------------------------------------------

// ROW_NUMBERS: every byte of a row is the row's number.
enum filling { RANDOM, ZERO, MAXIMAL, LOWEST, ONE_HOT, ROW_NUMBERS, NAN_SCALES, FILLINGS };

// rows x n_in weights and n_tokens x n_in activations, held as the format wants them.
struct problem {
    uint32_t type;
    size_t n_in, row_bytes, w_stride, x_stride;
    int n_rows, n_tokens;
    uint8_t *w_memory, *w, *x;
    uint8_t *lanes; // the same rows in lane form, NULL: the format has none
    bool in_lanes;  // which ones run() multiplies
    float *x_f32;
};

static float random_float(void)
{
    return (float)(rng_double(&rng) * 2 - 1);
}

static uint16_t random_half(enum filling filling)
{
    if (filling == NAN_SCALES)
        return rng_below(&rng, 4) ? 0x7e00 : 0xfc00;
    if (filling == MAXIMAL || filling == LOWEST || filling == ROW_NUMBERS)
        return 0x3c00;
    uint16_t h;
    float f = random_float() * 0.1f;
    kernels_for(ISA_SCALAR)->f32_to_f16(&h, &f, 1);
    return h;
}

static void fill_float_weights(const struct problem *p, uint8_t *row, enum filling filling)
{
    for (size_t i = 0; i < p->n_in; i++) {
        float v = filling == ZERO         ? 0
                  : filling == MAXIMAL    ? 3e4f
                  : filling == LOWEST     ? -3e4f
                  : filling == NAN_SCALES ? NAN
                                          : random_float();
        if (filling == ONE_HOT)
            v = i == p->n_in / 2;
        kernels_encode(p->type, row + i * wtype_info(p->type)->bytes, &v, 1);
    }
}

static void fill_weights(const struct problem *p, enum filling filling)
{
    const struct wtype_info *info = wtype_info(p->type);
    for (int r = 0; r < p->n_rows; r++) {
        uint8_t *row = p->w + (size_t)r * p->w_stride;
        if (info->width == 1) {
            fill_float_weights(p, row, filling);
            continue;
        }
        for (size_t i = 0; i < p->row_bytes; i++)
            row[i] = filling == ZERO                            ? 0
                     : filling == MAXIMAL && p->type == WT_Q8_0 ? 127
                     : filling == LOWEST && p->type == WT_Q8_0  ? 0x80
                     : filling == MAXIMAL                       ? 0xff
                     : filling == LOWEST                        ? 0
                     : filling == ROW_NUMBERS                   ? (uint8_t)r
                                                                : (uint8_t)rng_u64(&rng);
        // The lowest Q6_K weights times the most negative scales.
        if (filling == LOWEST && p->type == WT_Q6_K)
            for (size_t b = 0; b < p->row_bytes; b += info->bytes)
                memset(row + b + 192, 0x80, 16);
        for (size_t b = 0; b < p->row_bytes && filling != ZERO; b += info->bytes)
            scales_put(p->type, row + b, random_half(filling), random_half(filling));
    }
}

static void fill_activations(const struct problem *p, enum filling filling)
{
    for (int t = 0; t < p->n_tokens; t++)
        for (size_t i = 0; i < p->n_in; i++) {
            float v = random_float();
            if (filling == ZERO)
                v = 0;
            else if (filling == MAXIMAL || filling == LOWEST || filling == ROW_NUMBERS) // +-127
                v = t % 3 == 0 ? 1 : t % 3 == 1 ? -1 : i % 2 ? 1 : -1;
            else if (filling == ONE_HOT)
                v = i == (size_t)t % p->n_in;
            p->x_f32[(size_t)t * p->n_in + i] = v;
        }
}

static void pack(struct problem *p)
{
    if (!lanes_can(p->type))
        return;
    p->lanes = malloc(lanes_rows((size_t)p->n_rows) * p->row_bytes);
    uint8_t *rows = malloc(LANE_ROWS * p->row_bytes);
    for (int r = 0; r < p->n_rows; r += LANE_ROWS) {
        int n = p->n_rows - r < LANE_ROWS ? p->n_rows - r : LANE_ROWS;
        for (int i = 0; i < n; i++)
            memcpy(rows + (size_t)i * p->row_bytes, p->w + (size_t)(r + i) * p->w_stride,
                   p->row_bytes);
        lanes_pack(p->type, p->lanes + (size_t)r * p->row_bytes, rows, p->row_bytes, n);
    }
    free(rows);
}

// `shift` moves the rows off alignment; rows lie `gap` bytes apart.
static struct problem problem_new(uint32_t type, size_t n_in, int n_rows, int n_tokens,
                                  enum filling filling, size_t shift, size_t gap)
{
    struct problem p = {.type = type, .n_in = n_in, .n_rows = n_rows, .n_tokens = n_tokens};
    const struct kernels *k = kernels_for(ISA_SCALAR);
    enum act act = k->format[type].act;
    assert_true(wtype_row_bytes(type, n_in, &p.row_bytes));
    p.w_stride = p.row_bytes + gap;
    p.x_stride = act_row_bytes(act, n_in);
    // Exactly as large as it must be, so that the sanitizer sees every byte read too far.
    p.w_memory = malloc(shift + p.w_stride * (size_t)(n_rows - 1) + p.row_bytes);
    p.w = p.w_memory + shift;
    p.x = malloc(p.x_stride * (size_t)n_tokens);
    p.x_f32 = malloc(n_in * (size_t)n_tokens * sizeof(float));
    fill_weights(&p, filling);
    pack(&p);
    fill_activations(&p, filling);
    for (int t = 0; t < n_tokens; t++)
        k->quantize[act](p.x + (size_t)t * p.x_stride, p.x_f32 + (size_t)t * n_in, n_in);
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->w_memory);
    free(p->lanes);
    free(p->x);
    free(p->x_f32);
}

static void run(enum isa isa, const struct problem *p, float *out, int row_lo, int row_hi,
                int token_lo, int token_hi)
{
    struct matmul_args a = {.out = out + (size_t)token_lo * (size_t)p->n_rows,
                            .out_stride = (size_t)p->n_rows,
                            .w = p->w,
                            .w_stride = p->w_stride,
                            .x = p->x + (size_t)token_lo * p->x_stride,
                            .x_stride = p->x_stride,
                            .n_in = p->n_in,
                            .row_lo = row_lo,
                            .row_hi = row_hi,
                            .n_tokens = token_hi - token_lo};
    if (p->in_lanes) {
        a.w = p->lanes;
        a.w_stride = p->row_bytes;
        kernels_for(isa)->format[p->type].matmul_lanes(&a);
    } else {
        kernels_for(isa)->format[p->type].matmul(&a);
    }
}

static float *results_new(const struct problem *p)
{
    size_t n = (size_t)p->n_rows * (size_t)p->n_tokens;
    float *out = malloc(n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = -77;
    return out;
}

static void assert_same_bits(const struct problem *p, const char *what, const float *a,
                             const float *b)
{
    for (int t = 0; t < p->n_tokens; t++)
        for (int r = 0; r < p->n_rows; r++) {
            size_t i = (size_t)t * (size_t)p->n_rows + (size_t)r;
            if (memcmp(a + i, b + i, sizeof *a) && !(a[i] != a[i] && b[i] != b[i]))
                fail_msg("%s %s, n_in %zu, row %d of %d, token %d of %d: %.9g and %.9g",
                         wtype_info(p->type)->name, what, p->n_in, r, p->n_rows, t, p->n_tokens,
                         (double)a[i], (double)b[i]);
        }
}

// ---- tests -------------------------------------------------------------------------------------

// What the scalar kernel should give, in double precision from decoded weights and activations.
static double reference(const struct problem *p, const float *w, int t, double *magnitude)
{
    enum act act = kernels_for(ISA_SCALAR)->format[p->type].act;
    const uint8_t *x = p->x + (size_t)t * p->x_stride;
    double sum = 0;
    *magnitude = 0;
    for (size_t i = 0; i < p->n_in; i++) {
        double v;
        if (act == ACT_Q8) {
            const struct act_q8 *b = (const struct act_q8 *)x + i / 32;
            v = (double)b->d * b->q[i % 32];
        } else if (act == ACT_Q8K) {
            const struct act_q8k *b = (const struct act_q8k *)x + i / 256;
            v = (double)b->d * b->q[i % 256];
        } else {
            v = ((const float *)x)[i];
        }
        sum += w[i] * v;
        *magnitude += fabs(w[i] * v);
    }
    return sum;
}

static void scalar_results_are_those_of_double_precision(void **state)
{
    (void)state;
    const struct kernels *k = kernels_for(ISA_SCALAR);
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type))
            continue;
        for (enum filling filling = RANDOM; filling < NAN_SCALES; filling++) {
            struct problem p = problem_new(type, 1024, 5, 3, filling, 0, 0);
            float *out = results_new(&p), w[1024];
            run(ISA_SCALAR, &p, out, 0, p.n_rows, 0, p.n_tokens);
            for (int r = 0; r < p.n_rows; r++) {
                k->format[type].decode(w, p.w + (size_t)r * p.w_stride, p.n_in);
                for (int t = 0; t < p.n_tokens; t++) {
                    double magnitude, want = reference(&p, w, t, &magnitude);
                    double got = out[t * p.n_rows + r];
                    // A minimum taken off decoded weights cancels what the sum keeps apart.
                    if (fabs(got - want) > 2e-5 * magnitude + 1e-30)
                        fail_msg("%s filling %d: %.9g, not %.9g", wtype_info(type)->name,
                                 (int)filling, got, want);
                }
            }
            free(out);
            problem_free(&p);
        }
    }
}

// Every instruction set and layout gives the bits of scalar/ over the raw rows.
static void compare_with_scalar(struct problem *p)
{
    float *want = results_new(p), *got = results_new(p);
    run(ISA_SCALAR, p, want, 0, p->n_rows, 0, p->n_tokens);
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        run(isa, p, got, 0, p->n_rows, 0, p->n_tokens);
        assert_same_bits(p, isa_name(isa), got, want);
        p->in_lanes = p->lanes;
        run(isa, p, got, 0, p->n_rows, 0, p->n_tokens);
        assert_same_bits(p, isa_name(isa), got, want);
        p->in_lanes = false;
    }
    free(want);
    free(got);
}

static void every_isa_gives_the_bits_of_scalar(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    static const int rows[] = {1, 3, 4, 7, 8, 9, 16, 17, 31};
    static const int tokens[] = {1, 2, 3, 4, 5, 7, 8, 16, 33, 66};
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type))
            continue;
        size_t width = wtype_info(type)->width == 1 ? 8 : wtype_info(type)->width;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            for (size_t j = 0; j < sizeof tokens / sizeof *tokens; j++) {
                size_t blocks = 1 + (i + j) % 3;
                struct problem p =
                    problem_new(type, width * blocks, rows[i], tokens[j], RANDOM, i % 4, j % 3);
                compare_with_scalar(&p);
                problem_free(&p);
            }
    }
}

// Any width, whatever tiles of rows and tokens it is cut into.
static void every_width_gives_the_bits_of_scalar(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type))
            continue;
        size_t width = wtype_info(type)->width == 1 ? 8 : wtype_info(type)->width;
        for (int tokens = 1; tokens <= 70; tokens++) {
            struct problem p = problem_new(type, width, 1 + tokens % 35, tokens, RANDOM, 1, 0);
            compare_with_scalar(&p);
            problem_free(&p);
        }
        for (int tokens = 126; tokens <= 138; tokens += 3) {
            struct problem p = problem_new(type, 2 * width, 5, tokens, RANDOM, 0, 0);
            compare_with_scalar(&p);
            problem_free(&p);
        }
        // Rows of up to 18 blocks, of which a panel may hold some.
        for (size_t blocks = 1; blocks <= 18; blocks++) {
            struct problem p = problem_new(type, blocks * width, 3, 9, RANDOM, 0, 1);
            compare_with_scalar(&p);
            problem_free(&p);
        }
    }
}

static void lane_form_gives_the_rows_back(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type))
            continue;
        const struct wtype_info *info = wtype_info(type);
        assert_int_equal(lanes_can(type),
                         kernels_for(ISA_SCALAR)->format[type].matmul_lanes != NULL);
        struct problem p = problem_new(type, 512, 18, 1, RANDOM, 3, 5);
        for (int r = 0; p.lanes && r < p.n_rows; r++)
            for (size_t b = 0; b < p.row_bytes / info->bytes; b++) {
                uint8_t block[LANE_MAX_BLOCK];
                size_t group = (size_t)(r / LANE_ROWS * LANE_ROWS);
                lanes_take(type, block, p.lanes + group * p.row_bytes + b * LANE_ROWS * info->bytes,
                           r % LANE_ROWS);
                assert_memory_equal(block, p.w + (size_t)r * p.w_stride + b * info->bytes,
                                    info->bytes);
            }
        problem_free(&p);
    }
}

static void extremes_do_not_saturate(void **state)
{
    (void)state;
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no instruction set beyond scalar");
    for (uint32_t type = 0; type < WT_COUNT; type++)
        for (enum filling filling = ZERO; kernels_can(type) && filling < FILLINGS; filling++)
            for (int n_tokens = 1; n_tokens <= 9; n_tokens += 4) {
                struct problem p = problem_new(type, 512, filling == ROW_NUMBERS ? 256 : 18,
                                               n_tokens, filling, 1, 0);
                compare_with_scalar(&p);
                problem_free(&p);
            }
}

static void float_rows_of_any_length_are_summed(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_F32, WT_F16, WT_BF16};
    static const size_t lengths[] = {1, 2, 5, 7, 9, 12, 31, 257};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            struct problem p = problem_new(types[i], lengths[j], 13, 5, RANDOM, 1, 0);
            compare_with_scalar(&p);
            problem_free(&p);
            p = problem_new(types[i], lengths[j], 9, 1, RANDOM, 3, 1);
            compare_with_scalar(&p);
            problem_free(&p);
        }
}

// Any cut into rows and tokens gives the bits of the whole.
static void results_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    enum { ROWS = 37, TOKENS = 19 };
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (uint32_t type = 0; type < WT_COUNT; type++) {
            if (!kernels_can(type))
                continue;
            struct problem p = problem_new(type, 768, ROWS, TOKENS, RANDOM, 0, 0);
            float *whole = results_new(&p);
            run(isa, &p, whole, 0, ROWS, 0, TOKENS);
            for (int round = 0; round < 4; round++) {
                float *cut = results_new(&p);
                int step;
                for (int t = 0; t < TOKENS; t += step) {
                    step = 1 + (int)rng_below(&rng, (uint64_t)(TOKENS - t));
                    int rows;
                    for (int r = 0; r < ROWS; r += rows) {
                        rows = 1 + (int)rng_below(&rng, (uint64_t)(ROWS - r));
                        p.in_lanes = p.lanes && round % 2;
                        if (p.in_lanes && rows % LANE_ROWS)
                            rows = r + LANE_ROWS < ROWS ? LANE_ROWS : ROWS - r;
                        run(isa, &p, cut, r, r + rows, t, t + step);
                    }
                }
                assert_same_bits(&p, "cut", cut, whole);
                free(cut);
            }
            free(whole);
            problem_free(&p);
        }
}

static void an_empty_range_writes_nothing(void **state)
{
    (void)state;
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (uint32_t type = 0; type < WT_COUNT; type++) {
            if (!kernels_can(type))
                continue;
            struct problem p = problem_new(type, 256, 4, 2, RANDOM, 0, 0);
            float *out = results_new(&p);
            run(isa, &p, out, 2, 2, 0, 2);
            for (int i = 0; i < 8; i++)
                assert_true(out[i] == -77);
            free(out);
            problem_free(&p);
        }
}

// ---- bench -------------------------------------------------------------------------------------

enum { BENCH_IN = 4096, BENCH_BYTES = 128 << 20 };

// Processor time of this thread: what others run on the machine does not count.
static int64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void bench(enum isa isa, const struct problem *p, int n_tokens, float *out)
{
    int step = n_tokens > 1 ? 64 : 256;
    int64_t start = thread_ns(), elapsed = 0, rows = 0;
    for (int r = 0; elapsed < 300000000; r = r + step < p->n_rows ? r + step : 0) {
        int end = r + step < p->n_rows ? r + step : p->n_rows;
        run(isa, p, out, r, end, 0, n_tokens);
        rows += end - r;
        elapsed = thread_ns() - start;
    }
    double gbps = (double)rows * (double)p->row_bytes / (double)elapsed;
    double gops = 2.0 * (double)rows * (double)p->n_in * n_tokens / (double)elapsed;
    printf("%-7s %-7s %-5s %4d tokens %8.2f GB/s %9.2f Gop/s\n", wtype_info(p->type)->name,
           isa_name(isa), p->in_lanes ? "lanes" : "rows", n_tokens, gbps, gops);
    fflush(stdout);
}

// Turning rows into lanes, which loading a model waits for.
static void bench_pack(const struct problem *p)
{
    int64_t best = INT64_MAX;
    size_t group = LANE_ROWS * p->row_bytes, groups = (size_t)p->n_rows / LANE_ROWS;
    for (int round = 0; round < 5; round++) {
        int64_t start = thread_ns();
        for (size_t g = 0; g < groups; g++)
            lanes_pack(p->type, p->lanes + g * group, p->w + g * group, p->row_bytes, LANE_ROWS);
        int64_t elapsed = thread_ns() - start;
        best = elapsed < best ? elapsed : best;
    }
    printf("%-7s packed in lanes      %8.2f GB/s\n", wtype_info(p->type)->name,
           (double)(groups * group) / (double)best);
}

static int bench_all(const char *format)
{
    static const int tokens[] = {1, 2, 4, 8, 32, 128};
    int only = format ? wtype_from_name(format) : -1;
    if (format && (only < 0 || !kernels_can((uint32_t)only))) {
        fprintf(stderr, "%s: no such format\n", format);
        return 2;
    }
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!kernels_can(type) || (only >= 0 && only != (int)type))
            continue;
        size_t row_bytes;
        wtype_row_bytes(type, BENCH_IN, &row_bytes);
        struct problem p =
            problem_new(type, BENCH_IN, (int)(BENCH_BYTES / row_bytes), 128, RANDOM, 0, 0);
        float *out = results_new(&p);
        if (p.lanes)
            bench_pack(&p);
        for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
            for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
                for (int layout = 0; layout < (p.lanes ? 2 : 1); layout++) {
                    p.in_lanes = layout == 1;
                    if (isa != ISA_SCALAR || (tokens[i] == 1 && !layout))
                        bench(isa, &p, tokens[i], out);
                }
        free(out);
        problem_free(&p);
    }
    return 0;
}

int main(int argc, char **argv)
{
    setup(NULL);
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        return bench_all(argc > 2 ? argv[2] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_results_are_those_of_double_precision),
        cmocka_unit_test(every_isa_gives_the_bits_of_scalar),
        cmocka_unit_test(every_width_gives_the_bits_of_scalar),
        cmocka_unit_test(lane_form_gives_the_rows_back),
        cmocka_unit_test(extremes_do_not_saturate),
        cmocka_unit_test(float_rows_of_any_length_are_summed),
        cmocka_unit_test(results_do_not_depend_on_the_cut),
        cmocka_unit_test(an_empty_range_writes_nothing),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
