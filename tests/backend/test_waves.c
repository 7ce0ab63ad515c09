// Products with experts of which few can be held at a time: the same bits as with all of them, and
// never more held or announced than the source allows (expert_rig.c looks after that).
#include "support.h"

#include "backend/cpu/cpu.h"
#include "base/guard.h"
#include "expert_rig.h"

#include <stdlib.h>
#include <string.h>

enum { EMBD = 32, FF = 64, EXPERTS = 40, MOST = 64, MOST_USED = 8 };
enum { EVERYTHING = 3 * EXPERTS }; // may be held

static const int limits[] = {1, 2, 3, 5, 8, 16, 24, 50, EVERYTHING};
enum { LIMITS = sizeof limits / sizeof *limits };

// The matrices of a feed-forward of experts, and two choices among them.
struct waves {
    struct expert_rig t;
    int n, n_used;
    struct weight gate, up, down;
    struct buf *x, *g, *u, *out;
    struct routing r[2];
    int32_t ids[2][MOST * MOST_USED];
};

static void choose(struct waves *w, int which)
{
    for (int row = 0; row < w->n; row++) {
        bool chosen[EXPERTS] = {0};
        for (int j = 0; j < w->n_used; j++) {
            int32_t id;
            do
                id = (int32_t)rng_below(&w->t.rng, EXPERTS);
            while (chosen[id]);
            chosen[id] = true;
            w->ids[which][row * w->n_used + j] = id;
        }
    }
}

// The same numbers whatever the limit and the threads.
static void waves_open(struct waves *w, int n_threads, int at_once, int n, int n_used)
{
    static float exact[EXPERTS * EMBD * FF];
    struct expert_rig *t = &w->t;
    size_t uses = (size_t)(n * n_used);
    expert_rig_open_limited(t, n_threads, at_once);
    w->n = n;
    w->n_used = n_used;
    w->gate = expert_rig_experts(t, WT_Q8_0, EMBD, FF, EXPERTS, 0xf0f0f0f0f, exact);
    w->up = expert_rig_experts(t, WT_Q4_0, EMBD, FF, EXPERTS, 0x5a5a5, exact);
    w->down = expert_rig_experts(t, WT_Q8_0, FF, EMBD, EXPERTS, 0, exact);
    float *x = expert_rig_numbers(t, (size_t)n * EMBD);
    w->x = expert_rig_buf(t, x, (size_t)n * EMBD * sizeof *x);
    free(x);
    w->g = expert_rig_buf(t, NULL, uses * FF * sizeof(float));
    w->u = expert_rig_buf(t, NULL, uses * FF * sizeof(float));
    w->out = expert_rig_buf(t, NULL, uses * EMBD * sizeof(float));
    for (int i = 0; i < 2; i++) {
        choose(w, i);
        w->r[i] = (struct routing){.ids = expert_rig_buf(t, w->ids[i], uses * sizeof **w->ids),
                                   .n_experts = EXPERTS,
                                   .n_used = n_used};
    }
}

static void waves_close(struct waves *w)
{
    struct buf *all[] = {w->x, w->g, w->u, w->out, w->r[0].ids, w->r[1].ids};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    expert_rig_close(&w->t);
}

static void record_network(struct waves *w, const struct routing *r)
{
    struct list *l = w->t.l;
    op_expert_matmul(l, w->g, w->x, &w->gate, r, false, w->n);
    op_expert_matmul(l, w->u, w->x, &w->up, r, false, w->n);
    op_glu(l, w->g, w->g, w->u, GLU_SILU, w->n_used * FF, w->n);
    op_expert_matmul(l, w->out, w->g, &w->down, r, true, w->n);
}

// Experts that somebody chose.
static int in_use(const struct waves *w, int which, bool used[EXPERTS])
{
    int n = 0;
    memset(used, 0, EXPERTS * sizeof *used);
    for (int u = 0; u < w->n * w->n_used; u++) {
        n += !used[w->ids[which][u]];
        used[w->ids[which][u]] = true;
    }
    return n;
}

static size_t out_bytes(const struct waves *w)
{
    return (size_t)(w->n * w->n_used) * EMBD * sizeof(float);
}

static const struct {
    int n, n_used;
} shapes[] = {{1, 1}, {1, 8}, {2, 3}, {5, 2}, {9, 8}, {33, 1}, {MOST, 4}, {MOST, MOST_USED}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void waves_have_the_bits_of_all_experts_at_once(void **state)
{
    (void)state;
    static float want[MOST * MOST_USED * EMBD], got[MOST * MOST_USED * EMBD];
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int shape = 0; shape < SHAPES; shape++)
        for (int i = -1; i < LIMITS; i++) {
            int threads = i < 0 ? 1 : expert_rig_threads[(shape + i) % RIG_THREADS];
            waves_open(w, threads, i < 0 ? 0 : limits[i], shapes[shape].n, shapes[shape].n_used);
            record_network(w, &w->r[0]);
            expert_rig_run(&w->t);
            buf_read(w->out, 0, i < 0 ? want : got, out_bytes(w));
            if (i >= 0)
                assert_memory_equal(got, want, out_bytes(w));
            waves_close(w);
        }
    free(w);
}

static void each_expert_in_use_is_asked_for_once_and_no_other(void **state)
{
    (void)state;
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int shape = 0; shape < SHAPES; shape++)
        for (int i = 0; i < LIMITS; i++) {
            bool used[EXPERTS];
            waves_open(w, 2, limits[i], shapes[shape].n, shapes[shape].n_used);
            record_network(w, &w->r[0]);
            expert_rig_run(&w->t);
            in_use(w, 0, used);
            for (uint32_t e = 0; e < EXPERTS; e++) {
                assert_int_equal(w->t.times[w->gate.piece + e], used[e]);
                assert_int_equal(w->t.times[w->up.piece + e], used[e]);
                assert_int_equal(w->t.times[w->down.piece + e], used[e]);
            }
            assert_int_equal(w->t.n_wanted, 0);
            waves_close(w);
        }
    free(w);
}

// While a wave computes all that may be on its way is, over the ends of products.
static void what_comes_next_is_announced_as_far_as_there_is_room(void **state)
{
    (void)state;
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int shape = 0; shape < SHAPES; shape++)
        for (int i = 0; i < LIMITS; i++) {
            bool used[EXPERTS];
            waves_open(w, 2, limits[i], shapes[shape].n, shapes[shape].n_used);
            w->t.left = 3 * in_use(w, 0, used);
            record_network(w, &w->r[0]);
            expert_rig_run(&w->t);
            assert_int_equal(w->t.left, 0);
            assert_int_equal(w->t.n_behind, 0);
            int half = limits[i] < 2 ? 1 : limits[i] / 2, n_uses = w->n * w->n_used;
            if (half < n_uses && half < EXPERTS) // the other half is for what comes next
                assert_in_range(w->t.most_held, 1, half);
            waves_close(w);
        }
    free(w);
}

// Two choices that have nothing to do with each other would be multiplied with side by side.
static void choices_do_not_add_up_to_more_than_the_limit(void **state)
{
    (void)state;
    static float want[2][MOST * MOST_USED * FF], got[2][MOST * MOST_USED * FF];
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int i = -1; i < LIMITS; i++)
        for (int layers = 1; layers <= 2; layers++) {
            waves_open(w, 3, i < 0 ? 0 : limits[i], 3, 4);
            for (int k = 0; k < layers; k++) {
                op_expert_matmul(w->t.l, w->g, w->x, &w->gate, &w->r[0], false, w->n);
                op_expert_matmul(w->t.l, w->u, w->x, &w->up, &w->r[1], false, w->n);
            }
            expert_rig_run(&w->t);
            size_t bytes = (size_t)(w->n * w->n_used) * FF * sizeof **got;
            buf_read(w->g, 0, i < 0 ? want[0] : got[0], bytes);
            buf_read(w->u, 0, i < 0 ? want[1] : got[1], bytes);
            for (int k = 0; i >= 0 && k < 2; k++)
                assert_memory_equal(got[k], want[k], bytes);
            waves_close(w);
        }
    free(w);
}

static int n_phases(const struct list *l)
{
    int n = 0;
    for (int i = 0; i < l->n_ops; i += l->ops[i].phase_ops)
        n++;
    return n;
}

static void room_for_everything_costs_nothing_and_waves_what_was_said(void **state)
{
    (void)state;
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int shape = 0; shape < SHAPES; shape++) {
        int n_ops = 0, phases = 0, n = shapes[shape].n, n_used = shapes[shape].n_used;
        for (int i = -1; i < LIMITS; i++) {
            waves_open(w, 2, i < 0 ? 0 : limits[i], n, n_used);
            record_network(w, &w->r[0]);
            if (i < 0) {
                n_ops = w->t.l->n_ops;
                phases = n_phases(w->t.l);
            } else {
                int most = n * n_used < EXPERTS ? n * n_used : EXPERTS;
                int waves = 3 * list_waves(limits[i], most);
                assert_in_range(w->t.l->n_ops, n_ops, n_ops + 3 * waves);
            }
            if (i >= 0 && limits[i] == EVERYTHING) {
                assert_int_equal(w->t.l->n_ops, n_ops);
                assert_int_equal(n_phases(w->t.l), phases);
            }
            waves_close(w);
        }
    }
    free(w);
}

static void a_piece_that_cannot_be_had_ends_the_run_in_any_wave(void **state)
{
    (void)state;
    static float want[5 * 2 * EMBD], got[5 * 2 * EMBD];
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    for (int i = 0; i < LIMITS; i++) {
        bool used[EXPERTS];
        int failed = 0, rc;
        waves_open(w, 3, limits[i], 5, 2);
        record_network(w, &w->r[0]);
        expert_rig_run(&w->t);
        buf_read(w->out, 0, want, sizeof want);
        do {
            struct err e = {0};
            w->t.fails_at = failed;
            w->t.n_acquired = 0;
            rc = list_run(w->t.l, &e);
            for (int k = 0; k < w->t.n_pieces; k++)
                assert_int_equal(w->t.held[k], 0);
            assert_true(!rc || strstr(e.text, "on a disk that is gone"));
            failed += rc != 0;
        } while (rc);
        assert_int_equal(failed, 3 * in_use(w, 0, used));
        buf_read(w->out, 0, got, sizeof got);
        assert_memory_equal(got, want, sizeof got);
        waves_close(w);
    }
    free(w);
}

static void nothing_is_allocated_by_waves(void **state)
{
    (void)state;
    struct waves *w = expert_rig_zeros(1, sizeof *w);
    struct err e = {0};
    waves_open(w, 2, 3, 9, 8);
    long before = guard_violations();
    guard_enter();
    record_network(w, &w->r[0]);
    int rc = list_run(w->t.l, &e);
    guard_leave();
    assert_ok(rc, &e);
    assert_int_equal(guard_violations(), before);
    waves_close(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waves_have_the_bits_of_all_experts_at_once),
        cmocka_unit_test(each_expert_in_use_is_asked_for_once_and_no_other),
        cmocka_unit_test(what_comes_next_is_announced_as_far_as_there_is_room),
        cmocka_unit_test(choices_do_not_add_up_to_more_than_the_limit),
        cmocka_unit_test(room_for_everything_costs_nothing_and_waves_what_was_said),
        cmocka_unit_test(a_piece_that_cannot_be_had_ends_the_run_in_any_wave),
        cmocka_unit_test(nothing_is_allocated_by_waves),
    };
    return cmocka_run_group_tests_name("waves", tests, NULL, NULL);
}
