// Feed-forwards of experts as layers record them: the same as plain loops, alone and in batches;
// and the pieces that are asked for: those of the experts in use, and no others.
#include "support.h"

#include "base/guard.h"
#include "expert_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- a whole feed-forward ----------------------------------------------------------------------

enum { F_EMBD = 64, F_FF = 96, F_EXPERTS = 12, F_USED = 3, F_ROWS = 29 };

// A router, gate, up and down of all experts, biases, and an expert for all rows with a gate.
struct mixture {
    struct expert_rig t;
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
    struct expert_rig *t = &m->t;
    expert_rig_open(t, n_threads);
    m->w_router = expert_rig_experts(t, WT_F32, F_EMBD, F_EXPERTS, 1, 0, m->router);
    m->w_gates = expert_rig_experts(t, WT_F32, F_EMBD, 1, 1, 0, m->gates);
    float *bias = expert_rig_numbers(t, F_EXPERTS * F_EMBD);
    memcpy(m->bias, bias, sizeof m->bias);
    m->w_bias = expert_rig_vector(t, bias, F_EMBD, F_EXPERTS);
    free(bias);
    m->w_gate = expert_rig_experts(t, type, F_EMBD, F_FF, F_EXPERTS, 0xf0f, m->gate);
    m->w_up = expert_rig_experts(t, WT_F16, F_EMBD, F_FF, F_EXPERTS, 0, m->up);
    m->w_down = expert_rig_experts(t, type, F_FF, F_EMBD, F_EXPERTS, 0xaaa, m->down);
    float *x = expert_rig_numbers(t, F_ROWS * F_EMBD);
    m->x = expert_rig_buf(t, x, F_ROWS * F_EMBD * sizeof *x);
    free(x);
    m->logits = expert_rig_buf(t, NULL, F_ROWS * F_EXPERTS * sizeof(float));
    m->g = expert_rig_buf(t, NULL, F_ROWS * F_USED * F_FF * sizeof(float));
    m->u = expert_rig_buf(t, NULL, F_ROWS * F_USED * F_FF * sizeof(float));
    m->rows = expert_rig_buf(t, NULL, F_ROWS * F_USED * F_EMBD * sizeof(float));
    m->out = expert_rig_buf(t, NULL, F_ROWS * F_EMBD * sizeof(float));
    m->s = expert_rig_buf(t, NULL, F_ROWS * sizeof(float));
    m->r = expert_rig_routing(t, F_ROWS, F_EXPERTS, F_USED);
}

static void mixture_close(struct mixture *m)
{
    struct buf *all[] = {m->x, m->logits, m->g, m->u, m->rows, m->out, m->s};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    expert_rig_routing_free(&m->r);
    expert_rig_close(&m->t);
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
    struct plain_choice c = {mixture_how, F_EXPERTS, F_USED, false};
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
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
    mixture_open(m, 2, false);
    buf_read(m->x, 0, x, sizeof x);
    list_reset(m->t.l);
    record_mixture(m, F_ROWS);
    expert_rig_run(&m->t);
    buf_read(m->x, 0, out, sizeof out);
    for (int row = 0; row < F_ROWS; row++) {
        double want[F_EMBD];
        plain_mixture(m, want, x + row * F_EMBD);
        for (int k = 0; k < F_EMBD; k++)
            expert_rig_near(out[row * F_EMBD + k], want[k], 1e-4);
    }
    mixture_close(m);
    free(m);
}

static void a_row_has_the_same_bits_alone_and_with_any_threads(void **state)
{
    (void)state;
    static float x[F_ROWS * F_EMBD], out[F_ROWS * F_EMBD], first[F_ROWS * F_EMBD];
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
    for (int i = 0; i < RIG_THREADS; i++) {
        mixture_open(m, expert_rig_threads[i], true);
        buf_read(m->x, 0, x, sizeof x);
        list_reset(m->t.l);
        record_mixture(m, F_ROWS);
        expert_rig_run(&m->t);
        buf_read(m->x, 0, out, sizeof out);
        if (i)
            assert_memory_equal(out, first, sizeof out);
        memcpy(first, out, sizeof out);
        for (int row = 0; row < F_ROWS; row++) {
            buf_write(m->x, 0, x + row * F_EMBD, F_EMBD * sizeof *x);
            list_reset(m->t.l);
            record_mixture(m, 1);
            expert_rig_run(&m->t);
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
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
    for (int i = 0; i < RIG_THREADS; i++)
        for (int n = 1; n <= F_ROWS; n += 7)
            for (int single = 0; single < 2; single++) {
                mixture_open(m, expert_rig_threads[i], true);
                list_reset(m->t.l);
                for (int layer = 0; layer < LAYERS; layer++) {
                    record_mixture(m, n);
                    if (single) {
                        expert_rig_run(&m->t);
                        list_reset(m->t.l);
                    }
                }
                expert_rig_run(&m->t);
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
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
    for (int n = 1; n <= 2; n++) {
        int32_t ids[2 * F_USED];
        bool used[F_EXPERTS] = {0};
        mixture_open(m, 3, true);
        list_reset(m->t.l);
        record_mixture(m, n);
        expert_rig_run(&m->t);
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
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
    for (int i = 0; i < RIG_THREADS; i++) {
        int failed = 0;
        mixture_open(m, expert_rig_threads[i], true);
        buf_read(m->x, 0, x, sizeof x);
        list_reset(m->t.l);
        record_mixture(m, 4);
        expert_rig_run(&m->t);
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
    struct mixture *m = expert_rig_zeros(1, sizeof *m);
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
        cmocka_unit_test(a_mixture_is_that_of_plain_loops),
        cmocka_unit_test(a_row_has_the_same_bits_alone_and_with_any_threads),
        cmocka_unit_test(layers_of_one_list_do_not_disturb_each_other),
        cmocka_unit_test(only_experts_in_use_are_asked_for_and_each_once),
        cmocka_unit_test(a_piece_that_cannot_be_had_ends_the_run),
        cmocka_unit_test(nothing_is_allocated_while_recording_and_running),
    };
    return cmocka_run_group_tests_name("mixture", tests, NULL, NULL);
}
