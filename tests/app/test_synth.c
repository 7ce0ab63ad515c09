// rondo synth: what its options make, and what it refuses.
#include "support.h"

#include "app/verbs.h"
#include "gguf/gguf.h"
#include "model/hparams.h"
#include "verb_output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGS = 24 };

static int synth(const char *const *args, char **out, struct err *e)
{
    int n = 0, rc;
    char *argv[MAX_ARGS];
    for (; args[n]; n++)
        argv[n] = (char *)args[n];
    *out = verb_output(&verb_synth, n, argv, &rc, e);
    return rc;
}

static void options_say_what_the_model_is(void **state)
{
    (void)state;
    struct err e = {0};
    struct hparams h;
    struct gguf *g;
    char *path = strdup(test_file("synth.gguf")), *out;
    assert_ok(synth((const char *[]){path,         "--shape", "8b",    "--arch=qwen2", "--layers",
                                     "3",          "--embd",  "128",   "--heads",      "4",
                                     "--kv-heads", "2",       "--ffn", "96",           "--vocab",
                                     "400",        "--ctx",   "77",    "--type",       "Q5_0",
                                     "--tied",     NULL},
                    &out, &e),
              &e);
    assert_non_null(strstr(out, " parameters in "));
    free(out);
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(hparams_read(&h, g, &e), &e);
    assert_string_equal(h.arch, "qwen2");
    assert_true(h.n_layers == 3 && h.n_embd == 128 && h.n_heads == 4 && h.n_kv_heads == 2 &&
                h.n_ff == 96 && h.n_vocab == 400 && h.context_length == 77 && h.tied_output);
    assert_int_equal(h.head_dim, 32); // embd / heads, not the shape's
    assert_int_equal(gguf_find_tensor(g, "blk.2.attn_q.weight")->type, WT_Q5_0);
    gguf_free(g);

    assert_int_equal(synth((const char *[]){path, NULL}, &out, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "is there already"));
    free(out);
    free(path);
}

static void few_heads_share_no_more_heads_of_keys_than_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *heads;
        int n_kv_heads;
    } cases[] = {{"--heads=2", 2}, {"--heads=12", 6}, {"--heads=16", 8}}; // the shape has 8
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct hparams h;
        struct gguf *g;
        char *path = strdup(test_file("heads.gguf")), *out;
        assert_ok(synth((const char *[]){path, "--layers=1", "--embd=96", cases[i].heads,
                                         "--ffn=32", "--vocab=300", NULL},
                        &out, &e),
                  &e);
        free(out);
        assert_ok(gguf_open(&g, path, &e), &e);
        assert_ok(hparams_read(&h, g, &e), &e);
        assert_int_equal(h.n_kv_heads, cases[i].n_kv_heads);
        gguf_free(g);
        assert_int_equal(unlink(path), 0);
        free(path);
    }
}

static void a_folder_that_is_not_there_is_told_by_the_name_given(void **state)
{
    (void)state;
    struct err e = {0};
    char *out;
    assert_int_equal(synth((const char *[]){"/nowhere/x.gguf", NULL}, &out, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "/nowhere/x.gguf: cannot be written"));
    free(out);
}

static void wrong_options_are_refused_before_anything_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        int code;
        const char *part;
    } wrong[] = {
        {"--kv-heads=7", ERR_USAGE, "cannot share 7 key-value heads"},
        {"--vocab=100", ERR_USAGE, "100 tokens"},
        {"--type=Q9", ERR_USAGE, "Q9"},
        {"--layers=0", ERR_USAGE, "layers"},
        {"--head-dim=33", ERR_USAGE, "even number"},
        {"--seed=1", ERR_FAILED, "are free there"}, // 400 TB
    };
    char *path = strdup(test_file("refused.gguf"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        char *out;
        int rc = synth((const char *[]){path, "--type=F32", "--layers=1000", "--embd=65536",
                                        "--ffn=524288", "--heads=512", wrong[i].option, NULL},
                       &out, &e);
        assert_int_equal(rc, wrong[i].code);
        if (!strstr(e.text, wrong[i].part))
            fail_msg("\"%s\" does not say \"%s\"", e.text, wrong[i].part);
        assert_int_equal(access(path, F_OK), -1);
        free(out);
    }
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_say_what_the_model_is),
        cmocka_unit_test(few_heads_share_no_more_heads_of_keys_than_they_are),
        cmocka_unit_test(a_folder_that_is_not_there_is_told_by_the_name_given),
        cmocka_unit_test(wrong_options_are_refused_before_anything_is_written),
    };
    return cmocka_run_group_tests_name("synth", tests, NULL, NULL);
}
