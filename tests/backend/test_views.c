// Operations that only move, scale or turn numbers: copies between views, factors, soft caps,
// gates, and rotation of parts of heads by more tables of angles than a list keeps. Against plain
// loops, on any number of threads.
#include "support.h"

#include "backend/backend.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 7, HEADS = 3, DIM = 24, WIDTH = HEADS * DIM, MAX_THREADS = 4, NUMBERS = N * WIDTH };

static struct rng rng;

struct stage {
    struct backend *b;
    struct list *l;
};

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    (void)ctx, (void)piece, (void)layout;
    err_set(e, ERR_FAILED, "there are no weights here");
    return NULL;
}

static void done(void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
}

static struct stage stage_open(int n_threads)
{
    struct err e = {0};
    struct stage s;
    struct backend_options o = {.n_threads = n_threads, .isa = ISA_COUNT};
    struct piece_source none = {.acquire = acquire, .done = done};
    struct list_limits limits = {.max_rows = N,
                                 .max_ops = 64,
                                 .max_pieces = 1,
                                 .max_width = WIDTH,
                                 .max_heads = HEADS,
                                 .max_head_dim = DIM,
                                 .max_context = 64};
    assert_ok(backend_open_cpu(&s.b, &o, &e), &e);
    assert_ok(list_new(&s.l, s.b, &limits, &none, &e), &e);
    return s;
}

static void stage_close(struct stage *s)
{
    list_free(s->l);
    backend_free(s->b);
}

static struct buf *filled(struct stage *s, const float *x, size_t n)
{
    struct err e = {0};
    struct buf *u;
    assert_ok(buf_new(&u, s->b, n * sizeof *x, "numbers", &e), &e);
    buf_write(u, 0, x, n * sizeof *x);
    return u;
}

static void run(struct stage *s)
{
    struct err e = {0};
    assert_ok(list_run(s->l, &e), &e);
}

static void random_numbers(float *x, size_t n, double range)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((rng_double(&rng) * 2 - 1) * range);
}

static void copies_take_parts_of_rows_and_leave_the_others(void **state)
{
    (void)state;
    float from[NUMBERS], to[NUMBERS], want[NUMBERS], got[NUMBERS];
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++)
        for (int repeat = 1; repeat <= HEADS; repeat += HEADS - 1) {
            struct stage s = stage_open(n_threads);
            random_numbers(from, NUMBERS, 1);
            random_numbers(to, NUMBERS, 1);
            memcpy(want, to, sizeof want);
            // 10 numbers from 5 on of each head, or of one head for all, go to 2 on.
            for (int i = 0; i < N * HEADS; i++)
                memcpy(want + i * DIM + 2, from + i / repeat * DIM + 5, 10 * sizeof *want);
            struct buf *a = filled(&s, from, NUMBERS), *b = filled(&s, to, NUMBERS);
            op_copy(s.l, (struct view){b, DIM, 2, 1}, (struct view){a, DIM, 5, repeat}, 10,
                    N * HEADS);
            run(&s);
            buf_read(b, 0, got, sizeof got);
            assert_memory_equal(got, want, sizeof got);
            buf_free(a);
            buf_free(b);
            stage_close(&s);
        }
}

// Copies between writers and readers of the same buffers: there and back, scaled on the way.
static void copies_wait_for_what_they_copy(void **state)
{
    (void)state;
    float x[NUMBERS], want[NUMBERS], got[NUMBERS];
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct stage s = stage_open(n_threads);
        random_numbers(x, NUMBERS, 1);
        struct buf *a = filled(&s, x, NUMBERS), *b = filled(&s, x, NUMBERS);
        for (int i = 0; i < NUMBERS; i++)
            want[i] = i % DIM < 8 ? x[i] * 3 * 5 : x[i] * 3;
        op_scale(s.l, a, 3, WIDTH, N);
        op_copy(s.l, (struct view){b, DIM, 8, 1}, (struct view){a, DIM, 0, 1}, 8, N * HEADS);
        op_scale(s.l, b, 5, WIDTH, N);
        op_copy(s.l, (struct view){a, DIM, 0, 1}, (struct view){b, DIM, 8, 1}, 8, N * HEADS);
        run(&s);
        buf_read(a, 0, got, sizeof got);
        assert_memory_equal(got, want, sizeof got);
        buf_free(a);
        buf_free(b);
        stage_close(&s);
    }
}

static void caps_gates_and_networks_are_those_of_double_precision(void **state)
{
    (void)state;
    float x[NUMBERS], y[NUMBERS], gate[N], capped[NUMBERS], gated[NUMBERS], glu[GLU_COUNT][NUMBERS];
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct stage s = stage_open(n_threads);
        random_numbers(x, NUMBERS, 9);
        random_numbers(y, NUMBERS, 9);
        random_numbers(gate, N, 4);
        struct buf *a = filled(&s, x, NUMBERS), *b = filled(&s, x, NUMBERS);
        struct buf *up = filled(&s, y, NUMBERS), *g = filled(&s, gate, N), *out[GLU_COUNT];
        for (int i = 0; i < GLU_COUNT; i++) {
            out[i] = filled(&s, x, NUMBERS);
            op_glu(s.l, out[i], out[i], up, (enum glu)i, WIDTH, N);
        }
        op_softcap(s.l, a, 5, WIDTH, N);
        op_gate_rows(s.l, b, g, WIDTH, N);
        run(&s);
        buf_read(a, 0, capped, sizeof capped);
        buf_read(b, 0, gated, sizeof gated);
        for (int i = 0; i < GLU_COUNT; i++) {
            buf_read(out[i], 0, glu[i], sizeof glu[i]);
            buf_free(out[i]);
        }
        for (int i = 0; i < NUMBERS; i++) {
            double v = (double)x[i], u = (double)y[i],
                   z = sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v);
            double low = fmin(v, 7), high = fmax(fmin(u, 7), -7);
            assert_true(fabs((double)capped[i] - 5 * tanh(v / 5)) < 1e-5);
            assert_true(fabs((double)gated[i] - v / (1 + exp(-(double)gate[i / WIDTH]))) < 1e-5);
            assert_true(fabs((double)glu[GLU_SILU][i] - v / (1 + exp(-v)) * u) < 1e-4);
            assert_true(fabs((double)glu[GLU_GELU][i] - 0.5 * v * (1 + tanh(z)) * u) < 1e-4);
            assert_true(fabs((double)glu[GLU_CLAMPED][i] -
                             low / (1 + exp(-1.702 * low)) * (high + 1)) < 1e-4);
        }
        buf_free(a);
        buf_free(b);
        buf_free(up);
        buf_free(g);
        stage_close(&s);
    }
}

// Dimensions [at, at + n_rot) of each head.
static void turn(double *x, int pos, const struct rope *r)
{
    for (int i = 0; i < r->n_rot / 2; i++) {
        int p = r->at + (r->layout == ROPE_PAIRS ? 2 * i : i);
        int q = r->at + (r->layout == ROPE_PAIRS ? 2 * i + 1 : i + r->n_rot / 2);
        double c = cos((double)pos * (double)r->freqs[i]) * (double)r->scale;
        double s = sin((double)pos * (double)r->freqs[i]) * (double)r->scale, a = x[p], b = x[q];
        x[p] = a * c - b * s;
        x[q] = b * c + a * s;
    }
}

// Three ropes in turns, of which a list keeps the angles of two, in two recordings.
static void parts_of_heads_turn_by_any_number_of_tables(void **state)
{
    (void)state;
    static const float first[] = {1, 0.5f, 0.25f, 0.1f}, second[] = {0.9f, 0.3f, 0.1f, 0.01f};
    static const struct rope ropes[] = {{first, 1, 8, 0, ROPE_PAIRS},
                                        {second, 1.25f, 8, 16, ROPE_HALVES},
                                        {first, 0.5f, 6, 5, ROPE_HALVES}};
    static const int order[] = {0, 1, 0, 2, 1, 0, 2};
    float x[NUMBERS], got[NUMBERS];
    double want[NUMBERS];
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct stage s = stage_open(n_threads);
        for (int recording = 0; recording < 2; recording++) {
            int32_t pos[N];
            random_numbers(x, NUMBERS, 1);
            for (int i = 0; i < NUMBERS; i++)
                want[i] = (double)x[i];
            for (int t = 0; t < N; t++)
                pos[t] = t * 11 + recording * 1000;
            struct rows rows = {.n = N, .pos = pos};
            struct buf *a = filled(&s, x, NUMBERS);
            list_reset(s.l);
            for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
                op_rope(s.l, a, &rows, &ropes[order[k]], HEADS, DIM);
                for (int h = 0; h < N * HEADS; h++)
                    turn(want + h * DIM, pos[h / HEADS], &ropes[order[k]]);
            }
            run(&s);
            buf_read(a, 0, got, sizeof got);
            for (int i = 0; i < NUMBERS; i++)
                assert_true(fabs((double)got[i] - want[i]) < 1e-5);
            buf_free(a);
        }
        stage_close(&s);
    }
}

int main(void)
{
    rng_init(&rng, 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_take_parts_of_rows_and_leave_the_others),
        cmocka_unit_test(copies_wait_for_what_they_copy),
        cmocka_unit_test(caps_gates_and_networks_are_those_of_double_precision),
        cmocka_unit_test(parts_of_heads_turn_by_any_number_of_tables),
    };
    return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
