// Mixtures of experts: choices against plain loops, products, biases and sums against double
// precision, and the pieces that are asked for: those of the experts in use, and no others.
#include "support.h"

#include "backend/backend.h"
#include "base/guard.h"
#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 70, MAX_WIDTH = 4096, MAX_EXPERTS = 40, MAX_USED = 8, MAX_PIECES = 200 };
static const int thread_counts[] = {1, 2, 3, 4};
enum { THREAD_COUNTS = sizeof thread_counts / sizeof *thread_counts };

// ---- a device, and weights that count what is asked of them ------------------------------------

struct bench {
    struct backend *b;
    struct list *l;
    struct rng rng;
    uint8_t *pieces[MAX_PIECES];
    enum layout layouts[MAX_PIECES];
    int held[MAX_PIECES], times[MAX_PIECES]; // acquired and not returned; acquired at all
    int n_pieces, n_acquired;
    int fails_at; // the n-th acquire fails; -1: none
};

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    struct bench *t = ctx;
    if (t->n_acquired++ == t->fails_at) {
        err_set(e, ERR_UNREACHABLE, "piece %u is on a disk that is gone", (unsigned)piece);
        return NULL;
    }
    assert_in_range(piece, 0, t->n_pieces - 1);
    t->held[piece]++;
    t->times[piece]++;
    *layout = t->layouts[piece];
    return t->pieces[piece];
}

static void done(void *ctx, uint32_t piece)
{
    ((struct bench *)ctx)->held[piece]--;
}

static void bench_open(struct bench *t, int n_threads)
{
    struct err e = {0};
    *t = (struct bench){.fails_at = -1};
    rng_init(&t->rng, 11);
    struct backend_options o = {.n_threads = n_threads, .isa = ISA_COUNT};
    assert_ok(backend_open_cpu(&t->b, &o, &e), &e);
    struct list_limits limits = {.max_rows = MAX_ROWS,
                                 .max_ops = 64,
                                 .max_pieces = MAX_PIECES,
                                 .max_width = MAX_WIDTH,
                                 .max_heads = 1,
                                 .max_head_dim = 2,
                                 .max_experts = MAX_EXPERTS,
                                 .max_experts_used = MAX_USED};
    struct piece_source source = {t, acquire, done};
    assert_ok(list_new(&t->l, t->b, &limits, &source, &e), &e);
}

static void bench_close(struct bench *t)
{
    list_free(t->l);
    backend_free(t->b);
    for (int i = 0; i < t->n_pieces; i++) {
        assert_int_equal(t->held[i], 0);
        free(t->pieces[i]);
    }
}

static void run(struct bench *t)
{
    struct err e = {0};
    assert_ok(list_run(t->l, &e), &e);
    for (int i = 0; i < t->n_pieces; i++)
        assert_int_equal(t->held[i], 0);
}

static float number(struct bench *t)
{
    return (float)(2 * rng_double(&t->rng) - 1);
}

static struct buf *buf_of(struct bench *t, const void *data, size_t size)
{
    struct buf *u;
    struct err e = {0};
    assert_ok(buf_new(&u, t->b, size, "test", &e), &e);
    if (data)
        buf_write(u, 0, data, size);
    return u;
}

static float *numbers(struct bench *t, size_t n)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = number(t);
    return x;
}

static void *zeros(size_t n, size_t size)
{
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

static void near(float got, double want, double limit)
{
    if (!(fabs((double)got - want) <= limit))
        fail_msg("%.9g is not %.9g", (double)got, want);
}

// n_experts random matrices in pieces that follow each other; `exact` (n_experts, n_out, n_in) is
// what they decode to. Those whose number has a bit in `lanes` lie in lane form.
static struct weight experts_new(struct bench *t, uint32_t type, int n_in, int n_out, int n_experts,
                                 uint64_t lanes, float *exact)
{
    struct weight w = {.type = type, .piece = (uint32_t)t->n_pieces, .n_in = n_in, .n_out = n_out};
    size_t row_bytes, rows = (size_t)n_out;
    assert_true(wtype_row_bytes(type, (uint64_t)n_in, &row_bytes));
    w.row_bytes = row_bytes;
    float *row = zeros((size_t)n_in, sizeof *row);
    for (int e = 0; e < n_experts; e++) {
        uint8_t *data = zeros(rows, row_bytes), *turned = zeros(lanes_rows(rows), row_bytes);
        for (size_t r = 0; r < rows; r++, exact += n_in) {
            for (int i = 0; i < n_in; i++)
                row[i] = number(t);
            assert_true(kernels_encode(type, data + r * row_bytes, row, (size_t)n_in));
            backend_kernels(t->b)->format[type].decode(exact, data + r * row_bytes, (size_t)n_in);
        }
        bool turn = lanes >> (e % 64) & 1 && lanes_can(type);
        for (size_t r = 0; turn && r < rows; r += LANE_ROWS)
            lanes_pack(type, turned + r * row_bytes, data + r * row_bytes, row_bytes,
                       rows - r < LANE_ROWS ? (int)(rows - r) : LANE_ROWS);
        t->layouts[t->n_pieces] = turn ? LAYOUT_LANES : LAYOUT_ROWS;
        t->pieces[t->n_pieces++] = turn ? turned : data;
        free(turn ? data : turned);
    }
    free(row);
    return w;
}

// Rows of different experts each, in any order.
static int32_t *random_ids(struct bench *t, int n, int n_experts, int n_used)
{
    int32_t *ids = zeros((size_t)(n * n_used), sizeof *ids);
    for (int row = 0; row < n; row++)
        for (int j = 0; j < n_used; j++) {
            bool again = true;
            while (again) {
                ids[row * n_used + j] = (int32_t)rng_below(&t->rng, (uint64_t)n_experts);
                again = false;
                for (int k = 0; k < j; k++)
                    again |= ids[row * n_used + k] == ids[row * n_used + j];
            }
        }
    return ids;
}

// ---- products ----------------------------------------------------------------------------------

struct product {
    uint32_t type;
    int n_in, n_out, n_experts, n_used, n;
    bool per_expert, fixed; // fixed: expert j is every row's j-th
    double limit;
};

static int32_t *ids_of(struct bench *t, const struct product *p)
{
    int32_t *ids = random_ids(t, p->n, p->n_experts, p->n_used);
    for (int u = 0; p->fixed && u < p->n * p->n_used; u++)
        ids[u] = u % p->n_used;
    return ids;
}

static void compare(const struct product *p, const float *out, const float *x, const float *exact,
                    const int32_t *ids)
{
    for (int u = 0; u < p->n * p->n_used; u++) {
        const float *in = x + (size_t)(p->per_expert ? u : u / p->n_used) * (size_t)p->n_in;
        const float *w = exact + (size_t)ids[u] * (size_t)p->n_out * (size_t)p->n_in;
        for (int r = 0; r < p->n_out; r++, w += p->n_in) {
            double sum = 0;
            for (int i = 0; i < p->n_in; i++)
                sum += (double)in[i] * (double)w[i];
            near(out[(size_t)u * (size_t)p->n_out + (size_t)r], sum, p->limit * sqrt(p->n_in));
        }
    }
}

// Rows [lo, hi) of the product alone.
static void multiply(struct bench *t, const struct product *p, const struct weight *w, float *out,
                     const float *x, const int32_t *ids, int lo, int hi)
{
    size_t uses = (size_t)((hi - lo) * p->n_used), from = (size_t)(lo * p->n_used);
    size_t x_rows = p->per_expert ? uses : (size_t)(hi - lo);
    size_t x_from = p->per_expert ? from : (size_t)lo;
    size_t n_in = (size_t)p->n_in, n_out = (size_t)p->n_out;
    struct buf *in = buf_of(t, x + x_from * n_in, x_rows * n_in * sizeof *x);
    struct buf *to = buf_of(t, NULL, uses * n_out * sizeof *out);
    struct routing r = {.ids = buf_of(t, ids + from, uses * sizeof *ids),
                        .n_experts = p->n_experts,
                        .n_used = p->n_used};
    list_reset(t->l);
    op_expert_matmul(t->l, to, in, w, &r, p->per_expert, hi - lo);
    run(t);
    buf_read(to, 0, out + from * n_out, uses * n_out * sizeof *out);
    buf_free(in);
    buf_free(to);
    buf_free(r.ids);
}

// With any number of threads, in rows, lanes and both, at once and row by row.
static void check_product(const struct product *p)
{
    static const uint64_t lanes[THREAD_COUNTS] = {0, UINT64_MAX, 0x5a5a5a5a5a5a5a5aull, 0};
    size_t n_exact = (size_t)p->n_experts * (size_t)p->n_out * (size_t)p->n_in;
    size_t n_uses = (size_t)(p->n * p->n_used), n_out = n_uses * (size_t)p->n_out;
    float *exact = zeros(n_exact, sizeof *exact), *out = zeros(n_out, sizeof *out);
    float *first = zeros(n_out, sizeof *first);
    for (int i = 0; i < THREAD_COUNTS; i++) {
        struct bench t;
        bench_open(&t, thread_counts[i]);
        struct weight w =
            experts_new(&t, p->type, p->n_in, p->n_out, p->n_experts, lanes[i], exact);
        float *x = numbers(&t, n_uses * (size_t)p->n_in);
        int32_t *ids = ids_of(&t, p);
        multiply(&t, p, &w, out, x, ids, 0, p->n);
        if (!i) {
            compare(p, out, x, exact, ids);
            memcpy(first, out, n_out * sizeof *out);
        }
        assert_memory_equal(out, first, n_out * sizeof *out);
        memset(out, 0, n_out * sizeof *out);
        for (int lo = 0, hi; lo < p->n; lo = hi) {
            hi = lo + 1 + lo % 3 < p->n ? lo + 1 + lo % 3 : p->n; // one, two and three rows
            multiply(&t, p, &w, out, x, ids, lo, hi);
        }
        assert_memory_equal(out, first, n_out * sizeof *out);
        free(x);
        free(ids);
        bench_close(&t);
    }
    free(exact);
    free(out);
    free(first);
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const struct product products[] = {
        {WT_F32, 30, 7, 5, 2, 9, false, false, 1e-6},
        {WT_F16, 64, 100, 8, 2, MAX_ROWS, true, false, 1e-6},
        {WT_Q8_0, 96, 50, 6, 3, 20, true, false, 1e-2},
        {WT_Q4_K, 256, 80, 40, 8, MAX_ROWS, false, false, 2e-2},
        {WT_Q4_K, 512, 48, 4, 1, 33, true, false, 2e-2},
        {WT_MXFP4, 64, 33, 32, 4, 50, false, false, 3e-2},
        {WT_Q6_K, 256, 300, 8, 2, MAX_ROWS, false, false, 2e-2},
        {WT_Q4_0, 64, 640, 16, 8, 1, false, false, 3e-2},
        {WT_Q4_0, 32, 32, 3, 3, 5, true, false, 3e-2}, // all experts, in any order
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        check_product(&products[i]);
}

static void heads_are_experts_that_every_row_uses(void **state)
{
    (void)state;
    static const struct product products[] = {
        {WT_Q8_0, 64, 96, 8, 8, MAX_ROWS, true, true, 1e-2},
        {WT_F16, 32, 40, 5, 5, 7, true, true, 1e-6},
        {WT_Q4_0, 512, 16, 6, 6, 1, true, true, 2e-2},
        {WT_Q5_0, 64, 24, 4, 4, 11, false, true, 2e-2},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        check_product(&products[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(heads_are_experts_that_every_row_uses),
    };
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
