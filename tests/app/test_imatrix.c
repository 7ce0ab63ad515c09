// Importance matrices of every architecture: whatever is multiplied is seen, experts and heads
// included, with the sums that the inputs have. And every architecture, quantized, still runs.
#include "support.h"

#include "app/verbs.h"
#include "gguf/gguf.h"
#include "hub/importance.h"
#include "kernels/kernels.h"
#include "tiny_model.h"
#include "verb_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char text[] = "a rabbit and an umbrella, the rabbit and the kite, and so on and on.";

// Matrices that no input reaches: the embedding, where something else is the output, and what is no
// matrix of a product.
static bool is_looked_up(const struct gguf *g, const struct gguf_tensor *t)
{
    return (!strcmp(t->name.text, "token_embd.weight") && gguf_find_tensor(g, "output.weight")) ||
           strstr(t->name.text, "_exps.bias");
}

static void learn(const char *model, const char *out, const char *threads)
{
    struct err e = {0};
    int rc;
    char *argv[] = {(char *)model,  (char *)test_file("text"), "-o", (char *)out, "--ctx=24",
                    (char *)threads};
    unlink(out);
    free(verb_output(&verb_imatrix, 6, argv, &rc, &e));
    assert_ok(rc, &e);
}

static void every_product_of_every_architecture_is_seen(void **state)
{
    (void)state;
    char *model = strdup(test_file("arch.gguf")), *out = strdup(test_file("arch.im"));
    test_write(test_file("text"), text, sizeof text - 1);
    for (size_t i = 0; i < n_tiny_archs; i++) {
        struct err e = {0};
        struct gguf *g;
        struct imatrix *m;
        int seen = 0, experts = 0, reached = 0;
        tiny_model_write(model, &tiny_archs[i].model);
        learn(model, out, "--threads=2");
        assert_ok(gguf_open(&g, model, &e), &e);
        assert_ok(imatrix_open(&m, out, &e), &e);
        for (size_t k = 0; k < gguf_n_tensors(g); k++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, k);
            if (t->dims[1] < 2 || is_looked_up(g, t))
                continue;
            float *w = malloc(t->dims[0] * sizeof *w);
            int any = 0;
            for (uint32_t p = 0; p < t->n_pieces; p++)
                any += !imatrix_weights(m, t, p, w, &e);
            assert_int_equal(e.code, 0);
            if (!any)
                fail_msg("%s: nothing of %s", tiny_archs[i].name, t->name.text);
            experts += t->n_pieces > 1 ? (int)t->n_pieces : 0;
            reached += t->n_pieces > 1 ? any : 0;
            seen++;
            free(w);
        }
        printf("# %s: %d tensors, %d of %d stacked matrices\n", tiny_archs[i].name, seen, reached,
               experts);
        assert_true(seen > 5);
        imatrix_free(m);
        gguf_free(g);
    }
    free(model);
    free(out);
}

// An input is the same whatever it is multiplied with: q, k and v see one, and so do gate and up.
static void matrices_of_one_input_have_the_same_sums(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"blk.0.attn_q.weight", "blk.0.attn_k.weight"},
        {"blk.0.attn_q.weight", "blk.0.attn_v.weight"},
        {"blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight"},
    };
    struct err e = {0};
    struct gguf *g;
    struct imatrix *m;
    char *model = strdup(test_file("same.gguf")), *out = strdup(test_file("same.im"));
    test_write(test_file("text"), text, sizeof text - 1);
    struct tiny_model t = {.arch = "qwen3moe"};
    tiny_model_write(model, &t);
    learn(model, out, "--threads=3");
    assert_ok(gguf_open(&g, model, &e), &e);
    assert_ok(imatrix_open(&m, out, &e), &e);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const struct gguf_tensor *a = gguf_find_tensor(g, same[i][0]);
        const struct gguf_tensor *b = gguf_find_tensor(g, same[i][1]);
        assert_true(a && b && a->dims[0] == b->dims[0]);
        float *x = malloc(a->dims[0] * sizeof *x), *y = malloc(a->dims[0] * sizeof *y);
        for (uint32_t p = 0; p < a->n_pieces; p++) {
            int rc = imatrix_weights(m, a, p, x, &e);
            assert_int_equal(imatrix_weights(m, b, p, y, &e), rc);
            if (!rc)
                assert_memory_equal(x, y, a->dims[0] * sizeof *x);
        }
        free(x);
        free(y);
    }
    imatrix_free(m);
    gguf_free(g);
    free(model);
    free(out);
}

static double perplexity_of(const char *model)
{
    struct err e = {0};
    int rc;
    char *argv[] = {(char *)model, (char *)test_file("text"), "--ctx=24", "--scoring=every",
                    "--json"};
    char *out = verb_output(&verb_perplexity, 5, argv, &rc, &e), *at;
    assert_ok(rc, &e);
    at = strstr(out, "\"perplexity\":");
    assert_non_null(at);
    double p = strtod(at + strlen("\"perplexity\":"), NULL);
    free(out);
    return p;
}

// What is quantized loads and says nearly the same, whatever tensors its architecture has.
static void every_architecture_runs_quantized(void **state)
{
    (void)state;
    static const char *const types[] = {"Q8_0", "Q4_K_M", "F16"};
    char *model = strdup(test_file("run.gguf")), *out = strdup(test_file("run-q.gguf"));
    test_write(test_file("text"), text, sizeof text - 1);
    for (size_t i = 0; i < n_tiny_archs; i++) {
        tiny_model_write(model, &tiny_archs[i].model);
        double before = perplexity_of(model); // far above 1: nothing was trained
        for (int k = 0; k < 3; k++) {
            struct err e = {0};
            int rc;
            char *argv[] = {model, out, (char *)types[k], "--requantize"};
            unlink(out);
            free(verb_output(&verb_quantize, 4, argv, &rc, &e));
            assert_ok(rc, &e);
            double after = perplexity_of(out);
            if (!(fabs(log(after) / log(before) - 1) < (k == 1 ? 0.15 : 0.03)))
                fail_msg("%s as %s: perplexity %g, before %g", tiny_archs[i].name, types[k], after,
                         before);
        }
    }
    free(model);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_product_of_every_architecture_is_seen),
        cmocka_unit_test(every_architecture_runs_quantized),
        cmocka_unit_test(matrices_of_one_input_have_the_same_sums),
    };
    return cmocka_run_group_tests_name("imatrix", tests, NULL, NULL);
}
