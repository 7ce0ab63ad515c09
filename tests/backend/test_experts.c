// Mixtures of experts: choices against plain loops, products, biases and sums against double
// precision, and the pieces that are asked for: those of the experts in use, and no others.
#include "support.h"

#include "backend/backend.h"
#include "base/guard.h"
#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/lanes.h"

#include <float.h>
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

// ---- choosing ----------------------------------------------------------------------------------

enum { ROUTED = 37 }; // rows

struct choice {
    struct route_how how;
    int n_experts, n_used;
    bool bias;
};

// What is not less than `rank` others, the first of equals.
static int rank_of(const double *x, const bool *out, int n, int i)
{
    int rank = 0;
    for (int k = 0; k < n; k++)
        rank += !out[k] && (x[k] > x[i] || (x[k] == x[i] && k < i));
    return rank;
}

static void plain_groups(const struct choice *c, const double *choice, bool *out)
{
    double best[MAX_EXPERTS];
    bool none[MAX_EXPERTS] = {0};
    int n_groups = c->how.n_groups, size = c->n_experts / n_groups;
    for (int g = 0; g < n_groups; g++) {
        best[g] = 0;
        for (int i = 0; i < size; i++)
            if (rank_of(choice + g * size, none, size, i) < (c->bias ? 2 : 1))
                best[g] += choice[g * size + i];
    }
    for (int i = 0; i < c->n_experts; i++)
        out[i] = rank_of(best, none, n_groups, i / size) >= c->how.n_groups_used;
}

static void plain_route(const struct choice *c, const float *logits, const float *bias, int *ids,
                        double *weights)
{
    double score[MAX_EXPERTS], choice[MAX_EXPERTS], all = 0, chosen = 0, sum = 0;
    bool out[MAX_EXPERTS] = {0};
    for (int i = 0; i < c->n_experts; i++)
        all += exp((double)logits[i]);
    for (int i = 0; i < c->n_experts; i++) {
        double x = (double)logits[i];
        score[i] = c->how.score == ROUTE_SOFTMAX   ? exp(x) / all
                   : c->how.score == ROUTE_SIGMOID ? 1 / (1 + exp(-x))
                                                   : x;
        choice[i] = score[i] + (c->bias ? (double)bias[i] : 0);
    }
    if (c->how.n_groups > 1)
        plain_groups(c, choice, out);
    for (int i = 0; i < c->n_experts; i++) {
        int rank = rank_of(choice, out, c->n_experts, i);
        if (out[i] || rank >= c->n_used)
            continue;
        ids[rank] = i;
        weights[rank] = score[i];
        chosen += exp(score[i]);
    }
    for (int j = 0; j < c->n_used; j++) {
        if (c->how.score == ROUTE_SOFTMAX_CHOSEN)
            weights[j] = exp(weights[j]) / chosen;
        sum += weights[j];
    }
    for (int j = 0; j < c->n_used; j++)
        weights[j] *= (double)c->how.scale / (c->how.normalize ? sum : 1);
}

static struct routing routing_new(struct bench *t, int n, int n_experts, int n_used)
{
    size_t uses = (size_t)(n * n_used);
    return (struct routing){.ids = buf_of(t, NULL, uses * sizeof(int32_t)),
                            .weights = buf_of(t, NULL, uses * sizeof(float)),
                            .n_experts = n_experts,
                            .n_used = n_used};
}

static void routing_free(struct routing *r)
{
    buf_free(r->ids);
    buf_free(r->weights);
}

// A vector of floats as a piece.
static struct weight vector_new(struct bench *t, const float *values, int width, int n_rows)
{
    size_t size = (size_t)width * (size_t)n_rows * sizeof *values;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    memcpy(data, values, size);
    t->pieces[t->n_pieces] = data;
    return (struct weight){.type = WT_F32,
                           .piece = (uint32_t)t->n_pieces++,
                           .row_bytes = (size_t)width * sizeof *values,
                           .n_in = width,
                           .n_out = n_rows};
}

// Routes n rows; ids and weights (n, n_used).
static void route(struct bench *t, const struct choice *c, const float *logits, const float *bias,
                  int n, int32_t *ids, float *weights)
{
    struct route_how how = c->how;
    struct weight w = vector_new(t, bias, c->n_experts, 1);
    struct routing r = routing_new(t, n, c->n_experts, c->n_used);
    struct buf *in = buf_of(t, logits, (size_t)(n * c->n_experts) * sizeof *logits);
    how.bias = c->bias ? &w : NULL;
    list_reset(t->l);
    list_wait(t->l, w.piece, 1);
    op_route(t->l, &r, in, &how, n);
    run(t);
    buf_read(r.ids, 0, ids, (size_t)(n * c->n_used) * sizeof *ids);
    buf_read(r.weights, 0, weights, (size_t)(n * c->n_used) * sizeof *weights);
    buf_free(in);
    routing_free(&r);
}

static void check_choice(const struct choice *c)
{
    static int32_t ids[ROUTED * MAX_USED], alone[MAX_USED];
    static float weights[ROUTED * MAX_USED], weights_alone[MAX_USED];
    for (int i = 0; i < THREAD_COUNTS; i++) {
        struct bench t;
        bench_open(&t, thread_counts[i]);
        float *logits = numbers(&t, (size_t)(ROUTED * c->n_experts));
        float *bias = numbers(&t, (size_t)c->n_experts);
        for (int k = 0; k < ROUTED * c->n_experts; k++)
            logits[k] *= 4;
        for (int k = 0; k < 5 * c->n_experts; k++) // ties; with a bias there are none
            logits[k] = roundf(logits[k]);
        route(&t, c, logits, bias, ROUTED, ids, weights);
        for (int row = 0; row < ROUTED; row++) {
            int want[MAX_USED] = {0};
            double part[MAX_USED] = {0};
            plain_route(c, logits + row * c->n_experts, bias, want, part);
            for (int j = 0; j < c->n_used; j++) {
                assert_int_equal(ids[row * c->n_used + j], want[j]);
                near(weights[row * c->n_used + j], part[j], 2e-6 * (1 + fabs(part[j])));
            }
            route(&t, c, logits + row * c->n_experts, bias, 1, alone, weights_alone);
            size_t size = (size_t)c->n_used * sizeof *alone;
            assert_memory_equal(alone, ids + row * c->n_used, size);
            assert_memory_equal(weights_alone, weights + row * c->n_used, size);
        }
        free(logits);
        free(bias);
        bench_close(&t);
    }
}

static void choices_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const struct choice choices[] = {
        {{ROUTE_SOFTMAX, true, 1, 0, 0, NULL}, 8, 2, false},          // mixtral
        {{ROUTE_SOFTMAX, false, 1, 1, 1, NULL}, 40, 8, false},        // qwen2moe
        {{ROUTE_SOFTMAX_CHOSEN, false, 1, 0, 0, NULL}, 32, 4, false}, // gpt-oss
        {{ROUTE_SOFTMAX, false, 16, 8, 3, NULL}, 40, 6, false},       // deepseek v2
        {{ROUTE_SIGMOID, true, 2.5f, 8, 4, NULL}, 40, 8, true},       // deepseek v3
        {{ROUTE_SIGMOID, true, 1, 0, 0, NULL}, 7, 7, true},           // all of them
        {{ROUTE_SIGMOID, false, 1, 5, 1, NULL}, 5, 1, true},          // groups of one
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        check_choice(&choices[i]);
}

// Whatever comes out of a broken model: experts of a row differ and are there.
static void logits_that_are_no_numbers_choose_different_experts(void **state)
{
    (void)state;
    enum { EXPERTS = 12, USED = 6 };
    static const float odd[][2] = {{NAN, NAN},           {NAN, 1},        {INFINITY, 1},
                                   {-INFINITY, NAN},     {INFINITY, NAN}, {-INFINITY, -INFINITY},
                                   {INFINITY, -FLT_MAX}, {0, 0}};
    static const float bias[EXPERTS] = {1, NAN, INFINITY, -INFINITY, 0.5f};
    for (int score = ROUTE_SOFTMAX; score <= ROUTE_SOFTMAX_CHOSEN; score++)
        for (int groups = 1; groups <= 4; groups += 3)
            for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
                struct choice c = {{(enum route_score)score, true, 1, groups, 2, NULL},
                                   EXPERTS,
                                   USED,
                                   groups > 1 && i % 2};
                float logits[EXPERTS], weights[USED];
                int32_t ids[USED];
                struct bench t;
                bench_open(&t, 2);
                for (int e = 0; e < EXPERTS; e++)
                    logits[e] = e % 4 == 1 ? odd[i][1] : odd[i][0];
                route(&t, &c, logits, bias, 1, ids, weights);
                for (int j = 0; j < USED; j++) {
                    assert_in_range(ids[j], 0, EXPERTS - 1);
                    for (int k = 0; k < j; k++)
                        assert_int_not_equal(ids[j], ids[k]);
                }
                bench_close(&t);
            }
}

static void numbers_are_preferred_to_what_is_none(void **state)
{
    (void)state;
    static const struct choice c = {{ROUTE_SIGMOID, true, 1, 0, 0, NULL}, 6, 4, false};
    static const float logits[6] = {NAN, -3, NAN, 2, NAN, -50}, bias[6];
    int32_t ids[4];
    float weights[4];
    struct bench t;
    bench_open(&t, 1);
    route(&t, &c, logits, bias, 1, ids, weights);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 1);
    assert_int_equal(ids[2], 5);
    assert_int_equal(ids[3], 0);
    bench_close(&t);
}

// ---- a whole feed-forward ----------------------------------------------------------------------

enum { F_EMBD = 64, F_FF = 96, F_EXPERTS = 12, F_USED = 3, F_ROWS = 29 };

// A router, gate, up and down of all experts, biases, and an expert for all rows with a gate.
struct mixture {
    struct bench t;
    float router[F_EXPERTS * F_EMBD], gates[F_EMBD];
    float gate[F_EXPERTS * F_FF * F_EMBD], up[F_EXPERTS * F_FF * F_EMBD];
    float down[F_EXPERTS * F_EMBD * F_FF], bias[F_EXPERTS * F_EMBD];
    struct weight w_router, w_gates, w_gate, w_up, w_down, w_bias;
    struct buf *x, *logits, *g, *u, *rows, *out, *s;
    struct routing r;
};

// Quantized, with some experts in lane form; or with weights and activations as they are.
static void mixture_open(struct mixture *m, int n_threads, bool quantized)
{
    uint32_t type = quantized ? WT_Q8_0 : WT_F32;
    struct bench *t = &m->t;
    bench_open(t, n_threads);
    m->w_router = experts_new(t, WT_F32, F_EMBD, F_EXPERTS, 1, 0, m->router);
    m->w_gates = experts_new(t, WT_F32, F_EMBD, 1, 1, 0, m->gates);
    float *bias = numbers(t, F_EXPERTS * F_EMBD);
    memcpy(m->bias, bias, sizeof m->bias);
    m->w_bias = vector_new(t, bias, F_EMBD, F_EXPERTS);
    free(bias);
    m->w_gate = experts_new(t, type, F_EMBD, F_FF, F_EXPERTS, 0xf0f, m->gate);
    m->w_up = experts_new(t, WT_F16, F_EMBD, F_FF, F_EXPERTS, 0, m->up);
    m->w_down = experts_new(t, type, F_FF, F_EMBD, F_EXPERTS, 0xaaa, m->down);
    float *x = numbers(t, F_ROWS * F_EMBD);
    m->x = buf_of(t, x, F_ROWS * F_EMBD * sizeof *x);
    free(x);
    m->logits = buf_of(t, NULL, F_ROWS * F_EXPERTS * sizeof(float));
    m->g = buf_of(t, NULL, F_ROWS * F_USED * F_FF * sizeof(float));
    m->u = buf_of(t, NULL, F_ROWS * F_USED * F_FF * sizeof(float));
    m->rows = buf_of(t, NULL, F_ROWS * F_USED * F_EMBD * sizeof(float));
    m->out = buf_of(t, NULL, F_ROWS * F_EMBD * sizeof(float));
    m->s = buf_of(t, NULL, F_ROWS * sizeof(float));
    m->r = routing_new(t, F_ROWS, F_EXPERTS, F_USED);
}

static void mixture_close(struct mixture *m)
{
    struct buf *all[] = {m->x, m->logits, m->g, m->u, m->rows, m->out, m->s};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    routing_free(&m->r);
    bench_close(&m->t);
}

static const struct route_how mixture_how = {ROUTE_SOFTMAX, true, 1, 0, 0, NULL};

// x += the mixture's feed-forward of x; every piece that is named once is waited for.
static void record_mixture(struct mixture *m, int n)
{
    struct list *l = m->t.l;
    list_wait(l, 0, 3);
    op_matmul(l, m->logits, m->x, &m->w_router, n);
    op_matmul(l, m->s, m->x, &m->w_gates, n);
    op_route(l, &m->r, m->logits, &mixture_how, n);
    op_expert_matmul(l, m->g, m->x, &m->w_gate, &m->r, false, n);
    op_expert_matmul(l, m->u, m->x, &m->w_up, &m->r, false, n);
    op_glu(l, m->g, m->g, m->u, GLU_SILU, F_USED * F_FF, n);
    op_expert_matmul(l, m->rows, m->g, &m->w_down, &m->r, true, n);
    op_expert_bias(l, m->rows, &m->w_bias, &m->r, n);
    op_expert_sum(l, m->out, m->rows, &m->r, F_EMBD, n);
    op_gate_rows(l, m->out, m->s, F_EMBD, n);
    op_add(l, m->x, m->x, m->out, F_EMBD, n);
    list_done(l, 0, 3);
}

static double dot(const float *w, const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)w[i] * x[i];
    return sum;
}

static void plain_mixture(const struct mixture *m, double *out, const float *in)
{
    double x[F_EMBD], weights[F_USED], h[F_FF];
    float logits[F_EXPERTS];
    int ids[F_USED];
    struct choice c = {mixture_how, F_EXPERTS, F_USED, false};
    for (int i = 0; i < F_EMBD; i++)
        x[i] = (double)in[i];
    for (int e = 0; e < F_EXPERTS; e++)
        logits[e] = (float)dot(m->router + e * F_EMBD, x, F_EMBD);
    plain_route(&c, logits, NULL, ids, weights);
    double gate = 1 / (1 + exp(-dot(m->gates, x, F_EMBD)));
    memcpy(out, x, sizeof x);
    for (int j = 0; j < F_USED; j++) {
        for (int i = 0; i < F_FF; i++) {
            size_t row = (size_t)((ids[j] * F_FF + i) * F_EMBD);
            double g = dot(m->gate + row, x, F_EMBD);
            h[i] = g / (1 + exp(-g)) * dot(m->up + row, x, F_EMBD);
        }
        for (int i = 0; i < F_EMBD; i++) {
            size_t row = (size_t)((ids[j] * F_EMBD + i) * F_FF);
            double y = dot(m->down + row, h, F_FF) + (double)m->bias[ids[j] * F_EMBD + i];
            out[i] += gate * weights[j] * y;
        }
    }
}

static void a_mixture_is_that_of_plain_loops(void **state)
{
    (void)state;
    static float x[F_ROWS * F_EMBD], out[F_ROWS * F_EMBD];
    struct mixture *m = zeros(1, sizeof *m);
    mixture_open(m, 2, false);
    buf_read(m->x, 0, x, sizeof x);
    list_reset(m->t.l);
    record_mixture(m, F_ROWS);
    run(&m->t);
    buf_read(m->x, 0, out, sizeof out);
    for (int row = 0; row < F_ROWS; row++) {
        double want[F_EMBD];
        plain_mixture(m, want, x + row * F_EMBD);
        for (int k = 0; k < F_EMBD; k++)
            near(out[row * F_EMBD + k], want[k], 1e-4);
    }
    mixture_close(m);
    free(m);
}

static void a_row_has_the_same_bits_alone_and_with_any_threads(void **state)
{
    (void)state;
    static float x[F_ROWS * F_EMBD], out[F_ROWS * F_EMBD], first[F_ROWS * F_EMBD];
    struct mixture *m = zeros(1, sizeof *m);
    for (int i = 0; i < THREAD_COUNTS; i++) {
        mixture_open(m, thread_counts[i], true);
        buf_read(m->x, 0, x, sizeof x);
        list_reset(m->t.l);
        record_mixture(m, F_ROWS);
        run(&m->t);
        buf_read(m->x, 0, out, sizeof out);
        if (i)
            assert_memory_equal(out, first, sizeof out);
        memcpy(first, out, sizeof out);
        for (int row = 0; row < F_ROWS; row++) {
            buf_write(m->x, 0, x + row * F_EMBD, F_EMBD * sizeof *x);
            list_reset(m->t.l);
            record_mixture(m, 1);
            run(&m->t);
            buf_read(m->x, 0, out, F_EMBD * sizeof *out);
            assert_memory_equal(out, first + row * F_EMBD, F_EMBD * sizeof *out);
        }
        mixture_close(m);
    }
    free(m);
}

// Layers one after the other in one list and each in its own: plans are used in turns.
static void layers_of_one_list_do_not_disturb_each_other(void **state)
{
    (void)state;
    enum { LAYERS = 3 };
    static float at_once[F_ROWS * F_EMBD], one_by_one[F_ROWS * F_EMBD];
    struct mixture *m = zeros(1, sizeof *m);
    for (int i = 0; i < THREAD_COUNTS; i++)
        for (int n = 1; n <= F_ROWS; n += 7)
            for (int single = 0; single < 2; single++) {
                mixture_open(m, thread_counts[i], true);
                list_reset(m->t.l);
                for (int layer = 0; layer < LAYERS; layer++) {
                    record_mixture(m, n);
                    if (single) {
                        run(&m->t);
                        list_reset(m->t.l);
                    }
                }
                run(&m->t);
                buf_read(m->x, 0, single ? one_by_one : at_once, sizeof at_once);
                mixture_close(m);
                if (single)
                    assert_memory_equal(at_once, one_by_one, sizeof at_once);
            }
    free(m);
}

// ---- pieces ------------------------------------------------------------------------------------

static void only_experts_in_use_are_asked_for_and_each_once(void **state)
{
    (void)state;
    struct mixture *m = zeros(1, sizeof *m);
    for (int n = 1; n <= 2; n++) {
        int32_t ids[2 * F_USED];
        bool used[F_EXPERTS] = {0};
        mixture_open(m, 3, true);
        list_reset(m->t.l);
        record_mixture(m, n);
        run(&m->t);
        buf_read(m->r.ids, 0, ids, (size_t)(n * F_USED) * sizeof *ids);
        for (int u = 0; u < n * F_USED; u++)
            used[ids[u]] = true;
        for (int e = 0; e < F_EXPERTS; e++) {
            assert_int_equal(m->t.times[m->w_gate.piece + (uint32_t)e], used[e]);
            assert_int_equal(m->t.times[m->w_up.piece + (uint32_t)e], used[e]);
            assert_int_equal(m->t.times[m->w_down.piece + (uint32_t)e], used[e]);
        }
        mixture_close(m);
    }
    free(m);
}

// Whichever piece cannot be had: the run ends with that error, everything is given back, and the
// next run is as good as the first.
static void a_piece_that_cannot_be_had_ends_the_run(void **state)
{
    (void)state;
    static float want[F_ROWS * F_EMBD], x[F_ROWS * F_EMBD], out[F_ROWS * F_EMBD];
    struct mixture *m = zeros(1, sizeof *m);
    for (int i = 0; i < THREAD_COUNTS; i++) {
        int failed = 0;
        mixture_open(m, thread_counts[i], true);
        buf_read(m->x, 0, x, sizeof x);
        list_reset(m->t.l);
        record_mixture(m, 4);
        run(&m->t);
        buf_read(m->x, 0, want, sizeof want);
        for (;; failed++) {
            struct err e = {0};
            m->t.fails_at = failed;
            m->t.n_acquired = 0;
            buf_write(m->x, 0, x, sizeof x);
            int rc = list_run(m->t.l, &e);
            for (int k = 0; k < m->t.n_pieces; k++)
                assert_int_equal(m->t.held[k], 0);
            if (!rc)
                break;
            assert_int_equal(rc, ERR_UNREACHABLE);
            assert_non_null(strstr(e.text, "on a disk that is gone"));
        }
        assert_true(failed >= 3 + 3 * F_USED);
        buf_read(m->x, 0, out, sizeof out);
        assert_memory_equal(out, want, sizeof out);
        mixture_close(m);
    }
    free(m);
}

static void nothing_is_allocated_while_recording_and_running(void **state)
{
    (void)state;
    struct mixture *m = zeros(1, sizeof *m);
    struct err e = {0};
    mixture_open(m, 2, true);
    long before = guard_violations();
    guard_enter();
    list_reset(m->t.l);
    record_mixture(m, F_ROWS);
    int rc = list_run(m->t.l, &e);
    guard_leave();
    assert_ok(rc, &e);
    assert_int_equal(guard_violations(), before);
    mixture_close(m);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(heads_are_experts_that_every_row_uses),
        cmocka_unit_test(choices_are_those_of_plain_loops),
        cmocka_unit_test(logits_that_are_no_numbers_choose_different_experts),
        cmocka_unit_test(numbers_are_preferred_to_what_is_none),
        cmocka_unit_test(a_mixture_is_that_of_plain_loops),
        cmocka_unit_test(a_row_has_the_same_bits_alone_and_with_any_threads),
        cmocka_unit_test(layers_of_one_list_do_not_disturb_each_other),
        cmocka_unit_test(only_experts_in_use_are_asked_for_and_each_once),
        cmocka_unit_test(a_piece_that_cannot_be_had_ends_the_run),
        cmocka_unit_test(nothing_is_allocated_while_recording_and_running),
    };
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
