// engine/sampler: greedy choice, what each limit leaves, frequencies against probabilities, edges.
#include "support.h"

#include "base/guard.h"
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const struct sampler_options plain = {
    .temp = 1, .top_p = 1, .repeat_penalty = 1, .repeat_last = 64, .seed = 1};

static struct sampler *make(int n_vocab, struct sampler_options o)
{
    struct err e = {0};
    struct sampler *s;
    assert_ok(sampler_new(&s, n_vocab, &o, &e), &e);
    return s;
}

static int32_t draw(struct sampler *s, const float *logits, int n)
{
    float copy[512];
    struct err e = {0};
    memcpy(copy, logits, (size_t)n * sizeof *copy);
    int32_t id = sampler_draw(s, copy, &e);
    if (id < 0)
        fail_msg("%s", e.text);
    return id;
}

// How often each of n tokens is drawn in `draws` draws.
static void count(struct sampler *s, const float *logits, int n, int draws, int *counts)
{
    memset(counts, 0, (size_t)n * sizeof *counts);
    for (int i = 0; i < draws; i++)
        counts[draw(s, logits, n)]++;
}

static void greedy_takes_the_best_and_the_first_of_equals(void **state)
{
    (void)state;
    struct sampler_options o = plain;
    o.temp = 0;
    struct sampler *s = make(5, o);
    assert_int_equal(draw(s, (float[]){1, 3, 2, 3, -1}, 5), 1);
    assert_int_equal(draw(s, (float[]){-5, -INFINITY, -4, -9, -4}, 5), 2);
    sampler_free(s);
}

static void frequencies_follow_the_probabilities(void **state)
{
    (void)state;
    enum { DRAWS = 40000 };
    const float logits[4] = {logf(0.1f), logf(0.2f), logf(0.3f), logf(0.4f)};
    int counts[4];
    // Temperature 2 takes the square root of every probability.
    const double p1[4] = {0.1, 0.2, 0.3, 0.4}, root = sqrt(0.1) + sqrt(0.2) + sqrt(0.3) + sqrt(0.4);
    for (int temp = 1; temp <= 2; temp++) {
        struct sampler_options o = plain;
        o.temp = (float)temp;
        struct sampler *s = make(4, o);
        count(s, logits, 4, DRAWS, counts);
        for (int i = 0; i < 4; i++) {
            double p = temp == 1 ? p1[i] : sqrt(p1[i]) / root;
            double sigma = sqrt(p * (1 - p) * DRAWS);
            assert_true(fabs(counts[i] - p * DRAWS) < 5 * sigma);
        }
        sampler_free(s);
    }
}

static void limits_leave_exactly_what_they_say(void **state)
{
    (void)state;
    // probabilities 0.4, 0.3, 0.2, 0.1 in a shuffled order
    const float logits[4] = {logf(0.2f), logf(0.4f), logf(0.1f), logf(0.3f)};
    const struct {
        int top_k;
        float top_p, min_p;
        bool left[4];
    } cases[] = {
        {1, 1, 0, {0, 1, 0, 0}},     {2, 1, 0, {0, 1, 0, 1}},    {3, 1, 0, {1, 1, 0, 1}},
        {4, 1, 0, {1, 1, 1, 1}},     {9, 1, 0, {1, 1, 1, 1}},    {0, 0, 0, {0, 1, 0, 0}},
        {0, 0.39f, 0, {0, 1, 0, 0}}, {0, 0.5f, 0, {0, 1, 0, 1}}, {0, 0.75f, 0, {1, 1, 0, 1}},
        {0, 1, 0.3f, {1, 1, 0, 1}},  {0, 1, 1, {0, 1, 0, 0}},    {0, 1, 0.7f, {0, 1, 0, 1}},
        {2, 0.56f, 0, {0, 1, 0, 0}}, // of the two kept the first has 4/7 = 0.571
        {2, 0.58f, 0, {0, 1, 0, 1}}, {3, 1, 0.6f, {0, 1, 0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sampler_options o = plain;
        o.top_k = cases[i].top_k;
        o.top_p = cases[i].top_p;
        o.min_p = cases[i].min_p;
        struct sampler *s = make(4, o);
        int counts[4];
        count(s, logits, 4, 500, counts);
        for (int t = 0; t < 4; t++)
            if ((counts[t] > 0) != cases[i].left[t])
                fail_msg("case %zu: token %d drawn %d times", i, t, counts[t]);
        sampler_free(s);
    }
}

static void one_seed_gives_one_sequence(void **state)
{
    (void)state;
    float logits[100];
    for (int i = 0; i < 100; i++)
        logits[i] = sinf((float)i);
    struct sampler_options o = plain;
    int32_t first[50];
    int same = 0;
    for (int run = 0; run < 3; run++) {
        o.seed = run == 2 ? 8 : 7;
        o.top_k = 60;
        struct sampler *s = make(100, o);
        for (int i = 0; i < 50; i++) {
            int32_t id = draw(s, logits, 100);
            if (run == 0)
                first[i] = id;
            else if (run == 1)
                assert_int_equal(id, first[i]);
            else
                same += id == first[i];
        }
        sampler_free(s);
    }
    assert_true(same < 25);
}

static void the_penalty_counts_each_recent_token_once(void **state)
{
    (void)state;
    struct sampler_options o = plain;
    o.temp = 0;
    o.repeat_penalty = 2;
    o.repeat_last = 2;
    struct sampler *s = make(4, o);
    const float logits[4] = {4, 3, 1.5f, -1};
    assert_int_equal(draw(s, logits, 4), 0);
    sampler_accept(s, 0);
    assert_int_equal(draw(s, logits, 4), 1); // 4 / 2 < 3
    sampler_accept(s, 0);
    float copy[4];
    memcpy(copy, logits, sizeof copy);
    assert_int_equal(sampler_draw(s, copy, NULL), 1);
    assert_true(copy[0] == 2); // halved once, though it is there twice
    sampler_accept(s, 3);
    sampler_accept(s, 1); // 0 is forgotten
    memcpy(copy, logits, sizeof copy);
    assert_int_equal(sampler_draw(s, copy, NULL), 0);
    assert_true(copy[1] == 1.5f && copy[3] == -2); // a negative one grows
    sampler_accept(s, -1);                         // outside the vocabulary: of no effect
    assert_int_equal(draw(s, logits, 4), 0);
    sampler_free(s);
}

static void what_is_not_a_number_is_an_error(void **state)
{
    (void)state;
    for (int temp = 0; temp < 2; temp++) {
        struct sampler_options o = plain;
        o.temp = (float)temp;
        struct sampler *s = make(3, o);
        float bad[3][3] = {{1, NAN, 2}, {1, 2, INFINITY}, {-INFINITY, -INFINITY, -INFINITY}};
        for (int i = 0; i < 3; i++) {
            struct err e = {0};
            assert_int_equal(sampler_draw(s, bad[i], &e), ERR_FAILED);
            assert_non_null(strstr(e.text, "model"));
        }
        int counts[3];
        count(s, (float[]){-INFINITY, 0, -INFINITY}, 3, 20, counts);
        assert_int_equal(counts[1], 20);
        sampler_free(s);
    }
}

static void extreme_temperatures_stay_finite(void **state)
{
    (void)state;
    struct sampler_options o = plain;
    o.temp = 1e-30f;
    struct sampler *s = make(3, o);
    int counts[3];
    count(s, (float[]){1e30f, -1e30f, 0}, 3, 50, counts);
    assert_int_equal(counts[0], 50);
    sampler_free(s);
    o.temp = 100;
    s = make(3, o);
    count(s, (float[]){1, 2, 3}, 3, 300, counts);
    assert_true(counts[0] > 50 && counts[1] > 50 && counts[2] > 50);
    sampler_free(s);
}

static void drawing_allocates_nothing(void **state)
{
    (void)state;
    struct sampler_options o = plain;
    o.top_k = 10;
    o.repeat_penalty = 1.1f;
    struct sampler *s = make(300, o);
    float logits[300] = {0};
    long before = guard_violations();
    guard_enter();
    for (int i = 0; i < 10; i++) {
        sampler_accept(s, i);
        draw(s, logits, 300);
    }
    guard_leave();
    assert_int_equal(guard_violations(), before);
    sampler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_best_and_the_first_of_equals),
        cmocka_unit_test(frequencies_follow_the_probabilities),
        cmocka_unit_test(limits_leave_exactly_what_they_say),
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(the_penalty_counts_each_recent_token_once),
        cmocka_unit_test(what_is_not_a_number_is_an_error),
        cmocka_unit_test(extreme_temperatures_stay_finite),
        cmocka_unit_test(drawing_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
