// A router's choice of experts against plain loops, ties and numbers that are none included.
#include "support.h"

#include "expert_rig.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTED = 37 }; // rows

// Routes n rows; ids and weights (n, n_used).
static void route(struct expert_rig *t, const struct plain_choice *c, const float *logits,
                  const float *bias, int n, int32_t *ids, float *weights)
{
    struct route_how how = c->how;
    struct weight w = expert_rig_vector(t, bias, c->n_experts, 1);
    struct routing r = expert_rig_routing(t, n, c->n_experts, c->n_used);
    struct buf *in = expert_rig_buf(t, logits, (size_t)(n * c->n_experts) * sizeof *logits);
    how.bias = c->bias ? &w : NULL;
    list_reset(t->l);
    list_wait(t->l, w.piece, 1);
    op_route(t->l, &r, in, &how, n);
    expert_rig_run(t);
    buf_read(r.ids, 0, ids, (size_t)(n * c->n_used) * sizeof *ids);
    buf_read(r.weights, 0, weights, (size_t)(n * c->n_used) * sizeof *weights);
    buf_free(in);
    expert_rig_routing_free(&r);
}

static void check_choice(const struct plain_choice *c)
{
    static int32_t ids[ROUTED * RIG_USED], alone[RIG_USED];
    static float weights[ROUTED * RIG_USED], weights_alone[RIG_USED];
    for (int i = 0; i < RIG_THREADS; i++) {
        struct expert_rig t;
        expert_rig_open(&t, expert_rig_threads[i]);
        float *logits = expert_rig_numbers(&t, (size_t)(ROUTED * c->n_experts));
        float *bias = expert_rig_numbers(&t, (size_t)c->n_experts);
        for (int k = 0; k < ROUTED * c->n_experts; k++)
            logits[k] *= 4;
        for (int k = 0; k < 5 * c->n_experts; k++) // ties; with a bias there are none
            logits[k] = roundf(logits[k]);
        route(&t, c, logits, bias, ROUTED, ids, weights);
        for (int row = 0; row < ROUTED; row++) {
            int want[RIG_USED] = {0};
            double part[RIG_USED] = {0};
            plain_route(c, logits + row * c->n_experts, bias, want, part);
            for (int j = 0; j < c->n_used; j++) {
                assert_int_equal(ids[row * c->n_used + j], want[j]);
                expert_rig_near(weights[row * c->n_used + j], part[j], 2e-6 * (1 + fabs(part[j])));
            }
            route(&t, c, logits + row * c->n_experts, bias, 1, alone, weights_alone);
            size_t size = (size_t)c->n_used * sizeof *alone;
            assert_memory_equal(alone, ids + row * c->n_used, size);
            assert_memory_equal(weights_alone, weights + row * c->n_used, size);
        }
        free(logits);
        free(bias);
        expert_rig_close(&t);
    }
}

static void choices_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const struct plain_choice choices[] = {
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
                struct plain_choice c = {{(enum route_score)score, true, 1, groups, 2, NULL},
                                         EXPERTS,
                                         USED,
                                         groups > 1 && i % 2};
                float logits[EXPERTS], weights[USED];
                int32_t ids[USED];
                struct expert_rig t;
                expert_rig_open(&t, 2);
                for (int e = 0; e < EXPERTS; e++)
                    logits[e] = e % 4 == 1 ? odd[i][1] : odd[i][0];
                route(&t, &c, logits, bias, 1, ids, weights);
                for (int j = 0; j < USED; j++) {
                    assert_in_range(ids[j], 0, EXPERTS - 1);
                    for (int k = 0; k < j; k++)
                        assert_int_not_equal(ids[j], ids[k]);
                }
                expert_rig_close(&t);
            }
}

static void numbers_are_preferred_to_what_is_none(void **state)
{
    (void)state;
    static const struct plain_choice c = {{ROUTE_SIGMOID, true, 1, 0, 0, NULL}, 6, 4, false};
    static const float logits[6] = {NAN, -3, NAN, 2, NAN, -50}, bias[6];
    int32_t ids[4];
    float weights[4];
    struct expert_rig t;
    expert_rig_open(&t, 1);
    route(&t, &c, logits, bias, 1, ids, weights);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 1);
    assert_int_equal(ids[2], 5);
    assert_int_equal(ids[3], 0);
    expert_rig_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_those_of_plain_loops),
        cmocka_unit_test(logits_that_are_no_numbers_choose_different_experts),
        cmocka_unit_test(numbers_are_preferred_to_what_is_none),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
