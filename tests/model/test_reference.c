// The oracle itself: the double-precision reference against golden logits of real models, that the
// tiny models of every architecture use what they have, and that models which must be equal are.
#include "support.h"

#include "kernels/blocks.h"
#include "reference.h"
#include "tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int golden_rows[] = {0, 1, 2, 4, 8, 16, 32, 64, 99};
enum { GOLDEN_ROWS = 9, GOLDEN_TOKENS = 100, GOLDEN_VOCAB = 512 };

static void check_golden(const char *list, const char *model, const char *golden)
{
    json_error_t why;
    json_t *root = json_load_file(list, 0, &why);
    assert_non_null(root);
    json_t *sequence = json_object_get(root, "ids_vocab512");
    int32_t ids[GOLDEN_TOKENS];
    assert_int_equal(json_array_size(sequence), GOLDEN_TOKENS);
    for (size_t i = 0; i < GOLDEN_TOKENS; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(sequence, i));
    size_t size;
    float *rows = (float *)test_read(golden, &size);
    assert_int_equal(size, GOLDEN_ROWS * GOLDEN_VOCAB * sizeof(float));
    int n_vocab;
    double *logits = reference_logits(model, ids, GOLDEN_TOKENS, &n_vocab);
    assert_int_equal(n_vocab, GOLDEN_VOCAB);
    for (int i = 0; i < GOLDEN_ROWS; i++) {
        double diff = reference_max_diff(logits + golden_rows[i] * n_vocab, rows + i * n_vocab,
                                         (size_t)n_vocab);
        assert_true(diff < 1e-4);
    }
    free(logits);
    free(rows);
    json_decref(root);
}

static void reference_equals_golden_logits(void **state)
{
    (void)state;
    TESTDATA(list, "golden/golden_models.json");
    TESTDATA(model, "models/stories260K.gguf");
    TESTDATA(golden, "golden/stories260K.logits.f32");
    check_golden(list, model, golden);
}

static void reference_equals_golden_logits_of_a_mixture(void **state)
{
    (void)state;
    TESTDATA(list, "golden/golden_models.json");
    TESTDATA(model, "models/story256-moe-Q4_K_M.gguf");
    TESTDATA(golden, "golden/story256-moe-Q4_K_M.logits.f32");
    check_golden(list, model, golden);
}

static void reference_equals_golden_logits_of_qwen2(void **state)
{
    (void)state;
    TESTDATA(list, "golden/golden_models.json");
    TESTDATA(model, "models/story256-qwen2-Q4_K_M.gguf");
    TESTDATA(golden, "golden/story256-qwen2-Q4_K_M.logits.f32");
    check_golden(list, model, golden);
}

// ---- tiny models

// Logits of TINY_IDS tokens (and of `n_context` positions, 0: the file's).
static double *logits_in(const struct tiny_model *t, int n_context, struct reference_facts *facts)
{
    int32_t ids[TINY_IDS];
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, t);
    tiny_ids(ids, TINY_IDS);
    return reference_logits_in(path, ids, TINY_IDS, n_context, facts);
}

// Whether they are alive, and how clearly experts are chosen.
static double check_alive(const struct tiny_model *t)
{
    struct reference_facts facts;
    double *logits = logits_in(t, 0, &facts), low = INFINITY, high = -INFINITY;
    for (int i = 0; i < TINY_IDS * facts.n_vocab; i++) {
        assert_true(isfinite(logits[i]));
        low = fmin(low, logits[i]);
        high = fmax(high, logits[i]);
    }
    assert_true(high - low > 4 && high - low < 400); // alive, and not exploded
    free(logits);
    return facts.routing_gap;
}

static void tiny_models_are_alive(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_tiny_archs; i++) {
        struct tiny_model narrow = tiny_archs[i].model;
        narrow.type = WT_Q8_0; // all rows are whole blocks of 32
        assert_true(check_alive(&tiny_archs[i].model) > 0.01);
        check_alive(&narrow);
    }
    check_alive(&(struct tiny_model){.arch = "qwen2", .tied = true, .seed = 3});
    check_alive(
        &(struct tiny_model){.rope_factors = true, .n_heads = 6, .n_kv_heads = 3, .n_embd = 96});
    check_alive(&(struct tiny_model){.type = WT_Q8_0, .n_ff = 128});
    check_alive(&(struct tiny_model){.type = WT_Q4_K, .n_embd = 256, .n_ff = 256, .n_layers = 2});
}

// The largest difference between the logits of two models, in units of the logits' deviation.
static double difference(const struct tiny_model *a, const struct tiny_model *b)
{
    struct reference_facts facts;
    double *x = logits_in(a, 0, &facts), *y = logits_in(b, 0, &facts), worst = 0, square = 0;
    int n = TINY_IDS * facts.n_vocab;
    for (int i = 0; i < n; i++) {
        worst = fmax(worst, fabs(x[i] - y[i]));
        square += x[i] * x[i];
    }
    free(x);
    free(y);
    return worst / sqrt(square / n);
}

// A change to a variant that its logits must show: a model that ignored the feature would pass for
// right otherwise.
static void each_feature_shows_in_the_logits(void **state)
{
    (void)state;
#define WITH(name, field, value)                            \
    do {                                                    \
        struct tiny_model changed = *tiny_arch(name);       \
        changed.field = value;                              \
        double d = difference(tiny_arch(name), &changed);   \
        if (!(d > 0.02))                                    \
            fail_msg("%s without %s: %g", name, #field, d); \
    } while (0)
    WITH("llama3", rope_factors, false);
    WITH("llama-linear", rope, TINY_ROPE_PLAIN);
    WITH("llama-yarn", rope, TINY_ROPE_LINEAR);
    WITH("mistral", window, TINY_NO);
    WITH("mistral3", temperature, TINY_NO);
    WITH("mistral3", log_multiplier, TINY_NO);
    WITH("mixtral", n_used, 3);
    WITH("qwen2", leave_out, ".bias");
    WITH("qwen3", leave_out, "attn_q_norm.weight");
    WITH("qwen3", leave_out, "attn_k_norm.weight");
    WITH("qwen2moe", leave_out, "ffn_gate_inp_shexp.weight");
    WITH("qwen2moe", n_ff_shared, TINY_NO);
    WITH("gemma2", attn_softcap, TINY_NO);
    WITH("gemma2", final_softcap, TINY_NO);
    WITH("gemma2", window, TINY_NO);
    WITH("gemma2", leave_out, "post_attention_norm.weight");
    WITH("gemma2", leave_out, "post_ffw_norm.weight");
    WITH("gemma3", window, TINY_NO);
    WITH("gemma3", freq_base, 10000);
    WITH("gemma3", leave_out, "attn_k_norm.weight");
    WITH("gemma3-linear", rope, TINY_ROPE_PLAIN);
    WITH("phi3", window, TINY_NO);
    WITH("phi3-longrope", attn_factor, TINY_NO);
    WITH("phi3-longrope", n_rot, 32);
    WITH("phi3-longrope", context, 512);
    WITH("granite", residual_scale, TINY_NO);
    WITH("granite", attn_scale, TINY_NO);
    WITH("granite", logit_scale, TINY_NO);
    WITH("gpt-oss", leave_out, "attn_sinks.weight");
    WITH("gpt-oss", leave_out, "attn_output.bias");
    WITH("gpt-oss", leave_out, "ffn_gate_inp.bias");
    WITH("gpt-oss", leave_out, "ffn_gate_exps.bias");
    WITH("gpt-oss", leave_out, "ffn_up_exps.bias");
    WITH("gpt-oss", leave_out, "ffn_down_exps.bias");
    WITH("gpt-oss", window, TINY_NO);
    WITH("gpt-oss", rope, TINY_ROPE_PLAIN);
    WITH("deepseek2-lite", rope, TINY_ROPE_PLAIN);
    WITH("deepseek2-lite", log_multiplier, TINY_NO);
    WITH("deepseek2-lite", n_shared, TINY_NO);
    WITH("deepseek2-lite", expert_norm, 1);
    WITH("deepseek2-v2", n_groups, TINY_NO);
    WITH("deepseek2-v2", expert_scale, 1);
    WITH("deepseek2-v3", n_groups, TINY_NO);
    WITH("deepseek2-v3", gating, 1);
    WITH("deepseek2-v3", leave_out, "exp_probs_b.bias");
    WITH("deepseek2-v3", expert_norm, TINY_NO);
#undef WITH
}

// ---- models that must be equal

#define TINY(...) (&(struct tiny_model){__VA_ARGS__})
#define EQUAL(a, b)                               \
    do {                                          \
        double d = difference(a, b);              \
        if (!(d < 1e-5))                          \
            fail_msg("%s and %s: %g", #a, #b, d); \
    } while (0)

static void a_mixture_of_equal_experts_is_one_feed_forward(void **state)
{
    (void)state;
    EQUAL(TINY(.n_experts = 8, .n_used = 2, .equal_experts = true), TINY(0));
    EQUAL(TINY(.arch = "granitemoe", .n_ff = 64, .equal_experts = true),
          TINY(.arch = "granite", .n_ff = 64));
    EQUAL(TINY(.arch = "qwen3moe", .n_ff_expert = 96, .equal_experts = true),
          TINY(.arch = "qwen3"));
    EQUAL(TINY(.arch = "deepseek2", .n_ff = 64, .gating = 2, .n_shared = TINY_NO, .expert_norm = 1,
               .equal_experts = true),
          TINY(.arch = "deepseek2", .n_ff = 64, .n_experts = TINY_NO, .n_shared = TINY_NO));
}

static void a_mixture_of_all_experts_needs_no_groups(void **state)
{
    (void)state;
    struct tiny_model all = *tiny_arch("deepseek2-v3"), none = all;
    all.n_groups_used = all.n_groups;
    none.n_groups = TINY_NO;
    EQUAL(&all, &none);
    all.n_used = none.n_used = 8;
    all.gating = none.gating = 1;
    none.arch = all.arch;
    EQUAL(&all, &none);
}

static void both_forms_of_latent_attention_are_one(void **state)
{
    (void)state;
    EQUAL(tiny_arch("deepseek2-old"), tiny_arch("deepseek2-lite"));
    EQUAL(tiny_arch("deepseek2-v3-old"), tiny_arch("deepseek2-v3"));
}

static void architectures_without_what_they_add_are_one(void **state)
{
    (void)state;
    const float scale = 0.1767766952966369f; // 1 / sqrt(32)
    EQUAL(TINY(.arch = "granite", .embed_scale = TINY_NO, .residual_scale = TINY_NO,
               .attn_scale = scale, .logit_scale = TINY_NO),
          TINY(.n_layers = 3, .head_dim = 32));
    EQUAL(TINY(.arch = "mistral3", .temperature = TINY_NO, .rope = TINY_ROPE_PLAIN),
          TINY(.n_layers = 3, .head_dim = 32, .freq_base = 100));
    EQUAL(TINY(.arch = "phi3", .window = TINY_NO, .n_layers = 4),
          TINY(.arch = "qwen2", .leave_out = ".bias", .head_dim = 32));
    EQUAL(TINY(.arch = "phi3", .window = 1000), TINY(.arch = "phi3", .window = TINY_NO));
    EQUAL(TINY(.arch = "granite", .embed_scale = TINY_NO), TINY(.arch = "granite"));
}

static void features_at_their_neutral_value_do_nothing(void **state)
{
    (void)state;
    EQUAL(TINY(.arch = "gemma2", .attn_softcap = 1e6f, .final_softcap = 1e6f, .window = 1000),
          TINY(.arch = "gemma2", .attn_softcap = TINY_NO, .final_softcap = TINY_NO,
               .window = TINY_NO));
    EQUAL(TINY(.arch = "gpt-oss", .sinks = -1e30f),
          TINY(.arch = "gpt-oss", .leave_out = "attn_sinks.weight"));
    EQUAL(TINY(.arch = "llama", .head_dim = 32, .rope = TINY_ROPE_YARN, .rope_factor = 1),
          TINY(.arch = "llama", .head_dim = 32));
    // Layers with a window do not hear of the base and factor of the others.
    EQUAL(TINY(.arch = "gemma3", .n_layers = 5, .freq_base = 777, .rope = TINY_ROPE_LINEAR),
          TINY(.arch = "gemma3", .n_layers = 5));
}

// Logits of the same model before and after the last step differ by that step only.
static void the_last_step_divides_or_caps_the_logits(void **state)
{
    (void)state;
    struct reference_facts facts;
    double *plain = logits_in(TINY(.arch = "granite", .logit_scale = TINY_NO), 0, &facts);
    double *scaled = logits_in(TINY(.arch = "granite", .logit_scale = 2.5f), 0, &facts);
    for (int i = 0; i < TINY_IDS * facts.n_vocab; i++)
        assert_true(fabs(plain[i] - 2.5 * scaled[i]) < 1e-9);
    free(plain);
    free(scaled);
    plain = logits_in(TINY(.arch = "gemma2", .final_softcap = TINY_NO), 0, &facts);
    scaled = logits_in(TINY(.arch = "gemma2", .final_softcap = 6), 0, &facts);
    for (int i = 0; i < TINY_IDS * facts.n_vocab; i++)
        assert_true(fabs(6 * tanh(plain[i] / 6) - scaled[i]) < 1e-9);
    free(plain);
    free(scaled);
}

static void longrope_takes_short_factors_within_the_original_context(void **state)
{
    (void)state;
    struct reference_facts facts;
    struct tiny_model small = *tiny_arch("phi3-longrope"), large = small;
    small.context = 512;
    double *within = logits_in(&large, 512, &facts), *file = logits_in(&small, 0, &facts);
    double *beyond = logits_in(&small, 513, &facts), *whole = logits_in(&large, 0, &facts);
    size_t size = (size_t)TINY_IDS * (size_t)facts.n_vocab * sizeof *whole;
    assert_memory_equal(within, file, size);
    assert_memory_equal(beyond, whole, size);
    assert_true(memcmp(within, whole, size));
    free(within);
    free(file);
    free(beyond);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_equals_golden_logits),
        cmocka_unit_test(reference_equals_golden_logits_of_a_mixture),
        cmocka_unit_test(reference_equals_golden_logits_of_qwen2),
        cmocka_unit_test(tiny_models_are_alive),
        cmocka_unit_test(each_feature_shows_in_the_logits),
        cmocka_unit_test(a_mixture_of_equal_experts_is_one_feed_forward),
        cmocka_unit_test(a_mixture_of_all_experts_needs_no_groups),
        cmocka_unit_test(both_forms_of_latent_attention_are_one),
        cmocka_unit_test(architectures_without_what_they_add_are_one),
        cmocka_unit_test(features_at_their_neutral_value_do_nothing),
        cmocka_unit_test(the_last_step_divides_or_caps_the_logits),
        cmocka_unit_test(longrope_takes_short_factors_within_the_original_context),
    };
    return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}
