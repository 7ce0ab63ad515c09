// What quantizing costs: the divergence of story256, quantized here from F16, from the F16 model
// itself, beside that of files in circulation of the same type.
//
// Measured at every position of windows of two texts, one of the kind that the model knows and one
// of another; importance is learned from all of the second. F32 cache, the best instruction set.
#include "support.h"

#include "app/verbs.h"
#include "hub/quantization.h"
#include "kernels/kv_chunk.h"
#include "reference.h"
#include "rig.h"
#include "text/vocab.h"
#include "verb_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 256, WINDOWS = 4 };

static const char *const types[] = {"Q8_0", "Q6_K",   "Q5_K_M", "Q4_K_M",
                                    "Q4_0", "Q3_K_M", "Q2_K",   "IQ4_XS"};
enum { TYPES = sizeof types / sizeof *types };

struct measure {
    int32_t ids[WINDOWS][WINDOW];
    double *exact[WINDOWS]; // logits of the F16 model
    int n_vocab;
};

static void read_windows(struct measure *m, const char *model)
{
    static const char *const texts[] = {"text/tinystories_sample_4k.txt",
                                        "text/tinyshakespeare_12k.txt"};
    struct err e = {0};
    struct gguf *g;
    struct vocab *v;
    assert_ok(gguf_open(&g, model, &e), &e);
    assert_ok(vocab_open(&v, g, &e), &e);
    for (int i = 0; i < 2; i++) {
        size_t length;
        struct ids ids = {0};
        uint8_t *text = test_read(test_data(texts[i]), &length);
        assert_ok(vocab_encode(v, (char *)text, length, 0, &ids, &e), &e);
        assert_true(ids.n >= WINDOWS / 2 * (WINDOW - 1));
        for (int w = 0; w < WINDOWS / 2; w++) {
            int32_t *window = m->ids[i * WINDOWS / 2 + w];
            window[0] = vocab_bos(v);
            memcpy(window + 1, ids.id + w * (WINDOW - 1), (WINDOW - 1) * sizeof *window);
        }
        ids_free(&ids);
        free(text);
    }
    vocab_free(v);
    gguf_free(g);
}

static float *logits_of(const char *path, const int32_t *ids, int *n_vocab)
{
    struct rig_options o = {.isa = isa_detect(), .kv_type = KV_F32, .n_threads = 2};
    return rig_logits(path, ids, WINDOW, &o, n_vocab);
}

static void measure_exact(struct measure *m, const char *path)
{
    read_windows(m, path);
    for (int w = 0; w < WINDOWS; w++) {
        float *logits = logits_of(path, m->ids[w], &m->n_vocab);
        size_t n = (size_t)WINDOW * (size_t)m->n_vocab;
        m->exact[w] = malloc(n * sizeof **m->exact);
        for (size_t i = 0; i < n; i++)
            m->exact[w][i] = (double)logits[i];
        free(logits);
    }
}

static double divergence(const struct measure *m, const char *path)
{
    double sum = 0;
    for (int w = 0; w < WINDOWS; w++) {
        int n_vocab;
        float *logits = logits_of(path, m->ids[w], &n_vocab);
        assert_int_equal(n_vocab, m->n_vocab);
        sum += reference_mean_kl(m->exact[w], logits, WINDOW, n_vocab);
        free(logits);
    }
    return sum / WINDOWS;
}

static double divergence_of_ours(const struct measure *m, const char *source, const char *type,
                                 const struct imatrix *importance)
{
    struct err e = {0};
    struct gguf *g;
    struct quantize_plan p;
    struct quantization how = {.recipe = recipe_find(type),
                               .importance = importance,
                               .importance_name = "tales",
                               .output_type = -1,
                               .embedding_type = -1,
                               .n_threads = 2};
    assert_ok(gguf_open(&g, source, &e), &e);
    assert_ok(quantize_plan(&p, g, &how, &e), &e);
    assert_ok(quantize_write(&p, test_file("ours.gguf"), NULL, NULL, &e), &e);
    quantize_plan_free(&p);
    gguf_free(g);
    return divergence(m, test_file("ours.gguf"));
}

static struct imatrix *learned(const char *source)
{
    struct err e = {0};
    struct imatrix *m;
    int rc;
    char path[4096];
    snprintf(path, sizeof path, "%s", test_file("im.gguf"));
    char *argv[] = {(char *)source, (char *)test_data("text/tinyshakespeare_12k.txt"), "-o", path,
                    "--threads=2"};
    free(verb_output(&verb_imatrix, 5, argv, &rc, &e));
    assert_ok(rc, &e);
    assert_ok(imatrix_open(&m, path, &e), &e);
    return m;
}

static void quantized_models_diverge_no_more_than_files_in_circulation(void **state)
{
    (void)state;
    TESTDATA(path, "models/story256-F16.gguf");
    struct measure m = {0};
    char *source = strdup(path);
    double sum = 0, sum_learned = 0;
    measure_exact(&m, source);
    struct imatrix *importance = learned(source);
    for (size_t i = 0; i < TYPES; i++) {
        char given[96];
        snprintf(given, sizeof given, "models/story256-%s.gguf", types[i]);
        double theirs = divergence(&m, test_data(given));
        double ours = divergence_of_ours(&m, source, types[i], NULL);
        double with = divergence_of_ours(&m, source, types[i], importance);
        printf("# %-7s KL %.3e, of the given file %.3e: %.3f; with importance %.3f\n", types[i],
               ours, theirs, ours / theirs, with / theirs);
        assert_true(ours <= 1.1 * theirs);
        assert_true(with <= 1.1 * theirs);
        sum += ours / theirs;
        sum_learned += with / theirs;
    }
    assert_true(sum_learned < sum);
    imatrix_free(importance);
    for (int w = 0; w < WINDOWS; w++)
        free(m.exact[w]);
    free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantized_models_diverge_no_more_than_files_in_circulation),
    };
    return cmocka_run_group_tests_name("quantized", tests, NULL, NULL);
}
