// Logits of real models against a float64 reference, at every instruction set of this machine.
//
// Files and tolerances: README.md of the test data. Each golden file holds the rows at a few
// positions of a fixed sequence of 100 tokens.
#include "support.h"

#include "kernels/kv_chunk.h"
#include "reference.h"
#include "rig.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const int positions[] = {0, 1, 2, 4, 8, 16, 32, 64, 99};
enum { POSITIONS = sizeof positions / sizeof *positions, SEQUENCE = 100 };

static void read_ids(int32_t ids[SEQUENCE], const char *which)
{
    const char *path = test_data("golden/golden_models.json");
    assert_non_null(path);
    json_error_t error;
    json_t *all = json_load_file(path, 0, &error);
    assert_non_null(all);
    json_t *list = json_object_get(all, which);
    assert_int_equal(json_array_size(list), SEQUENCE);
    for (int i = 0; i < SEQUENCE; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    json_decref(all);
}

struct compared {
    double max_diff, kl;
};

static struct compared compare(const char *name, enum isa isa, enum kv_type kv)
{
    char model[96], golden[96];
    int32_t ids[SEQUENCE];
    int n_vocab;
    snprintf(model, sizeof model, "models/%s.gguf", name);
    snprintf(golden, sizeof golden, "golden/%s.logits.f32", name);
    read_ids(ids, strstr(name, "babyllama") ? "ids_vocab105" : "ids_vocab512");
    struct rig_options o = {.isa = isa, .kv_type = kv, .n_threads = 2};
    float *logits = rig_logits(test_data(model), ids, SEQUENCE, &o, &n_vocab);

    size_t size, width = (size_t)n_vocab;
    float *want = (float *)test_read(test_data(golden), &size);
    assert_int_equal(size, POSITIONS * width * sizeof *want);
    double *exact = malloc(POSITIONS * width * sizeof *exact);
    float *rows = malloc(POSITIONS * width * sizeof *rows);
    assert_true(exact && rows);
    for (size_t i = 0; i < POSITIONS * width; i++)
        exact[i] = (double)want[i];
    for (size_t i = 0; i < POSITIONS; i++)
        memcpy(rows + i * width, logits + (size_t)positions[i] * width, width * sizeof *rows);
    struct compared c = {reference_max_diff(exact, rows, POSITIONS * width),
                         reference_mean_kl(exact, rows, POSITIONS, n_vocab)};
    free(exact);
    free(rows);
    free(want);
    free(logits);
    printf("# %-26s %-6s kv %s: max difference %.2e, mean KL %.2e\n", name, isa_name(isa),
           kv_type_name(kv), c.max_diff, c.kl);
    return c;
}

static void check_float(const char *name)
{
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        assert_true(compare(name, isa, KV_F32).max_diff < 1e-3);
    assert_true(compare(name, isa_detect(), KV_F16).max_diff < 0.1);
    assert_true(compare(name, isa_detect(), KV_Q8_0).kl < 2e-3);
}

static void check_quantized(const char *name)
{
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa))
        assert_true(compare(name, isa, KV_F32).kl < 2e-3); // a NaN fails too
    assert_true(compare(name, isa_detect(), KV_F16).kl < 2e-3);
    assert_true(compare(name, isa_detect(), KV_Q8_0).kl < 2e-3);
}

static void float_weights_meet_the_reference(void **state)
{
    (void)state;
    TESTDATA(path, "models/stories260K.gguf");
    check_float("stories260K");
    check_float("babyllama-tok105-F32");
    check_float("story256-F16");
}

static void quantized_weights_meet_the_reference(void **state)
{
    (void)state;
    TESTDATA(path, "models/story256-Q8_0.gguf");
    static const char *const names[] = {
        "babyllama-tok105-Q4_0", "babyllama-tok105-Q5_0", "babyllama-tok105-Q8_0",
        "story256-Q4_0",         "story256-Q4_K_M",       "story256-Q5_K_M",
        "story256-Q6_K",         "story256-Q8_0",         "story256-qwen2-Q4_K_M",
        "babyllama-tok105-Q4_1", "story256-Q2_K",         "story256-Q3_K_M",
        "story256-IQ4_NL",       "story256-IQ4_XS",       "story256-IQ3_S",
        "story256-moe-Q4_K_M",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_quantized(names[i]);
}

static void unsupported_models_are_refused_with_a_sentence(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/ggml-vocab-gpt-2.gguf");
    static const struct {
        const char *model, *says;
    } cases[] = {
        {"vocab/ggml-vocab-llama-spm.gguf", "missing"},
        {"vocab/ggml-vocab-gpt-2.gguf", "architecture gpt2 is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct gguf *g = NULL;
        struct model *m = NULL;
        assert_ok(gguf_open(&g, test_data(cases[i].model), &e), &e);
        assert_int_equal(model_open(&m, g, &e), ERR_FAILED);
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].model, e.text, cases[i].says);
        gguf_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_weights_meet_the_reference),
        cmocka_unit_test(quantized_weights_meet_the_reference),
        cmocka_unit_test(unsupported_models_are_refused_with_a_sentence),
    };
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
