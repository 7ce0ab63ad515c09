// The oracle itself: the double-precision reference against golden logits of a real model, and on
// the random models that the other tests make.
#include "support.h"

#include "gguf/gguf.h"
#include "kernels/blocks.h"
#include "reference.h"
#include "tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int golden_rows[] = {0, 1, 2, 4, 8, 16, 32, 64, 99};
enum { GOLDEN_ROWS = 9, GOLDEN_TOKENS = 100, GOLDEN_VOCAB = 512 };

static void reference_equals_golden_logits(void **state)
{
    (void)state;
    TESTDATA(list, "golden/golden_models.json");
    TESTDATA(model, "models/stories260K.gguf");
    TESTDATA(golden, "golden/stories260K.logits.f32");
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

static void check_tiny(const struct tiny_model *t)
{
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, t);
    int32_t ids[20];
    int n_vocab;
    for (int i = 0; i < 20; i++)
        ids[i] = 3 + 13 * i;
    double *logits = reference_logits(path, ids, 20, &n_vocab), low = INFINITY, high = -INFINITY;
    for (int i = 0; i < 20 * n_vocab; i++) {
        assert_true(isfinite(logits[i]));
        low = fmin(low, logits[i]);
        high = fmax(high, logits[i]);
    }
    assert_true(high - low > 4 && high - low < 400); // alive, and not exploded
    free(logits);
}

static void tiny_models_are_alive(void **state)
{
    (void)state;
    check_tiny(&(struct tiny_model){0});
    check_tiny(&(struct tiny_model){.arch = "qwen2", .tied = true, .seed = 3});
    check_tiny(
        &(struct tiny_model){.rope_factors = true, .n_heads = 6, .n_kv_heads = 3, .n_embd = 96});
    check_tiny(&(struct tiny_model){.type = WT_Q8_0, .n_ff = 128});
    check_tiny(&(struct tiny_model){.type = WT_Q4_K, .n_embd = 256, .n_ff = 256, .n_layers = 2});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_equals_golden_logits),
        cmocka_unit_test(tiny_models_are_alive),
    };
    return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}
