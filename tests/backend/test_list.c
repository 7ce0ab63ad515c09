// Lists: operations in phases that keep what each needs, pieces resolved when a list runs, failures
// that end it.
#include "support.h"

#include "backend/backend.h"
#include "base/guard.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 9, WIDTH = 64, HEADS = 4, BUFS = 5, PIECES = 6 };

// Weights in memory that count what is asked of them and can be made to fail.
struct store {
    float matrix[2][WIDTH * WIDTH]; // two places, between which a piece can move
    int place;
    int acquired, returned, held[PIECES];
    int fails_at; // the n-th acquire fails; -1: none
};

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    struct store *s = ctx;
    if (s->acquired == s->fails_at) {
        err_set(e, ERR_UNREACHABLE, "piece %u is on a disk that is gone", (unsigned)piece);
        return NULL;
    }
    s->acquired++;
    s->held[piece]++;
    *layout = LAYOUT_ROWS;
    return (const uint8_t *)s->matrix[s->place];
}

static void done(void *ctx, uint32_t piece)
{
    struct store *s = ctx;
    s->returned++;
    s->held[piece]--;
}

struct fixture {
    struct store *store;
    struct backend *b;
    struct list *l;
    struct buf *bufs[BUFS];
    struct weight matrix, vector; // piece to be set
};

static void fixture_open(struct fixture *f, int n_threads, int max_ops)
{
    struct err e = {0};
    struct rng rng;
    rng_init(&rng, 5);
    *f = (struct fixture){.store = calloc(1, sizeof *f->store)};
    assert_non_null(f->store);
    f->store->fails_at = -1;
    for (int i = 0; i < WIDTH * WIDTH; i++) {
        f->store->matrix[0][i] = (float)(rng_double(&rng) - 0.5);
        f->store->matrix[1][i] = 2 * f->store->matrix[0][i];
    }
    struct backend_options o = {.n_threads = n_threads, .isa = ISA_COUNT};
    assert_ok(backend_open_cpu(&f->b, &o, &e), &e);
    struct list_limits limits = {.max_rows = ROWS,
                                 .max_ops = max_ops,
                                 .max_pieces = 4 * PIECES,
                                 .max_width = WIDTH,
                                 .max_heads = HEADS,
                                 .max_head_dim = WIDTH / HEADS};
    struct piece_source source = {.ctx = f->store, .acquire = acquire, .done = done};
    assert_ok(list_new(&f->l, f->b, &limits, &source, &e), &e);
    for (int i = 0; i < BUFS; i++) {
        float x[ROWS * WIDTH];
        for (int j = 0; j < ROWS * WIDTH; j++)
            x[j] = (float)(rng_double(&rng) - 0.5);
        assert_ok(buf_new(&f->bufs[i], f->b, sizeof x, "test", &e), &e);
        buf_write(f->bufs[i], 0, x, sizeof x);
    }
    f->matrix = (struct weight){
        .type = WT_F32, .row_bytes = WIDTH * sizeof(float), .n_in = WIDTH, .n_out = WIDTH};
    f->vector = f->matrix;
    f->vector.n_out = 1;
}

static void fixture_close(struct fixture *f)
{
    for (int i = 0; i < BUFS; i++)
        buf_free(f->bufs[i]);
    list_free(f->l);
    backend_free(f->b);
    free(f->store);
}

static const int32_t some_pos[ROWS] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
static const int32_t some_rows[ROWS] = {8, 0, 7, 1, 6, 2, 5, 3, 4};
static const float some_freqs[WIDTH / HEADS / 2] = {1, 0.3f, 0.1f, 0.03f, 0.01f, 0.003f};
static const struct rope some_rope = {some_freqs, 1, 12, 0, ROPE_PAIRS};

// A program of random operations over few buffers, with heads of different widths and numbers of
// rows, so that nearly every operation needs another's result. Run one by one they cannot disturb
// each other.
static void record_random(struct fixture *f, struct rng *rng, int n_ops, bool one_by_one)
{
    static struct rows rows = {.n = ROWS, .pos = some_pos};
    list_reset(f->l);
    list_wait(f->l, 0, 1);
    for (int i = 0; i < n_ops; i++) {
        struct err e = {0};
        if (one_by_one) {
            assert_ok(list_run(f->l, &e), &e);
            list_reset(f->l);
            list_wait(f->l, 0, 1);
        }
        struct buf *a = f->bufs[rng_below(rng, BUFS)], *b = f->bufs[rng_below(rng, BUFS)];
        struct buf *out = f->bufs[rng_below(rng, BUFS)];
        int n = rng_below(rng, 4) ? ROWS : 1 + (int)rng_below(rng, ROWS);
        switch (rng_below(rng, 7)) {
        case 0:
            if (out != a)
                op_matmul(f->l, out, a, &f->matrix, n);
            break;
        case 1:
            op_rms_norm(f->l, out, a, &f->vector, n, 1e-5f);
            break;
        case 2:
            op_add(f->l, a, a, b, rng_below(rng, 2) ? WIDTH : WIDTH / 2, n);
            break;
        case 3:
            op_glu(f->l, a, a, b, GLU_SILU, WIDTH, n);
            break;
        case 4:
            op_add_bias(f->l, a, &f->vector, n);
            break;
        case 5:
            if (out != a)
                op_gather(f->l, out, a, some_rows, WIDTH, ROWS);
            break;
        default:
            op_rope(f->l, a, &rows, &some_rope, HEADS, WIDTH / HEADS);
        }
    }
    for (int i = 0; i < BUFS; i++) // keeps the numbers small
        op_rms_norm(f->l, f->bufs[i], f->bufs[i], &f->vector, ROWS, 1e-5f);
    list_done(f->l, 0, 1);
}

static void random_programs_are_as_their_operations_one_by_one(void **state)
{
    (void)state;
    struct fixture one, many;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        fixture_open(&one, 1, 64);
        fixture_open(&many, n_threads, 64);
        for (int program = 0; program < 60; program++) {
            struct rng rng, same;
            struct err e = {0};
            rng_init(&rng, (uint64_t)(program + 1000 * n_threads));
            same = rng;
            record_random(&one, &rng, 40, true);
            record_random(&many, &same, 40, false);
            assert_ok(list_run(one.l, &e), &e);
            assert_ok(list_run(many.l, &e), &e);
            for (int i = 0; i < BUFS; i++)
                assert_memory_equal(buf_host(one.bufs[i]), buf_host(many.bufs[i]),
                                    ROWS * WIDTH * sizeof(float));
        }
        fixture_close(&one);
        fixture_close(&many);
    }
}

static void a_piece_is_looked_for_each_time_a_list_runs(void **state)
{
    (void)state;
    struct fixture f;
    struct err e = {0};
    float first[ROWS * WIDTH], second[ROWS * WIDTH];
    fixture_open(&f, 2, 64);
    list_wait(f.l, 0, 1);
    op_matmul(f.l, f.bufs[1], f.bufs[0], &f.matrix, ROWS);
    list_done(f.l, 0, 1);
    assert_ok(list_run(f.l, &e), &e);
    buf_read(f.bufs[1], 0, first, sizeof first);
    f.store->place = 1; // where everything is twice as large
    assert_ok(list_run(f.l, &e), &e);
    buf_read(f.bufs[1], 0, second, sizeof second);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_true(second[i] == 2 * first[i]);
    assert_int_equal(f.store->acquired, 2);
    assert_int_equal(f.store->returned, 2);
    fixture_close(&f);
}

// Layers with pieces of their own, as a shard records them.
static void record_layers(struct fixture *f)
{
    list_reset(f->l);
    for (uint32_t piece = 0; piece < PIECES; piece += 2) {
        struct weight norm = f->vector, matrix = f->matrix;
        norm.piece = piece;
        matrix.piece = piece + 1;
        list_wait(f->l, piece, 2);
        op_rms_norm(f->l, f->bufs[1], f->bufs[0], &norm, ROWS, 1e-5f);
        op_matmul(f->l, f->bufs[2], f->bufs[1], &matrix, ROWS);
        op_add(f->l, f->bufs[0], f->bufs[0], f->bufs[2], WIDTH, ROWS);
        list_done(f->l, piece, 2);
    }
}

static void a_piece_that_cannot_be_had_ends_the_list(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 4; n_threads++)
        for (int fails_at = 0; fails_at <= PIECES; fails_at++) {
            struct fixture f;
            struct err e = {0};
            fixture_open(&f, n_threads, 64);
            record_layers(&f);
            f.store->fails_at = fails_at;
            int rc = list_run(f.l, &e);
            assert_int_equal(rc, fails_at < PIECES ? ERR_UNREACHABLE : 0);
            assert_int_equal(e.code, rc);
            if (rc)
                assert_non_null(strstr(e.text, "a disk that is gone"));
            assert_int_equal(f.store->acquired, fails_at);
            assert_int_equal(f.store->returned, f.store->acquired);
            for (int i = 0; i < PIECES; i++)
                assert_int_equal(f.store->held[i], 0);
            f.store->fails_at = -1; // and the list can run again
            e.code = 0;
            assert_ok(list_run(f.l, &e), &e);
            fixture_close(&f);
        }
}

static void pieces_are_held_no_longer_than_recorded(void **state)
{
    (void)state;
    struct fixture f;
    struct err e = {0};
    fixture_open(&f, 2, 64);
    list_wait(f.l, 0, 1);
    op_add_bias(f.l, f.bufs[0], &f.vector, ROWS);
    assert_ok(list_run(f.l, &e), &e); // no list_done: given back at the end
    assert_int_equal(f.store->acquired, 1);
    assert_int_equal(f.store->returned, 1);
    fixture_close(&f);
}

static void recording_and_running_allocate_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct rng rng;
    struct err e = {0};
    fixture_open(&f, 3, 64);
    long before = guard_violations();
    guard_enter();
    for (int i = 0; i < 10; i++) {
        rng_init(&rng, (uint64_t)i);
        record_random(&f, &rng, 40, false);
        list_run(f.l, &e);
    }
    guard_leave();
    assert_int_equal(guard_violations(), before);
    assert_int_equal(e.code, 0);
    fixture_close(&f);
}

static void progress_is_counted_inside_a_list(void **state)
{
    (void)state;
    struct fixture f;
    struct err e = {0};
    _Atomic uint64_t counter = 0;
    enum { MATMULS = 12 };
    fixture_open(&f, 2, 64);
    backend_count_progress(f.b, &counter);
    list_wait(f.l, 0, 1);
    for (int i = 0; i < MATMULS; i++)
        op_matmul(f.l, f.bufs[(i + 1) % 2], f.bufs[i % 2], &f.matrix, ROWS);
    list_done(f.l, 0, 1);
    assert_ok(list_run(f.l, &e), &e);
    uint64_t once = counter;
    assert_true(once >= MATMULS + 2); // the wait and the end of the piece count too
    assert_ok(list_run(f.l, &e), &e);
    assert_true(counter >= once + MATMULS);
    backend_count_progress(f.b, NULL);
    once = counter;
    assert_ok(list_run(f.l, &e), &e);
    assert_int_equal(counter, once);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs_are_as_their_operations_one_by_one),
        cmocka_unit_test(a_piece_is_looked_for_each_time_a_list_runs),
        cmocka_unit_test(a_piece_that_cannot_be_had_ends_the_list),
        cmocka_unit_test(pieces_are_held_no_longer_than_recorded),
        cmocka_unit_test(recording_and_running_allocate_nothing),
        cmocka_unit_test(progress_is_counted_inside_a_list),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
