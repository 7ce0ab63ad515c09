// Operations of the CPU device against plain loops in double precision, with one thread and with
// several, whose results must be equal bit for bit.
#include "support.h"

#include "backend/backend.h"
#include "base/cores.h"
#include "base/pool.h"
#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/kv_chunk.h"
#include "kernels/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 40, MAX_WIDTH = 512, MAX_PIECES = 8 };
static const int thread_counts[] = {1, 2, 3, 5};
enum { THREAD_COUNTS = sizeof thread_counts / sizeof *thread_counts };

// A device with weights that lie in plain memory.
struct bench {
    struct backend *b;
    struct list *l;
    uint8_t *pieces[MAX_PIECES];
    enum layout layouts[MAX_PIECES];
    int n_pieces;
    struct rng rng;
};

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    (void)e;
    *layout = ((struct bench *)ctx)->layouts[piece];
    return ((struct bench *)ctx)->pieces[piece];
}

static void done(void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
}

static void bench_open_context(struct bench *t, int n_threads, int max_context)
{
    struct err e = {0};
    *t = (struct bench){0};
    rng_init(&t->rng, 7);
    struct backend_options o = {.n_threads = n_threads, .isa = ISA_COUNT};
    assert_ok(backend_open_cpu(&t->b, &o, &e), &e);
    struct list_limits limits = {.max_rows = MAX_ROWS,
                                 .max_ops = 256,
                                 .max_pieces = MAX_PIECES,
                                 .max_width = MAX_WIDTH,
                                 .max_heads = 8,
                                 .max_head_dim = 64,
                                 .max_context = max_context};
    struct piece_source source = {.ctx = t, .acquire = acquire, .done = done};
    assert_ok(list_new(&t->l, t->b, &limits, &source, &e), &e);
}

static void bench_open(struct bench *t, int n_threads)
{
    bench_open_context(t, n_threads, 0);
}

static void bench_close(struct bench *t)
{
    list_free(t->l);
    backend_free(t->b);
    for (int i = 0; i < t->n_pieces; i++)
        free(t->pieces[i]);
}

static float number(struct bench *t)
{
    return (float)(2 * rng_double(&t->rng) - 1);
}

// A random matrix as a piece of its own; `exact` gets the values it decodes to.
static struct weight weight_new(struct bench *t, uint32_t type, int n_in, int n_out, float *exact)
{
    size_t row_bytes;
    float row[MAX_WIDTH];
    assert_true(wtype_row_bytes(type, (uint64_t)n_in, &row_bytes));
    uint8_t *data = malloc(row_bytes * (size_t)n_out);
    assert_non_null(data);
    for (int r = 0; r < n_out; r++) {
        for (int i = 0; i < n_in; i++)
            row[i] = number(t);
        assert_true(kernels_encode(type, data + (size_t)r * row_bytes, row, (size_t)n_in));
        backend_kernels(t->b)->format[type].decode(exact + r * n_in, data + (size_t)r * row_bytes,
                                                   (size_t)n_in);
    }
    t->pieces[t->n_pieces] = data;
    return (struct weight){.type = type,
                           .piece = (uint32_t)t->n_pieces++,
                           .row_bytes = row_bytes,
                           .n_in = n_in,
                           .n_out = n_out};
}

static struct buf *buf_filled(struct bench *t, size_t n, float *copy)
{
    struct buf *u;
    struct err e = {0};
    assert_ok(buf_new(&u, t->b, n * sizeof(float), "test", &e), &e);
    for (size_t i = 0; i < n; i++) {
        float x = number(t);
        buf_write(u, i * sizeof x, &x, sizeof x);
        if (copy)
            copy[i] = x;
    }
    return u;
}

static void wait_all(struct bench *t)
{
    list_reset(t->l);
    if (t->n_pieces)
        list_wait(t->l, 0, (uint32_t)t->n_pieces);
}

static void run(struct bench *t)
{
    struct err e = {0};
    assert_ok(list_run(t->l, &e), &e);
}

static void near(float got, double want, double limit)
{
    if (!(fabs((double)got - want) <= limit))
        fail_msg("%.9g is not %.9g", (double)got, want);
}

// ---- products ----------------------------------------------------------------------------------

static void check_product(uint32_t type, int n_in, int n_out, int n, double limit)
{
    static float w[MAX_WIDTH * MAX_WIDTH], x[MAX_ROWS * MAX_WIDTH];
    static float first[MAX_ROWS * MAX_WIDTH], out[MAX_ROWS * MAX_WIDTH];
    size_t bytes = (size_t)n * (size_t)n_out * sizeof(float);
    for (int i = 0; i < THREAD_COUNTS; i++) {
        struct bench t;
        bench_open(&t, thread_counts[i]);
        struct weight weight = weight_new(&t, type, n_in, n_out, w);
        struct buf *in = buf_filled(&t, (size_t)(n * n_in), x);
        struct buf *to = buf_filled(&t, (size_t)(n * n_out), NULL);
        wait_all(&t);
        op_matmul(t.l, to, in, &weight, n);
        run(&t);
        buf_read(to, 0, out, bytes);
        for (int row = 0; row < n; row++)
            for (int c = 0; c < n_out; c++) {
                double sum = 0;
                for (int k = 0; k < n_in; k++)
                    sum += (double)x[row * n_in + k] * (double)w[c * n_in + k];
                near(out[row * n_out + c], sum, limit * sqrt(n_in));
            }
        if (i)
            assert_memory_equal(out, first, bytes);
        else
            memcpy(first, out, bytes);
        buf_free(in);
        buf_free(to);
        bench_close(&t);
    }
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    check_product(WT_F32, 30, 7, 5, 1e-6);
    check_product(WT_F32, 512, 200, 3, 1e-6);
    check_product(WT_F16, 64, 33, MAX_ROWS, 1e-6);
    check_product(WT_BF16, 64, 1, 1, 1e-6);
    check_product(WT_Q8_0, 96, 100, 6, 1e-2);
    check_product(WT_Q4_0, 512, 17, 2, 1e-2);
    check_product(WT_Q4_K, 256, 64, 9, 1e-2);
    check_product(WT_Q6_K, 512, 48, 1, 1e-2);
}

// The piece of `w` in lane form instead of rows.
static void weight_turn(struct bench *t, const struct weight *w)
{
    size_t n_rows = (size_t)w->n_out;
    uint8_t *rows = t->pieces[w->piece], *lanes = malloc(lanes_rows(n_rows) * w->row_bytes);
    assert_non_null(lanes);
    for (size_t r = 0; r < n_rows; r += LANE_ROWS)
        lanes_pack(w->type, lanes + r * w->row_bytes, rows + r * w->row_bytes, w->row_bytes,
                   n_rows - r < LANE_ROWS ? (int)(n_rows - r) : LANE_ROWS);
    free(rows);
    t->pieces[w->piece] = lanes;
    t->layouts[w->piece] = LAYOUT_LANES;
}

static void weights_in_lanes_give_the_bits_of_rows(void **state)
{
    (void)state;
    enum { IN = 512, OUT = 45, N = 3 };
    static const uint32_t types[] = {WT_Q4_0, WT_Q8_0, WT_Q4_K, WT_Q6_K};
    static const int32_t ids[N] = {44, 0, 17};
    static float exact[IN * OUT], product[2][N * OUT], embedded[2][N * IN];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct bench t;
        bench_open(&t, 2);
        struct weight w = weight_new(&t, types[i], IN, OUT, exact);
        struct buf *in = buf_filled(&t, N * IN, NULL), *to = buf_filled(&t, N * OUT, NULL);
        struct buf *rows = buf_filled(&t, N * IN, NULL);
        for (int lanes = 0; lanes < 2; lanes++) {
            if (lanes)
                weight_turn(&t, &w);
            wait_all(&t);
            op_matmul(t.l, to, in, &w, N);
            op_embed(t.l, rows, &w, ids, N);
            run(&t);
            buf_read(to, 0, product[lanes], sizeof *product);
            buf_read(rows, 0, embedded[lanes], sizeof *embedded);
        }
        assert_memory_equal(product[0], product[1], sizeof *product);
        assert_memory_equal(embedded[0], embedded[1], sizeof *embedded);
        for (int row = 0; row < N; row++)
            assert_memory_equal(embedded[0] + row * IN, exact + ids[row] * IN, IN * sizeof *exact);
        buf_free(in);
        buf_free(to);
        buf_free(rows);
        bench_close(&t);
    }
}

// One input for products of formats that quantize it differently, twice, with a change in between.
static void an_input_is_quantized_again_when_it_changes(void **state)
{
    (void)state;
    static float w8[256 * 32], w4[256 * 32], wf[256 * 32], x[4 * 256], out[4 * 32];
    enum { N = 4, IN = 256, OUT = 32 };
    struct bench t;
    bench_open(&t, 2);
    struct weight weights[] = {weight_new(&t, WT_Q8_0, IN, OUT, w8),
                               weight_new(&t, WT_Q4_K, IN, OUT, w4),
                               weight_new(&t, WT_F32, IN, OUT, wf)};
    const float *exact[] = {w8, w4, wf};
    struct buf *in = buf_filled(&t, N * IN, x), *to[6];
    for (int i = 0; i < 6; i++)
        to[i] = buf_filled(&t, N * OUT, NULL);
    wait_all(&t);
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            op_add(t.l, in, in, in, IN, N);
        op_matmul(t.l, to[i], in, &weights[i % 3], N);
    }
    run(&t);
    for (int i = 0; i < 6; i++) {
        buf_read(to[i], 0, out, sizeof out);
        for (int row = 0; row < N; row++)
            for (int c = 0; c < OUT; c++) {
                double sum = 0;
                for (int k = 0; k < IN; k++)
                    sum += (double)x[row * IN + k] * (double)exact[i % 3][c * IN + k];
                near(out[row * OUT + c], i < 3 ? sum : 2 * sum, 0.4);
            }
        buf_free(to[i]);
    }
    buf_free(in);
    bench_close(&t);
}

// ---- rows --------------------------------------------------------------------------------------

static void row_operations_are_those_of_plain_loops(void **state)
{
    (void)state;
    enum { N = 7, WIDTH = 300 };
    static float w[WIDTH], bias[WIDTH], x[N * WIDTH], y[N * WIDTH], normed[N * WIDTH],
        summed[N * WIDTH], gated[N * WIDTH];
    for (int i = 0; i < THREAD_COUNTS; i++) {
        struct bench t;
        bench_open(&t, thread_counts[i]);
        struct weight weight = weight_new(&t, WT_F32, WIDTH, 1, w);
        struct weight shift = weight_new(&t, WT_F32, WIDTH, 1, bias);
        struct buf *a = buf_filled(&t, N * WIDTH, x), *b = buf_filled(&t, N * WIDTH, y);
        struct buf *to = buf_filled(&t, N * WIDTH, NULL), *gate = buf_filled(&t, N * WIDTH, NULL);
        wait_all(&t);
        op_rms_norm(t.l, to, a, &weight, N, 1e-5f);
        op_glu(t.l, gate, a, b, GLU_SILU, WIDTH, N);
        op_add(t.l, a, a, b, WIDTH, N);
        op_add_bias(t.l, a, &shift, N);
        run(&t);
        buf_read(to, 0, normed, sizeof normed);
        buf_read(a, 0, summed, sizeof summed);
        buf_read(gate, 0, gated, sizeof gated);
        for (int row = 0; row < N; row++) {
            double square = 0;
            for (int k = 0; k < WIDTH; k++)
                square += pow((double)x[row * WIDTH + k], 2);
            for (int k = 0; k < WIDTH; k++) {
                int at = row * WIDTH + k;
                double v = (double)x[at], u = (double)y[at];
                near(normed[at], v / sqrt(square / WIDTH + 1e-5) * (double)w[k], 1e-6);
                near(summed[at], v + u + (double)bias[k], 1e-6);
                near(gated[at], v / (1 + exp(-v)) * u, 1e-6);
            }
        }
        buf_free(a);
        buf_free(b);
        buf_free(to);
        buf_free(gate);
        bench_close(&t);
    }
}

static void heads_are_normed_one_by_one(void **state)
{
    (void)state;
    enum { N = 3, HEADS = 5, DIM = 24 };
    static float w[DIM], x[N * HEADS * DIM], out[N * HEADS * DIM];
    struct bench t;
    bench_open(&t, 2);
    struct weight weight = weight_new(&t, WT_F32, DIM, 1, w);
    struct buf *a = buf_filled(&t, N * HEADS * DIM, x);
    wait_all(&t);
    op_rms_norm_heads(t.l, a, &weight, N, HEADS, 1e-6f);
    run(&t);
    buf_read(a, 0, out, sizeof out);
    for (int h = 0; h < N * HEADS; h++) {
        double square = 0;
        for (int i = 0; i < DIM; i++)
            square += pow((double)x[h * DIM + i], 2);
        for (int i = 0; i < DIM; i++)
            near(out[h * DIM + i],
                 (double)x[h * DIM + i] / sqrt(square / DIM + 1e-6) * (double)w[i], 1e-5);
    }
    buf_free(a);
    bench_close(&t);
}

static void embedding_and_gathering_pick_rows(void **state)
{
    (void)state;
    enum { N = 6, WIDTH = 64, ROWS = 20 };
    static float w[ROWS * WIDTH], out[N * WIDTH], picked[N * WIDTH];
    static const int32_t ids[N] = {19, 0, 7, 7, 3, 11}, index[N] = {5, 0, 1, 1, 4, 2};
    for (int i = 0; i < THREAD_COUNTS; i++) {
        struct bench t;
        bench_open(&t, thread_counts[i]);
        struct weight weight = weight_new(&t, WT_Q5_0, WIDTH, ROWS, w);
        struct buf *a = buf_filled(&t, N * WIDTH, NULL), *b = buf_filled(&t, N * WIDTH, NULL);
        wait_all(&t);
        op_embed(t.l, a, &weight, ids, N);
        op_gather(t.l, b, a, index, WIDTH, N);
        run(&t);
        buf_read(a, 0, out, sizeof out);
        buf_read(b, 0, picked, sizeof picked);
        for (int row = 0; row < N; row++) {
            assert_memory_equal(out + row * WIDTH, w + ids[row] * WIDTH, WIDTH * sizeof *w);
            assert_memory_equal(picked + row * WIDTH, w + ids[index[row]] * WIDTH,
                                WIDTH * sizeof *w);
        }
        buf_free(a);
        buf_free(b);
        bench_close(&t);
    }
}

// ---- rotation and attention --------------------------------------------------------------------

static void rotation_turns_pairs_and_halves_by_their_angles(void **state)
{
    (void)state;
    enum { HEADS = 3, DIM = 16, ROT = 12, N = 5 };
    static const int32_t pos[N] = {0, 1, 77, 131071, 10000000};
    static float freqs[ROT / 2], x[N * HEADS * DIM], out[N * HEADS * DIM];
    for (int i = 0; i < ROT / 2; i++)
        freqs[i] = powf(10000, -2.0f * (float)i / ROT);
    struct rows rows = {.n = N, .pos = pos};
    for (int i = 0; i < THREAD_COUNTS; i++)
        for (int layout = ROPE_PAIRS; layout <= ROPE_HALVES; layout++) {
            struct bench t;
            bench_open(&t, thread_counts[i]);
            struct buf *a = buf_filled(&t, N * HEADS * DIM, x);
            wait_all(&t);
            struct rope rope = {freqs, 1, ROT, 0, (enum rope_layout)layout};
            op_rope(t.l, a, &rows, &rope, HEADS, DIM);
            run(&t);
            buf_read(a, 0, out, sizeof out);
            for (int h = 0; h < N * HEADS; h++) {
                const float *from = x + h * DIM, *to = out + h * DIM;
                for (int j = 0; j < ROT / 2; j++) {
                    double angle = (double)pos[h / HEADS] * (double)freqs[j];
                    int p = layout == ROPE_PAIRS ? 2 * j : j;
                    int q = layout == ROPE_PAIRS ? 2 * j + 1 : j + ROT / 2;
                    double c = cos(angle), s = sin(angle);
                    near(to[p], (double)from[p] * c - (double)from[q] * s, 3e-7);
                    near(to[q], (double)from[p] * s + (double)from[q] * c, 3e-7);
                }
                assert_memory_equal(to + ROT, from + ROT, (DIM - ROT) * sizeof *to);
            }
            buf_free(a);
            bench_close(&t);
        }
}

enum { A_HEADS = 6, A_KV = 2, A_DIM = 16, A_CONTEXT = 1300, A_PAGES = 21, A_ROWS = 13 };

// Plain softmax over the positions that are seen, and a sink.
static void plain_attention(double *out, const float *q, const float *k, const float *v, int from,
                            int pos, int kv_head, double cap, double sink)
{
    double p[A_CONTEXT], max = sink, sum = 0;
    for (int j = from; j <= pos; j++) {
        p[j] = 0;
        for (int i = 0; i < A_DIM; i++)
            p[j] += (double)q[i] * (double)k[(j * A_KV + kv_head) * A_DIM + i];
        p[j] *= 0.25;
        if (cap > 0)
            p[j] = cap * tanh(p[j] / cap);
        max = fmax(max, p[j]);
    }
    for (int j = from; j <= pos; j++)
        sum += p[j] = exp(p[j] - max);
    sum += exp(sink - max);
    for (int i = 0; i < A_DIM; i++) {
        out[i] = 0;
        for (int j = from; j <= pos; j++)
            out[i] += p[j] / sum * (double)v[(j * A_KV + kv_head) * A_DIM + i];
    }
}

// A cache of A_CONTEXT random positions, and queries at some of them.
struct attention {
    struct bench t;
    struct kv_layer kv;
    struct weight sinks;
    float sink[A_HEADS];
    float k[A_CONTEXT * A_KV * A_DIM], v[A_CONTEXT * A_KV * A_DIM], q[A_ROWS * A_HEADS * A_DIM];
    int32_t pages[A_PAGES];
    const int32_t *row_pages[MAX_ROWS];
};

static const int32_t asked[A_ROWS] = {0,   62,  63,   64,   65,   130,          511,
                                      512, 700, 1023, 1024, 1298, A_CONTEXT - 1};

static void attention_open(struct attention *a, int n_threads, enum kv_type type, int max_context)
{
    struct err e = {0};
    int32_t pos[MAX_ROWS];
    bench_open_context(&a->t, n_threads, max_context);
    a->sinks = weight_new(&a->t, WT_F32, A_HEADS, 1, a->sink);
    size_t layer = A_KV * kv_layout(type, A_DIM).bytes;
    a->kv = (struct kv_layer){.page_bytes = 2 * layer,
                              .offset = layer,
                              .n_kv_heads = A_KV,
                              .head_dim = A_DIM,
                              .type = type};
    assert_ok(buf_new(&a->kv.buf, a->t.b, (A_PAGES + 2) * a->kv.page_bytes, "cache", &e), &e);
    memset(buf_host(a->kv.buf), 0xff, buf_size(a->kv.buf)); // NaNs: what is not written is not read
    for (int i = 0; i < A_PAGES; i++)
        a->pages[i] = (i * 8 + 3) % (A_PAGES + 2);
    for (int i = 0; i < MAX_ROWS; i++)
        a->row_pages[i] = a->pages;
    struct rows rows = {.pos = pos, .pages = a->row_pages};
    for (int at = 0; at < A_CONTEXT; at += rows.n) { // in batches that straddle pages
        int most = at < 300 ? 37 : 7;                // stored by heads, and by rows
        rows.n = A_CONTEXT - at < most ? A_CONTEXT - at : most;
        size_t n = (size_t)rows.n * A_KV * A_DIM, first = (size_t)at * A_KV * A_DIM;
        for (int i = 0; i < rows.n; i++)
            pos[i] = at + i;
        struct buf *kb = buf_filled(&a->t, n, a->k + first);
        struct buf *vb = buf_filled(&a->t, n, a->v + first);
        wait_all(&a->t);
        op_kv_store(a->t.l, &a->kv, kb, vb, &rows);
        run(&a->t);
        buf_free(kb);
        buf_free(vb);
    }
    for (size_t i = 0; i < sizeof a->q / sizeof *a->q; i++)
        a->q[i] = number(&a->t);
}

static void attention_close(struct attention *a)
{
    buf_free(a->kv.buf);
    bench_close(&a->t);
}

// What attention with this window has besides.
static float soft_cap(int window)
{
    return window == 5 || window == 600 ? 0.5f : 0;
}

static bool has_sinks(int window)
{
    return window == 5 || window == 100 || window == 5000;
}

// The queries of rows [lo, hi) in one operation.
static void attend_rows(struct attention *a, int lo, int hi, int window, float *out)
{
    struct err e = {0};
    size_t width = A_HEADS * A_DIM * sizeof(float), n = (size_t)(hi - lo) * width;
    struct rows rows = {.n = hi - lo, .pos = asked + lo, .pages = a->row_pages};
    struct buf *qb, *ob;
    assert_ok(buf_new(&qb, a->t.b, n, "q", &e), &e);
    assert_ok(buf_new(&ob, a->t.b, n, "out", &e), &e);
    buf_write(qb, 0, a->q + (size_t)lo * width / sizeof(float), n);
    wait_all(&a->t);
    struct attend_how how = {.scale = 0.25f,
                             .window = window,
                             .softcap = soft_cap(window),
                             .sinks = has_sinks(window) ? &a->sinks : NULL};
    op_attend(a->t.l, ob, qb, &a->kv, &rows, A_HEADS, &how);
    run(&a->t);
    buf_read(ob, 0, out + (size_t)lo * width / sizeof(float), n);
    buf_free(qb);
    buf_free(ob);
}

static const int windows[] = {0, 1, 5, 64, 100, 600, 5000};
enum { WINDOWS = sizeof windows / sizeof *windows };

static void attention_is_a_softmax_over_what_is_seen(void **state)
{
    (void)state;
    static struct attention a;
    static float out[A_ROWS * A_HEADS * A_DIM];
    static const double limits[KV_TYPE_COUNT] = {1e-6, 1e-3, 1e-2};
    for (int type = KV_F32; type < KV_TYPE_COUNT; type++) {
        attention_open(&a, 2, (enum kv_type)type, A_CONTEXT);
        for (int w = 0; w < WINDOWS; w++) {
            attend_rows(&a, 0, A_ROWS, windows[w], out);
            for (int h = 0; h < A_ROWS * A_HEADS; h++) {
                double want[A_DIM];
                int pos = asked[h / A_HEADS], from = windows[w] ? pos + 1 - windows[w] : 0;
                plain_attention(want, a.q + h * A_DIM, a.k, a.v, from > 0 ? from : 0, pos,
                                h % A_HEADS / (A_HEADS / A_KV), (double)soft_cap(windows[w]),
                                has_sinks(windows[w]) ? (double)a.sink[h % A_HEADS] : -INFINITY);
                for (int i = 0; i < A_DIM; i++)
                    near(out[h * A_DIM + i], want[i], limits[type]);
            }
        }
        attention_close(&a);
    }
}

static void attention_does_not_depend_on_threads_batches_or_splits(void **state)
{
    (void)state;
    static struct attention a;
    static float first[WINDOWS][A_ROWS * A_HEADS * A_DIM], out[A_ROWS * A_HEADS * A_DIM];
    static const int threads[] = {1, 2, 3, 5, 16}, together[] = {A_ROWS, 1, 2, 5};
    for (int type = KV_F32; type < KV_TYPE_COUNT; type++)
        for (size_t i = 0; i < 5; i++) {
            // One that knows no contexts splits nothing.
            attention_open(&a, threads[i], (enum kv_type)type, i ? A_CONTEXT : 0);
            for (int w = 0; w < WINDOWS; w++)
                for (size_t j = 0; j < 4; j++) {
                    for (int lo = 0, hi; lo < A_ROWS; lo = hi) {
                        hi = lo + together[j] < A_ROWS ? lo + together[j] : A_ROWS;
                        attend_rows(&a, lo, hi, windows[w], out);
                    }
                    if (!i && !j)
                        memcpy(first[w], out, sizeof out);
                    assert_memory_equal(out, first[w], sizeof out);
                }
            attention_close(&a);
        }
}

// Rows of two sessions in turn, whose pages differ, and pages outside the window that are nowhere.
static void sessions_and_windows_keep_to_their_pages(void **state)
{
    (void)state;
    static struct attention a;
    static float out[A_ROWS * A_HEADS * A_DIM], alone[A_ROWS * A_HEADS * A_DIM];
    static int32_t other[A_PAGES], nowhere[A_PAGES];
    attention_open(&a, 2, KV_F16, A_CONTEXT);
    for (int i = 0; i < A_PAGES; i++) {
        other[i] = a.pages[(i + 7) % (A_PAGES - 1)]; // all full
        nowhere[i] = i < 10 ? 1 << 30 : a.pages[i];
    }
    for (int i = 1; i < MAX_ROWS; i += 2)
        a.row_pages[i] = other;
    attend_rows(&a, 0, A_ROWS, 0, out);
    for (int i = 0; i < A_ROWS; i++) {
        a.row_pages[0] = i % 2 ? other : a.pages;
        attend_rows(&a, i, i + 1, 0, alone);
    }
    assert_memory_equal(out, alone, sizeof out);
    for (int i = 0; i < MAX_ROWS; i++)
        a.row_pages[i] = a.pages;
    attend_rows(&a, 9, A_ROWS, 384, alone); // positions 640 and later
    for (int i = 0; i < MAX_ROWS; i++)
        a.row_pages[i] = nowhere;
    attend_rows(&a, 9, A_ROWS, 384, out);
    size_t row = A_HEADS * A_DIM;
    assert_memory_equal(out + 9 * row, alone + 9 * row, (A_ROWS - 9) * row * sizeof *out);
    attention_close(&a);
}

static void what_a_machine_cannot_do_is_refused(void **state)
{
    (void)state;
    struct backend *b = NULL;
    struct buf *u = NULL;
    struct err e = {0};
    struct backend_options o = {.n_threads = -1, .isa = ISA_COUNT};
    assert_int_equal(backend_open_cpu(&b, &o, &e), ERR_USAGE);
    e.code = 0;
    o.n_threads = 100000;
    assert_int_equal(backend_open_cpu(&b, &o, &e), ERR_USAGE);
    e.code = 0;
    o.n_threads = 1;
    assert_ok(backend_open_cpu(&b, &o, &e), &e);
    assert_int_equal(buf_new(&u, b, SIZE_MAX, "the cache", &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "the cache"));
    e.code = 0;
    assert_int_equal(buf_new(&u, b, SIZE_MAX / 2, "the cache", &e), ERR_NO_MEMORY);
    assert_non_null(strstr(backend_describe(b), "1 thread"));
    backend_free(b);
}

static void threads_are_pinned_by_one_backend_at_a_time(void **state)
{
    (void)state;
    struct backend *one = NULL, *other = NULL;
    struct err e = {0};
    struct backend_options o = {.n_threads = 1, .isa = ISA_COUNT, .pin = PIN_ON};
    int n = cores_here()->n;
    if (n > POOL_MAX_THREADS)
        test_skip("%d processors are more than threads can be had", n);
    o.n_threads = n;
    if (backend_open_cpu(&one, &o, &e))
        test_skip("another program has processors of this machine: %s", e.text);
    assert_non_null(strstr(backend_describe(one), ", pinned"));
    o.n_threads = 1;
    assert_int_equal(backend_open_cpu(&other, &o, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "--pin"));
    e.code = 0;
    o.pin = PIN_AUTO; // gets along without
    assert_ok(backend_open_cpu(&other, &o, &e), &e);
    assert_null(strstr(backend_describe(other), "pinned"));
    backend_free(other);
    backend_free(one);
    o.pin = PIN_ON;
    assert_ok(backend_open_cpu(&one, &o, &e), &e);
    backend_free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(weights_in_lanes_give_the_bits_of_rows),
        cmocka_unit_test(an_input_is_quantized_again_when_it_changes),
        cmocka_unit_test(row_operations_are_those_of_plain_loops),
        cmocka_unit_test(heads_are_normed_one_by_one),
        cmocka_unit_test(embedding_and_gathering_pick_rows),
        cmocka_unit_test(rotation_turns_pairs_and_halves_by_their_angles),
        cmocka_unit_test(attention_is_a_softmax_over_what_is_seen),
        cmocka_unit_test(attention_does_not_depend_on_threads_batches_or_splits),
        cmocka_unit_test(sessions_and_windows_keep_to_their_pages),
        cmocka_unit_test(what_a_machine_cannot_do_is_refused),
        cmocka_unit_test(threads_are_pinned_by_one_backend_at_a_time),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
