// app/score: perplexity against golden figures, and against a double-precision forward pass over a
// tiny model that the test makes.
#include "support.h"

#include "reference.h"
#include "tiny_model.h"

#include "app/options.h"
#include "app/score.h"
#include "app/verbs.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool all_of_it(void *arg, const struct score *s, size_t done)
{
    (void)arg;
    assert_true(done <= s->n_tokens);
    return true;
}

static void open_model(struct loaded *l, const char *path, int ctx)
{
    struct options o;
    struct err e = {0};
    struct loaded_wants wants = {.max_sessions = 1, .max_context = ctx, .every_logits = true};
    char kv[] = "--kv=f32", batch[] = "--batch=50", m[] = "m", f[] = "f";
    char *argv[] = {kv, batch, m, f};
    assert_ok(options_parse(&o, &verb_perplexity, 4, argv, &e), &e);
    assert_ok(loaded_open(l, path, &o, &wants, &e), &e);
    options_free(&o);
}

static struct score score(struct loaded *l, const char *text, size_t length, enum scoring scoring,
                          int ctx)
{
    struct score s;
    struct ids tokens = {0};
    struct err e = {0};
    assert_ok(vocab_encode(l->vocab, text, length, scoring == SCORING_HALF ? ENCODE_SPECIAL : 0,
                           &tokens, &e),
              &e);
    assert_ok(score_tokens(&s, l, &tokens, scoring, ctx, all_of_it, NULL, &e), &e);
    ids_free(&tokens);
    return s;
}

static void golden_perplexities_within_a_thousandth(void **state)
{
    (void)state;
    TESTDATA(model, "models/stories260K.gguf");
    TESTDATA(golden, "golden/golden_ppl.json");
    TESTDATA(text_path, "text/tinyshakespeare_12k.txt");
    json_t *root = json_load_file(golden, 0, NULL), *all = json_object_get(root, "stories260K");
    assert_non_null(all);
    size_t length;
    char *text = (char *)test_read(text_path, &length);
    static const int ctxs[] = {512, 128};
    for (int i = 0; i < 2; i++) {
        char key[64];
        struct loaded l;
        snprintf(key, sizeof key, "tinyshakespeare_12k.txt ctx%d", ctxs[i]);
        json_t *want = json_object_get(all, key);
        assert_non_null(want);
        open_model(&l, model, ctxs[i]);
        struct score s = score(&l, text, length, SCORING_EVERY, ctxs[i]);
        double ppl = json_real_value(json_object_get(want, "ppl"));
        assert_int_equal(s.n_scored, json_integer_value(json_object_get(want, "tokens")));
        assert_true(fabs(score_perplexity(&s) / ppl - 1) < 1e-3);
        assert_true(fabs(score_perplexity(&s) / ppl - 1) < 1e-5); // what F32 weights give
        loaded_close(&l);
    }
    free(text);
    json_decref(root);
}

static void stories_one_by_one_as_golden(void **state)
{
    (void)state;
    TESTDATA(model, "models/stories260K.gguf");
    TESTDATA(golden, "golden/golden_ppl.json");
    TESTDATA(text_path, "text/tinystories_sample_4k.txt");
    json_t *root = json_load_file(golden, 0, NULL);
    json_t *list = json_object_get(json_object_get(root, "stories260K"),
                                   "tinystories_sample_4k.txt per story");
    assert_true(json_array_size(list) > 0);
    size_t length;
    char *text = (char *)test_read(text_path, &length), *at = text;
    struct loaded l;
    open_model(&l, model, 512);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *end = strstr(at, "<|endoftext|>");
        size_t n = end ? (size_t)(end - at) : strlen(at);
        while (n && strchr("\n ", *at))
            at++, n--;
        size_t trimmed = n;
        while (trimmed && strchr("\n ", at[trimmed - 1]))
            trimmed--;
        struct score s = score(&l, at, trimmed, SCORING_EVERY, 512);
        json_t *want = json_array_get(list, i);
        assert_int_equal(s.n_scored, json_integer_value(json_object_get(want, "tokens")));
        double ppl = json_real_value(json_object_get(want, "ppl"));
        assert_true(fabs(score_perplexity(&s) / ppl - 1) < 1e-3);
        at = end ? end + strlen("<|endoftext|>") : at + n;
    }
    loaded_close(&l);
    free(text);
    json_decref(root);
}

// -log p of ids[at + 1] by the reference's row.
static double surprise(const double *row, int n_vocab, int32_t id)
{
    double max = row[0], sum = 0;
    for (int i = 1; i < n_vocab; i++)
        max = fmax(max, row[i]);
    for (int i = 0; i < n_vocab; i++)
        sum += exp(row[i] - max);
    return log(sum) - (row[id] - max);
}

static void both_ways_of_scoring_are_as_described(void **state)
{
    (void)state;
    enum { CTX = 20 };
    struct tiny_model t = {.seed = 11, .n_layers = 2};
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, &t);
    struct loaded l;
    struct ids tokens = {0};
    struct err e = {0};
    open_model(&l, path, CTX);
    for (int i = 0; i < 65; i++)
        ids_push(&tokens, 3 + i * 7 % 200);
    for (int scoring = 0; scoring < 2; scoring++) {
        int front = scoring == SCORING_EVERY, step = CTX - front, windows = 0, n_scored = 0;
        double sum = 0;
        for (int at = 0; at < 65; at += step) {
            int32_t window[CTX];
            int n = 65 - at < step ? 65 - at : step, n_vocab;
            if (!front && n < step)
                break;
            memcpy(window + front, tokens.id + at, (size_t)n * sizeof *window);
            window[0] = vocab_bos(l.vocab);
            double *rows = reference_logits(path, window, n + front, &n_vocab);
            for (int j = front ? 0 : CTX / 2; j + 1 < n + front; j++, n_scored++)
                sum += surprise(rows + (size_t)j * (size_t)n_vocab, n_vocab, window[j + 1]);
            free(rows);
            windows++;
        }
        struct score s;
        assert_ok(score_tokens(&s, &l, &tokens, (enum scoring)scoring, CTX, all_of_it, NULL, &e),
                  &e);
        assert_int_equal(s.n_windows, windows);
        assert_int_equal(s.n_scored, n_scored);
        assert_int_equal(n_scored, front ? 65 : 3 * (CTX / 2 - 1));
        assert_true(fabs(score_nll(&s) - sum / n_scored) < 1e-4);
        assert_true(score_uncertainty(&s) > 0);
    }
    tokens.n = CTX - 1; // fills no window
    struct score s;
    assert_int_equal(score_tokens(&s, &l, &tokens, SCORING_HALF, CTX, all_of_it, NULL, &e),
                     ERR_FAILED);
    assert_non_null(strstr(e.text, "--ctx"));
    ids_free(&tokens);
    loaded_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_perplexities_within_a_thousandth),
        cmocka_unit_test(stories_one_by_one_as_golden),
        cmocka_unit_test(both_ways_of_scoring_are_as_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
