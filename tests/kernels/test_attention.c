// Attention over a chunk: against double precision, every instruction set against scalar/ bit for
// bit, and against itself with other queries beside it. `test_attention --bench` times it instead,
// by the processor time of one thread.
#include "support.h"

#include "base/rng.h"
#include "kernels/kv_chunk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct rng rng;

static int setup(void **state)
{
    (void)state;
    rng_init(&rng, 11);
    return 0;
}

static void fill(float *x, size_t n, float range)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rng_double(&rng) * 2 - 1) * range;
}

static bool same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) && !(a[i] != a[i] && b[i] != b[i]))
            return false;
    return true;
}

// ---- a chunk and queries -----------------------------------------------------------------------

enum { MAX_ROWS = 50 };

struct problem {
    enum kv_type type;
    int head_dim, n_rows;
    float softcap;
    float *k, *v, *q; // (KV_CHUNK, head_dim) twice, (n_rows, head_dim)
    uint8_t *chunk, *queries;
    struct attn_span seen[MAX_ROWS];
};

static struct problem problem_new(enum kv_type type, int head_dim, int n_rows, float range)
{
    const struct kernels *scalar = kernels_for(ISA_SCALAR);
    struct problem p = {.type = type, .head_dim = head_dim, .n_rows = n_rows};
    p.softcap = rng_below(&rng, 3) ? 0 : 0.5f;
    size_t n = (size_t)head_dim, bytes = kv_layout(type, head_dim).bytes;
    assert_true(n_rows <= MAX_ROWS);
    p.k = malloc(KV_CHUNK * n * sizeof(float));
    p.v = malloc(KV_CHUNK * n * sizeof(float));
    p.q = malloc((size_t)n_rows * n * sizeof(float));
    p.chunk = malloc(bytes); // exactly, so that the sanitizer sees every byte read too far
    p.queries = malloc((size_t)n_rows * kv_query_bytes(type, head_dim));
    assert_true(p.k && p.v && p.q && p.chunk && p.queries);
    fill(p.k, KV_CHUNK * n, range);
    fill(p.v, KV_CHUNK * n, range);
    fill(p.q, (size_t)n_rows * n, range);
    memset(p.chunk, 0xff, bytes);
    for (int i = 0; i < KV_CHUNK; i++)
        kv_put(scalar, type, p.chunk, i, p.k + (size_t)i * n, p.v + (size_t)i * n, head_dim);
    for (int r = 0; r < n_rows; r++) {
        kv_query(scalar, type, p.queries + (size_t)r * kv_query_bytes(type, head_dim),
                 p.q + (size_t)r * n, 0.25f, head_dim);
        p.seen[r] = (struct attn_span){0, KV_CHUNK};
    }
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->k);
    free(p->v);
    free(p->q);
    free(p->chunk);
    free(p->queries);
}

// Random spans: the usual ones (all, up to a position, from one on) and any.
static void random_spans(struct problem *p)
{
    for (int r = 0; r < p->n_rows; r++) {
        int a = (int)rng_below(&rng, KV_CHUNK), b = (int)rng_below(&rng, KV_CHUNK);
        int kind = (int)rng_below(&rng, 4), lo = a < b ? a : b, hi = (a < b ? b : a) + 1;
        lo = kind < 2 ? 0 : lo;
        hi = kind == 0 || kind == 2 ? KV_CHUNK : hi;
        p->seen[r] = (struct attn_span){(uint8_t)lo, (uint8_t)hi};
    }
}

struct result {
    struct attn_partial p[MAX_ROWS];
    float *acc; // (n_rows, head_dim)
};

static struct result attend(enum isa isa, const struct problem *p, int row, int n_rows)
{
    struct result r;
    size_t n = (size_t)p->head_dim, stride = kv_query_bytes(p->type, p->head_dim);
    r.acc = malloc((size_t)n_rows * n * sizeof(float));
    assert_non_null(r.acc);
    for (int i = 0; i < n_rows; i++)
        r.p[i] = (struct attn_partial){-77, -77, r.acc + (size_t)i * n};
    kernels_for(isa)->attend[p->type](&(struct attend_args){.out = r.p,
                                                            .seen = p->seen + row,
                                                            .q = p->queries + (size_t)row * stride,
                                                            .q_stride = stride,
                                                            .chunk = p->chunk,
                                                            .ahead = p->chunk,
                                                            .n_rows = n_rows,
                                                            .head_dim = p->head_dim,
                                                            .softcap = p->softcap});
    return r;
}

static void assert_same(enum isa isa, const struct problem *p, const struct result *a, int a_row,
                        const struct result *b, int b_row)
{
    const struct attn_partial *x = &a->p[a_row], *y = &b->p[b_row];
    if ((x->max != y->max && !(x->max != x->max && y->max != y->max)) ||
        !same(&x->sum, &y->sum, 1) || !same(x->acc, y->acc, (size_t)p->head_dim))
        fail_msg("%s, %s, head_dim %d, %d queries: query %d, that sees [%d, %d), differs",
                 isa_name(isa), kv_type_name(p->type), p->head_dim, p->n_rows, a_row,
                 p->seen[a_row].lo, p->seen[a_row].hi);
}

// ---- against double precision ------------------------------------------------------------------

static double half(const uint8_t *p)
{
    float f;
    uint16_t h;
    memcpy(&h, p, sizeof h);
    kernels_for(ISA_SCALAR)->f16_to_f32(&f, &h, 1);
    return (double)f;
}

// The number of a chunk, as kv_chunk.h draws it.
static double stored(const struct problem *p, bool value, int position, int d)
{
    struct kv_layout l = kv_layout(p->type, p->head_dim);
    size_t at = value ? (size_t)(position * p->head_dim + d) : (size_t)(d * KV_CHUNK + position);
    const uint8_t *half_chunk = p->chunk + (value ? l.values : 0);
    float f;
    if (p->type == KV_F16)
        return half(half_chunk + 2 * at);
    if (p->type == KV_F32) {
        memcpy(&f, half_chunk + 4 * at, sizeof f);
        return (double)f;
    }
    int word = (d / 4 * KV_CHUNK + position) * 4 + d % 4;
    int q = value ? (int8_t)half_chunk[at] : half_chunk[word] - 128;
    size_t scale = value ? l.value_scales : l.key_scales;
    return q * half(p->chunk + scale + (size_t)(d / 32 * KV_CHUNK + position) * 2);
}

static double query(const struct problem *p, int r, int d)
{
    const uint8_t *q = p->queries + (size_t)r * kv_query_bytes(p->type, p->head_dim);
    const struct act_q8 *block = (const struct act_q8 *)(const void *)q + d / 32;
    float f;
    if (p->type == KV_Q8_0)
        return (double)block->d * block->q[d % 32];
    memcpy(&f, q + 4 * d, sizeof f);
    return (double)f;
}

static void check_exact(const struct problem *p, const struct result *r)
{
    for (int row = 0; row < p->n_rows; row++) {
        double w[KV_CHUNK], max = -INFINITY, sum = 0;
        int lo = p->seen[row].lo, hi = p->seen[row].hi;
        for (int i = lo; i < hi; i++) {
            w[i] = 0;
            for (int d = 0; d < p->head_dim; d++)
                w[i] += query(p, row, d) * stored(p, false, i, d);
            if (p->softcap > 0)
                w[i] = (double)p->softcap * tanh(w[i] / (double)p->softcap);
            max = fmax(max, w[i]);
        }
        for (int i = lo; i < hi; i++)
            sum += w[i] = exp(w[i] - max);
        for (int d = 0; d < p->head_dim; d++) {
            double want = 0, magnitude = 0;
            for (int i = lo; i < hi; i++) {
                want += w[i] / sum * stored(p, true, i, d);
                magnitude += w[i] / sum * fabs(stored(p, true, i, d));
            }
            double got = (double)(r->p[row].acc[d] / r->p[row].sum);
            // Scores are sums over head_dim, and their errors grow with it.
            if (!(fabs(got - want) <= 1e-5 * fmax(1, p->head_dim / 128.0) * magnitude))
                fail_msg("%s, head_dim %d, query %d [%d]: %.9g, not %.9g", kv_type_name(p->type),
                         p->head_dim, row, d, got, want);
        }
    }
}

static const int dims[] = {1,  3,  5,  8,  9,   16,  31,  33,  48, 64,
                           71, 72, 80, 96, 128, 131, 192, 256, 576};
enum { DIMS = sizeof dims / sizeof *dims };

static void attention_is_that_of_double_precision(void **state)
{
    (void)state;
    for (int type = 0; type < KV_TYPE_COUNT; type++)
        for (int i = 0; i < DIMS; i++) {
            struct problem p = problem_new((enum kv_type)type, dims[i], 7, 1.5f);
            random_spans(&p);
            struct result r = attend(ISA_SCALAR, &p, 0, p.n_rows);
            check_exact(&p, &r);
            free(r.acc);
            problem_free(&p);
        }
}

// What is stored differs from what was given by half a step at most, and in Q8_0 by what the scale
// loses as a half float.
static void stored_numbers_are_near(void **state)
{
    (void)state;
    for (int type = 0; type < KV_TYPE_COUNT; type++)
        for (int i = 0; i < DIMS; i++) {
            struct problem p = problem_new((enum kv_type)type, dims[i], 1, 3);
            double step = type == KV_F32   ? 0
                          : type == KV_F16 ? 3 * 0x1p-11
                                           : 3 / 127.0 * 0.5 + 3 * 0x1p-11;
            for (int at = 0; at < KV_CHUNK; at++)
                for (int d = 0; d < dims[i]; d++) {
                    int j = at * dims[i] + d;
                    assert_true(fabs(stored(&p, false, at, d) - (double)p.k[j]) <= step);
                    assert_true(fabs(stored(&p, true, at, d) - (double)p.v[j]) <= step);
                }
            problem_free(&p);
        }
}

// Two chunks merged are what double precision makes of all positions at once.
static void merged_chunks_are_those_of_double_precision(void **state)
{
    (void)state;
    struct problem p = problem_new(KV_F32, 40, 1, 2);
    struct result whole = attend(ISA_SCALAR, &p, 0, 1);
    for (int cut = 1; cut < KV_CHUNK; cut += 9) {
        p.seen[0] = (struct attn_span){0, (uint8_t)cut};
        struct result a = attend(ISA_SCALAR, &p, 0, 1);
        p.seen[0] = (struct attn_span){(uint8_t)cut, KV_CHUNK};
        struct result b = attend(ISA_SCALAR, &p, 0, 1);
        kernels_for(ISA_SCALAR)->attn_merge(&a.p[0], &b.p[0], p.head_dim);
        p.seen[0] = (struct attn_span){0, KV_CHUNK};
        check_exact(&p, &a);
        assert_true(a.p[0].max == whole.p[0].max);
        free(a.acc);
        free(b.acc);
    }
    free(whole.acc);
    problem_free(&p);
}

static void merging_into_nothing_gives_the_chunk(void **state)
{
    (void)state;
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        float none[9] = {0}, some[9];
        fill(some, 9, 1);
        struct attn_partial a = {-INFINITY, 0, none}, b = {-3, 2, some};
        struct attn_partial empty = {-INFINITY, 0, (float[9]){0}};
        kernels_for(isa)->attn_merge(&a, &empty, 9);
        assert_true(a.max == -INFINITY && a.sum == 0 && none[8] == 0);
        kernels_for(isa)->attn_merge(&a, &b, 9);
        assert_true(a.max == -3 && a.sum == 2);
        assert_memory_equal(none, some, sizeof some);
        kernels_for(isa)->attn_merge(&a, &empty, 9);
        assert_true(a.max == -3 && a.sum == 2);
        assert_memory_equal(none, some, sizeof some);
    }
}

// ---- bits --------------------------------------------------------------------------------------

static void compare(enum isa isa, enum kv_type type, int head_dim, int n_rows, float range)
{
    struct problem p = problem_new(type, head_dim, n_rows, range);
    for (int round = 0; round < 3; round++) {
        if (round)
            random_spans(&p);
        struct result a = attend(ISA_SCALAR, &p, 0, n_rows), b = attend(isa, &p, 0, n_rows);
        for (int r = 0; r < n_rows; r++)
            assert_same(isa, &p, &a, r, &b, r);
        for (int r = 1; r < n_rows; r++) {
            kernels_for(ISA_SCALAR)->attn_merge(&a.p[0], &a.p[r], head_dim);
            kernels_for(isa)->attn_merge(&b.p[0], &b.p[r], head_dim);
        }
        assert_same(isa, &p, &a, 0, &b, 0);
        free(a.acc);
        free(b.acc);
    }
    problem_free(&p);
}

static void attention_has_the_bits_of_scalar(void **state)
{
    (void)state;
    if (test_next_isa(ISA_SCALAR) == ISA_COUNT)
        test_skip("this machine has no instruction set beyond scalar");
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 48};
    for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (int type = 0; type < KV_TYPE_COUNT; type++)
            for (int i = 0; i < DIMS; i++)
                for (int j = 0; j < 10; j++) {
                    if (rows[j] > 8 && i % 5)
                        continue;
                    compare(isa, (enum kv_type)type, dims[i], rows[j], 1.5f);
                    compare(isa, (enum kv_type)type, dims[i], rows[j], 1e20f); // infinities, NaNs
                }
}

// Queries that see less, and queries side by side, find the same bits, whatever lies in positions
// that they do not see.
static void a_query_does_not_notice_what_it_does_not_see(void **state)
{
    (void)state;
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (int type = 0; type < KV_TYPE_COUNT; type++) {
            struct problem p = problem_new((enum kv_type)type, 48, 11, 1.5f);
            float nan[48];
            for (int d = 0; d < 48; d++)
                nan[d] = NAN;
            for (int r = 0; r < p.n_rows; r++)
                p.seen[r] = (struct attn_span){(uint8_t)(8 + r % 5), (uint8_t)(20 + 4 * r)};
            struct result want = attend(isa, &p, 0, p.n_rows);
            for (int i = 0; i < KV_CHUNK; i++)
                if (i < 8 || i >= 60)
                    kv_put(kernels_for(isa), p.type, p.chunk, i, nan, nan, 48);
            for (int r = 0; r < p.n_rows; r++) {
                struct result alone = attend(isa, &p, r, 1);
                assert_same(isa, &p, &want, r, &alone, 0);
                assert_true(isfinite(alone.p[0].sum));
                free(alone.acc);
            }
            free(want.acc);
            problem_free(&p);
        }
}

static void queries_and_positions_are_stored_alike_everywhere(void **state)
{
    (void)state;
    for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        for (int type = 0; type < KV_TYPE_COUNT; type++)
            for (int i = 0; i < DIMS; i++) {
                struct problem p = problem_new((enum kv_type)type, dims[i], 1, 20);
                size_t bytes = kv_layout(p.type, p.head_dim).bytes;
                size_t n = kv_query_bytes(p.type, p.head_dim);
                uint8_t *chunk = malloc(bytes), *q = malloc(n);
                assert_true(chunk && q);
                memset(chunk, 0xff, bytes);
                for (int at = 0; at < KV_CHUNK; at++)
                    kv_put(kernels_for(isa), p.type, chunk, at, p.k + at * dims[i],
                           p.v + at * dims[i], dims[i]);
                assert_memory_equal(chunk, p.chunk, bytes);
                kv_query(kernels_for(isa), p.type, q, p.q, 0.25f, dims[i]);
                assert_memory_equal(q, p.queries, n);
                free(chunk);
                free(q);
                problem_free(&p);
            }
}

// ---- timing ------------------------------------------------------------------------------------

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// n_rows queries over n_chunks chunks, merged: seconds.
static double time_chunks(enum isa isa, const struct problem *p, const uint8_t *chunks,
                          int n_chunks)
{
    const struct kernels *k = kernels_for(isa);
    size_t bytes = kv_layout(p->type, p->head_dim).bytes, n = (size_t)p->head_dim;
    float *acc = calloc(2 * MAX_ROWS * n, sizeof *acc);
    struct attn_partial out[MAX_ROWS], total[MAX_ROWS];
    for (int r = 0; r < p->n_rows; r++) {
        out[r].acc = acc + (size_t)r * n;
        total[r] = (struct attn_partial){-INFINITY, 0, acc + (size_t)(MAX_ROWS + r) * n};
    }
    double start = seconds();
    for (int c = 0; c < n_chunks; c++) {
        const uint8_t *chunk = chunks + (size_t)c * bytes;
        k->attend[p->type](&(struct attend_args){.out = out,
                                                 .seen = p->seen,
                                                 .q = p->queries,
                                                 .q_stride = kv_query_bytes(p->type, p->head_dim),
                                                 .chunk = chunk,
                                                 .ahead = c + 1 < n_chunks ? chunk + bytes : chunk,
                                                 .n_rows = p->n_rows,
                                                 .head_dim = p->head_dim});
        for (int r = 0; r < p->n_rows; r++)
            k->attn_merge(&total[r], &out[r], p->head_dim);
    }
    double s = seconds() - start;
    free(acc);
    return s;
}

// 8k positions of 8 heads of 128 dimensions: one layer of a model of 8B.
static int bench(void)
{
    enum { N_CHUNKS = 8 * 128, ROUNDS = 15 };
    static const int rows[] = {1, 4, 16, 32, 48};
    printf("# 8 heads x 8192 positions x 128 dimensions, one thread, best of %d\n", ROUNDS);
    printf("%-8s %-5s %7s %9s %9s %9s\n", "isa", "kv", "queries", "ms", "GB/s", "Gflop/s");
    for (int type = 0; type < KV_TYPE_COUNT; type++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct problem p = problem_new((enum kv_type)type, 128, rows[i], 1);
            size_t bytes = kv_layout(p.type, 128).bytes;
            uint8_t *chunks = malloc(N_CHUNKS * bytes);
            double best[ISA_COUNT];
            for (int c = 0; c < N_CHUNKS; c++)
                memcpy(chunks + (size_t)c * bytes, p.chunk, bytes);
            for (int isa = 0; isa < ISA_COUNT; isa++)
                best[isa] = INFINITY;
            for (int round = 0; round < ROUNDS; round++)
                for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT;
                     isa = test_next_isa((int)isa))
                    best[isa] = fmin(best[isa], time_chunks(isa, &p, chunks, N_CHUNKS));
            for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT;
                 isa = test_next_isa((int)isa))
                printf("%-8s %-5s %7d %9.2f %9.1f %9.1f\n", isa_name(isa), kv_type_name(p.type),
                       rows[i], best[isa] * 1e3, (double)bytes * N_CHUNKS / best[isa] * 1e-9,
                       4.0 * N_CHUNKS * KV_CHUNK * 128 * rows[i] / best[isa] * 1e-9);
            free(chunks);
            problem_free(&p);
        }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        rng_init(&rng, 11);
        return bench();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_that_of_double_precision),
        cmocka_unit_test(stored_numbers_are_near),
        cmocka_unit_test(merged_chunks_are_those_of_double_precision),
        cmocka_unit_test(merging_into_nothing_gives_the_chunk),
        cmocka_unit_test(attention_has_the_bits_of_scalar),
        cmocka_unit_test(a_query_does_not_notice_what_it_does_not_see),
        cmocka_unit_test(queries_and_positions_are_stored_alike_everywhere),
    };
    return cmocka_run_group_tests_name("attention", tests, setup, NULL);
}
