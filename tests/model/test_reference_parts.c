// The parts of the reference against numbers worked out by hand or from closed forms, and the
// constants that it takes from each architecture's name.
#include "support.h"

#include "reference_net.h"
#include "tiny_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9 * fmax(1, fabs(b));
}

#define assert_near(a, b) assert_true(near(a, b))

// ---- RoPE

static void pairs_turn_by_powers_of_the_base(void **state)
{
    (void)state;
    const struct scaling_rules none = {0}, linear = {.kind = SCALING_LINEAR, .factor = 4};
    const float divisors[] = {1, 2, 4, 8};
    struct rotation r;
    reference_rotation_init(&r, 8, false, 10000, &none, NULL);
    assert_near(r.freq[0], 1);
    assert_near(r.freq[1], 0.1);
    assert_near(r.freq[3], 0.001);
    reference_rotation_init(&r, 8, false, 10000, &linear, NULL);
    assert_near(r.freq[0], 0.25);
    assert_near(r.freq[3], 0.00025);
    reference_rotation_init(&r, 8, false, 10000, &none, divisors);
    assert_near(r.freq[0], 1);
    assert_near(r.freq[3], 0.001 / 8);
}

// A pair keeps its speed while it turns 32 times or more in the original context, is slowed by the
// factor when it turns once or less, and is mixed in between, in proportion to its number.
static void yarn_slows_the_pairs_that_turn_least(void **state)
{
    (void)state;
    struct scaling_rules s = {.kind = SCALING_YARN, .factor = 8, .beta_fast = 32, .beta_slow = 1};
    struct rotation r, whole;
    s.original_context = 32 * 2 * acos(-1) * 10; // pair 2 of base 10000 over 16 dims: 0.1 turns 32
    reference_rotation_init(&r, 16, true, 10000, &s, NULL);
    double last = 2 + log(32) / log(10000) * 8; // the pair that turns just once
    for (int i = 0; i < 8; i++) {
        double turns = pow(10000, -i / 8.0);
        double ramp = fmin(fmax((i - 2) / (last - 2), 0), 1);
        assert_near(r.freq[i], turns * (1 - ramp) + turns / 8 * ramp);
    }
    assert_near(r.freq[2], 0.1);
    assert_near(r.freq[6], 0.001 / 8);
    // With ends at whole pairs the ramp is from 2 to 6, and pair 4 has half of each.
    s.whole = true;
    s.original_context *= 1 + 1e-9;
    reference_rotation_init(&whole, 16, true, 10000, &s, NULL);
    assert_near(last, 5.010299956639813);
    assert_near(whole.freq[4], 0.01 * (0.5 + 0.5 / 8));
    assert_near(whole.freq[2], 0.1);
    assert_near(whole.freq[6], 0.001 / 8);
}

static void a_rotation_turns_pairs_or_halves(void **state)
{
    (void)state;
    struct rotation r = {.n_rot = 4, .freq = {acos(-1) / 2, 0}, .scale = 1};
    double pairs[] = {1, 2, 3, 4, 5}, halves[] = {1, 2, 3, 4, 5};
    reference_rotate(&r, pairs, 1); // the first pair a quarter, the second not, the rest never
    assert_near(pairs[0], -2);
    assert_near(pairs[1], 1);
    assert_near(pairs[2], 3);
    assert_near(pairs[3], 4);
    assert_near(pairs[4], 5);
    r.halves = true;
    r.scale = 3;
    reference_rotate(&r, halves, 1);
    assert_near(halves[0], -9);
    assert_near(halves[1], 6);
    assert_near(halves[2], 3);
    assert_near(halves[3], 12);
    assert_near(halves[4], 5);
}

// ---- attention

// Two rows whose scores against q = 1 are log(1) and log(3), and values 4 and 8.
static double attend(const struct attention *a, int pos, int window, double sink)
{
    const double q = 1, k[] = {0, log(3)}, v[] = {4, 8};
    double out;
    reference_attend(a, &out, &q, k, 1, v, 1, pos, window, sink);
    return out;
}

static void attention_weighs_values_by_scores(void **state)
{
    (void)state;
    struct attention a = {.key_dim = 1, .value_dim = 1, .scale = 1};
    assert_near(attend(&a, 0, 0, -INFINITY), 4);
    assert_near(attend(&a, 1, 0, -INFINITY), (4 + 3 * 8) / 4.0);
    assert_near(attend(&a, 1, 2, -INFINITY), 7);           // the window reaches back to row 0
    assert_near(attend(&a, 1, 1, -INFINITY), 8);           // a row sees itself only
    assert_near(attend(&a, 1, 0, log(4)), (4 + 24) / 8.0); // a sink takes half
    a.scale = 2;
    assert_near(attend(&a, 1, 0, -INFINITY), (4 + 9 * 8) / 10.0);
    a.softcap = 1e9;
    assert_true(fabs(attend(&a, 1, 0, -INFINITY) - 7.6) < 1e-6);
    a.softcap = 0.5; // after the scale
    double p = exp(0.5 * tanh(2 * log(3) / 0.5));
    assert_near(attend(&a, 1, 0, -INFINITY), (4 + p * 8) / (1 + p));
}

// Heads of two dims, unit matrices: a query head is normed alone, then turned, then heated.
static void query_and_key_heads_are_normed_each(void **state)
{
    (void)state;
    float unit[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, twice[] = {1, 2};
    struct rotation still = {.n_rot = 2, .scale = 1};
    struct net t = {.attention = {.key_dim = 2, .value_dim = 2, .n_heads = 2, .n_kv_heads = 2},
                    .scaling = {.original_context = 16}};
    struct layer l = {.q = {4, 4, 1, unit},
                      .k = {4, 4, 1, unit},
                      .v = {4, 4, 1, unit},
                      .q_norm = {2, 1, 1, twice},
                      .rotation = &still};
    const double x[] = {3, 4, 6, 8}, root = sqrt(12.5);
    double q[4], k[4], v[4];
    reference_qkv(&t, &l, x, 0, q, k, v);
    for (int i = 0; i < 4; i++) {
        assert_near(q[i], (i % 2 ? 8 : 3) / root); // both heads alike: a norm forgets their lengths
        assert_near(k[i], x[i]);
        assert_near(v[i], x[i]);
    }
    t.temperature = 0.5; // grows with the logarithm of whole original contexts
    reference_qkv(&t, &l, x, 15, q, k, v);
    assert_near(q[0], 3 / root);
    reference_qkv(&t, &l, x, 47, q, k, v);
    assert_near(q[0], 3 / root * (1 + 0.5 * log(3)));
    assert_near(k[0], 3);
}

// ---- feed-forward

static void gated_units_have_known_values(void **state)
{
    (void)state;
    assert_near(reference_glu(ACTIVATION_SILU, 1, 2), 2 / (1 + exp(-1)));
    assert_true(fabs(reference_glu(ACTIVATION_GELU, 1, 1) - 0.8411919906) < 1e-9);
    assert_true(fabs(reference_glu(ACTIVATION_GELU, -2, 1) + 0.0454023059) < 1e-9);
    assert_near(reference_glu(ACTIVATION_CLAMPED, 2, 0), 2 / (1 + exp(-3.404)));
    assert_near(reference_glu(ACTIVATION_CLAMPED, 100, 100), 7 / (1 + exp(-11.914)) * 8);
    assert_near(reference_glu(ACTIVATION_CLAMPED, 1, -100), -6 / (1 + exp(-1.702)));
    assert_near(reference_glu(ACTIVATION_CLAMPED, -100, 1) * 1e60,
                -200 / (1 + exp(170.2)) * 1e60); // the gate has no lower bound
}

static const double logits[] = {0, 1.0986122886681098, 0.6931471805599453, -3}; // 1, 3, 2, ~0.05

static void experts_are_chosen_and_weighed(void **state)
{
    (void)state;
    struct choice c = {.n = 4, .n_used = 2, .n_groups = 1, .scale = 1, .gap = INFINITY};
    const double all = 6 + exp(-3);
    int ids[4];
    double w[4];
    c.scoring = SCORE_SOFTMAX;
    reference_choose(&c, logits, NULL, ids, w);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 2);
    assert_near(w[0], 3 / all);
    assert_near(w[1], 2 / all);
    assert_near(c.gap, logits[2] - logits[0]);
    c.normalize = true;
    c.scale = 10;
    reference_choose(&c, logits, NULL, ids, w);
    assert_near(w[0], 6);
    assert_near(w[1], 4);
    c.normalize = false;
    c.scoring = SCORE_SOFTMAX_CHOSEN;
    reference_choose(&c, logits, NULL, ids, w);
    assert_near(w[0], 6);
    assert_near(w[1], 4);
    c.scoring = SCORE_SIGMOID;
    c.scale = 1;
    reference_choose(&c, logits, NULL, ids, w);
    assert_near(w[0], 0.75);
    assert_near(w[1], 2 / 3.0);
    c.normalize = true;
    const float bias[] = {0, 0, 0, 0.8f}; // raises the last above all, and weighs nothing
    reference_choose(&c, logits, bias, ids, w);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 1);
    double last = 1 / (1 + exp(3));
    assert_near(w[0], last / (last + 0.75));
    assert_near(w[1], 0.75 / (last + 0.75));
}

// Groups {0, 1}, {2, 3}, {4, 5}: by their best expert the last two are kept, by their two best the
// first two.
static void groups_are_kept_by_their_best_or_by_their_two_best(void **state)
{
    (void)state;
    const double six[] = {0.6, 0.5, 0.7, 0.1, 0.8, -5};
    const float none[6] = {0};
    struct choice c = {.n = 6, .n_used = 3, .n_groups = 3, .n_groups_used = 2, .scale = 1};
    int ids[6];
    double w[6];
    reference_choose(&c, six, NULL, ids, w);
    assert_int_equal(ids[0], 4);
    assert_int_equal(ids[1], 2);
    assert_int_equal(ids[2], 3);
    reference_choose(&c, six, none, ids, w);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 0);
    assert_int_equal(ids[2], 1);
}

// ---- what an architecture's name says

static void open_tiny(struct net *net, const struct tiny_model *t)
{
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, t);
    reference_open(net, path, 0);
}

static void windows_follow_the_pattern_of_the_architecture(void **state)
{
    (void)state;
    const struct {
        const char *arch, *windows; // a letter for each layer: w or -
    } cases[] = {
        {"gemma2", "w-w-"}, {"gemma3", "wwwww-w"}, {"gpt-oss", "w-w-"},
        {"phi3", "www"},    {"qwen3", "---"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net t;
        open_tiny(&t, &(struct tiny_model){.arch = cases[i].arch, .window = 5});
        assert_int_equal(t.n_layers, strlen(cases[i].windows));
        for (int l = 0; l < t.n_layers; l++)
            assert_int_equal(t.layers[l].window, cases[i].windows[l] == 'w' ? 5 : 0);
        reference_close(&t);
    }
}

static void scales_follow_the_architecture(void **state)
{
    (void)state;
    struct net t;
    open_tiny(&t, tiny_arch("gemma2"));
    assert_near(t.embed_scale, 8); // sqrt(64)
    assert_near(t.attention.scale, 1 / sqrt(32));
    reference_close(&t);
    open_tiny(&t, tiny_arch("gemma2-27b"));
    assert_near(t.attention.scale, 1 / sqrt(48)); // 96 / 2
    reference_close(&t);
    open_tiny(&t, tiny_arch("gemma3-27b"));
    assert_near(t.attention.scale, 1 / sqrt(16)); // 64 / 4
    assert_near(t.layers[0].rotation->freq[1], pow(10000, -1 / 16.0));
    assert_near(t.layers[5].rotation->freq[1], pow(500000, -1 / 16.0) / 4);
    reference_close(&t);
    open_tiny(&t, tiny_arch("gpt-oss"));
    assert_near(t.global.scale, 1 + 0.1 * log(8));
    assert_near(t.attention.scale, 1 / sqrt(32));
    reference_close(&t);
    open_tiny(&t, tiny_arch("mistral3")); // both mscales are 1: they cancel
    assert_near(t.global.scale, 1);
    assert_near(t.attention.scale, 1 / sqrt(32));
    reference_close(&t);
    open_tiny(&t, tiny_arch("deepseek2-v3")); // files have 0.1 * mscale_all_dim
    assert_near(t.global.scale, 1);
    assert_near(t.attention.scale, pow(1 + (double)0.1f * log(8), 2) / sqrt(48));
    reference_close(&t);
    open_tiny(&t, &(struct tiny_model){.arch = "deepseek2", .log_multiplier = TINY_NO});
    assert_near(t.global.scale, 1 + 0.1 * log(8));
    assert_near(t.attention.scale, 1 / sqrt(48));
    reference_close(&t);
    open_tiny(&t, tiny_arch("phi3-longrope"));
    assert_near(t.global.scale, (double)1.19f);
    assert_int_equal(t.global.n_rot, 24);
    reference_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_turn_by_powers_of_the_base),
        cmocka_unit_test(yarn_slows_the_pairs_that_turn_least),
        cmocka_unit_test(a_rotation_turns_pairs_or_halves),
        cmocka_unit_test(attention_weighs_values_by_scores),
        cmocka_unit_test(query_and_key_heads_are_normed_each),
        cmocka_unit_test(gated_units_have_known_values),
        cmocka_unit_test(experts_are_chosen_and_weighed),
        cmocka_unit_test(groups_are_kept_by_their_best_or_by_their_two_best),
        cmocka_unit_test(windows_follow_the_pattern_of_the_architecture),
        cmocka_unit_test(scales_follow_the_architecture),
    };
    return cmocka_run_group_tests_name("reference parts", tests, NULL, NULL);
}
