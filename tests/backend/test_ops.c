// Operations of the CPU device against plain loops in double precision, with one thread and with
// several, whose results must be equal bit for bit.
#include "support.h"

#include "backend/backend.h"
#include "base/rng.h"
#include "kernels/encode.h"
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

static void bench_open(struct bench *t, int n_threads)
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
                                 .max_head_dim = 64};
    struct piece_source source = {t, acquire, done};
    assert_ok(list_new(&t->l, t->b, &limits, &source, &e), &e);
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
        op_silu_mul(t.l, gate, a, b, WIDTH, N);
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
            op_rope(t.l, a, &rows, freqs, HEADS, DIM, ROT, (enum rope_layout)layout);
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

enum { A_HEADS = 6, A_KV = 2, A_DIM = 16, A_CONTEXT = 200, A_PAGES = 4, A_ROWS = 5 };

// Plain softmax over all positions.
static void plain_attention(double *out, const float *q, const float *k, const float *v, int pos,
                            int kv_head)
{
    double p[A_CONTEXT], max = -INFINITY, sum = 0;
    for (int j = 0; j <= pos; j++) {
        p[j] = 0;
        for (int i = 0; i < A_DIM; i++)
            p[j] += (double)q[i] * (double)k[(j * A_KV + kv_head) * A_DIM + i];
        p[j] *= 0.25;
        max = fmax(max, p[j]);
    }
    for (int j = 0; j <= pos; j++)
        sum += p[j] = exp(p[j] - max);
    for (int i = 0; i < A_DIM; i++) {
        out[i] = 0;
        for (int j = 0; j <= pos; j++)
            out[i] += p[j] / sum * (double)v[(j * A_KV + kv_head) * A_DIM + i];
    }
}

static void check_attention(int n_threads, enum kv_type type, float *out)
{
    static float k[A_CONTEXT * A_KV * A_DIM], v[A_CONTEXT * A_KV * A_DIM];
    static float q[A_ROWS * A_HEADS * A_DIM];
    static const int32_t pages[A_PAGES] = {5, 0, 3, 1}, *row_pages[MAX_ROWS];
    static const int32_t asked[A_ROWS] = {0, 63, 64, 130, A_CONTEXT - 1};
    int32_t pos[MAX_ROWS];
    struct err e = {0};
    struct bench t;
    bench_open(&t, n_threads);
    size_t half = (size_t)KV_PAGE_TOKENS * A_KV * A_DIM * kv_type_bytes(type);
    struct kv_layer kv = {.page_bytes = 4 * half,
                          .k_offset = 2 * half,
                          .v_offset = 3 * half,
                          .page_tokens = KV_PAGE_TOKENS,
                          .n_kv_heads = A_KV,
                          .head_dim = A_DIM,
                          .type = type};
    assert_ok(buf_new(&kv.buf, t.b, 6 * kv.page_bytes, "cache", &e), &e);
    struct rows rows = {.pos = pos, .pages = row_pages};
    for (int i = 0; i < MAX_ROWS; i++)
        row_pages[i] = pages;
    for (int at = 0; at < A_CONTEXT; at += rows.n) { // filled in batches that straddle pages
        rows.n = A_CONTEXT - at < 37 ? A_CONTEXT - at : 37;
        for (int i = 0; i < rows.n; i++)
            pos[i] = at + i;
        struct buf *kb = buf_filled(&t, (size_t)rows.n * A_KV * A_DIM, k + at * A_KV * A_DIM);
        struct buf *vb = buf_filled(&t, (size_t)rows.n * A_KV * A_DIM, v + at * A_KV * A_DIM);
        wait_all(&t);
        op_kv_store(t.l, &kv, kb, vb, &rows);
        run(&t);
        buf_free(kb);
        buf_free(vb);
    }
    rows.n = A_ROWS;
    memcpy(pos, asked, sizeof asked);
    struct buf *qb = buf_filled(&t, A_ROWS * A_HEADS * A_DIM, q);
    struct buf *ob = buf_filled(&t, A_ROWS * A_HEADS * A_DIM, NULL);
    wait_all(&t);
    op_attend(t.l, ob, qb, &kv, &rows, A_HEADS, 0.25f);
    run(&t);
    buf_read(ob, 0, out, buf_size(ob));
    for (int h = 0; h < A_ROWS * A_HEADS; h++) {
        double want[A_DIM];
        plain_attention(want, q + h * A_DIM, k, v, asked[h / A_HEADS], h % A_HEADS / 3);
        for (int i = 0; i < A_DIM; i++)
            near(out[h * A_DIM + i], want[i], type == KV_F32 ? 1e-6 : 1e-3);
    }
    buf_free(qb);
    buf_free(ob);
    buf_free(kv.buf);
    bench_close(&t);
}

static void attention_is_a_softmax_over_all_pages(void **state)
{
    (void)state;
    static float first[A_ROWS * A_HEADS * A_DIM], out[A_ROWS * A_HEADS * A_DIM];
    for (int type = KV_F32; type < KV_TYPE_COUNT; type++) {
        check_attention(1, (enum kv_type)type, first);
        for (int i = 1; i < THREAD_COUNTS; i++) {
            check_attention(thread_counts[i], (enum kv_type)type, out);
            assert_memory_equal(out, first, sizeof out);
        }
        check_attention(16, (enum kv_type)type, out); // more threads than heads: groups are split
        assert_memory_equal(out, first, sizeof out);
    }
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
        cmocka_unit_test(attention_is_a_softmax_over_all_pages),
        cmocka_unit_test(what_a_machine_cannot_do_is_refused),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
