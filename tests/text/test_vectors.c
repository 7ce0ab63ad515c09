// Tokens of real vocabularies against vectors made by a reference implementation. Both kinds of
// files lie in vocab/: NAME.inp and NAME.out (texts and their ids), and tok_golden.json (ids plain,
// and with special tokens added and control tokens found).
#include "support.h"

#include "gguf/gguf.h"
#include "text/vocab.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vocab *open_vocab(const char *path)
{
    struct err e = {0};
    struct gguf *g;
    struct vocab *v;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(vocab_open(&v, g, &e), &e);
    gguf_free(g); // a vocabulary keeps nothing of its file
    return v;
}

static void print_ids(const char *what, const struct ids *l)
{
    print_error("%s:", what);
    for (size_t i = 0; i < l->n; i++)
        print_error(" %d", l->id[i]);
    print_error("\n");
}

static void assert_same_ids(const struct ids *got, const struct ids *expected, const char *text)
{
    if (got->n == expected->n &&
        (!got->n || !memcmp(got->id, expected->id, got->n * sizeof(int32_t))))
        return;
    print_error("text: %s\n", text);
    print_ids("got", got);
    print_ids("expected", expected);
    fail();
}

static void check_text(const struct vocab *v, const char *text, size_t n, int flags,
                       const struct ids *expected)
{
    struct ids got = {0};
    struct err e = {0};
    assert_ok(vocab_encode(v, text, n, flags, &got, &e), &e);
    assert_same_ids(&got, expected, text);
    ids_free(&got);
}

// Without control tokens and with SPM's first space taken away, the ids are the text again.
static void check_way_back(const struct vocab *v, const char *text, size_t n)
{
    struct ids l = {0};
    struct err e = {0};
    char *out = malloc(4 * n + 64), piece[VOCAB_MAX_TOKEN_BYTES];
    size_t size = 0;
    assert_ok(vocab_encode(v, text, n, 0, &l, &e), &e);
    for (size_t i = 0; i < l.n; i++) {
        size_t m = vocab_decode(v, l.id[i], true, piece, sizeof piece);
        assert_true(size + m <= 4 * n + 64);
        memcpy(out + size, piece, m);
        size += m;
    }
    size_t skip = n && !strcmp(vocab_kind(v), "spm") ? 1 : 0;
    assert_int_equal(size - skip, n);
    assert_memory_equal(out + skip, text, n);
    free(out);
    ids_free(&l);
}

static struct ids ids_of_json(const json_t *array)
{
    struct ids l = {0};
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value) ids_push(&l, (int32_t)json_integer_value(value));
    return l;
}

static void check_golden(const char *path, const char *name, bool way_back)
{
    const char *golden = test_data("vocab/tok_golden.json");
    assert_non_null(golden);
    json_error_t error;
    json_t *root = json_load_file(golden, 0, &error);
    assert_non_null(root);
    json_t *strings = json_object_get(root, "strings"), *string;
    json_t *ids = json_object_get(json_object_get(root, "vocabs"), name);
    assert_non_null(ids);
    struct vocab *v = open_vocab(path);
    size_t i;
    json_array_foreach(strings, i, string)
    {
        const char *text = json_string_value(string);
        size_t n = json_string_length(string);
        struct ids plain = ids_of_json(json_array_get(json_object_get(ids, "plain"), i));
        struct ids special = ids_of_json(json_array_get(json_object_get(ids, "special"), i));
        check_text(v, text, n, 0, &plain);
        check_text(v, text, n, ENCODE_SPECIAL | ENCODE_CONTROL, &special);
        if (way_back)
            check_way_back(v, text, n);
        ids_free(&plain);
        ids_free(&special);
    }
    assert_true(i > 100);
    vocab_free(v);
    json_decref(root);
}

static struct ids ids_of_line(char **line)
{
    struct ids l = {0};
    char *end = strchr(*line, '\n');
    assert_non_null(end);
    *end = 0;
    for (char *s = *line, *next;; s = next) {
        long id = strtol(s, &next, 10);
        if (next == s)
            break;
        ids_push(&l, (int32_t)id);
    }
    *line = end + 1;
    return l;
}

static void check_pairs(const char *path, const char *inp, const char *out)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char *texts = (char *)test_read(inp, NULL), *lines = (char *)test_read(out, NULL);
    struct vocab *v = open_vocab(path);
    char *text = texts, *line = lines;
    int n = 0;
    for (char *end; (end = strstr(text, separator)); text = end + sizeof separator - 1, n++) {
        *end = 0;
        struct ids expected = ids_of_line(&line);
        check_text(v, text, (size_t)(end - text), 0, &expected);
        ids_free(&expected);
    }
    assert_true(n > 40);
    vocab_free(v);
    free(texts);
    free(lines);
}

static void llama_spm(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/ggml-vocab-llama-spm.gguf");
    check_golden(path, "ggml-vocab-llama-spm.gguf", true);
    check_pairs(path, test_data("vocab/ggml-vocab-llama-spm.gguf.inp"),
                test_data("vocab/ggml-vocab-llama-spm.gguf.out"));
}

static void llama_bpe(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/vocab-llama-bpe.gguf");
    check_golden(path, "vocab-llama-bpe.gguf", true);
    check_pairs(path, test_data("vocab/ggml-vocab-llama-bpe.gguf.inp"),
                test_data("vocab/ggml-vocab-llama-bpe.gguf.out"));
}

static void qwen2(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/vocab-qwen2.gguf");
    check_golden(path, "vocab-qwen2.gguf", true);
    check_pairs(path, test_data("vocab/ggml-vocab-qwen2.gguf.inp"),
                test_data("vocab/ggml-vocab-qwen2.gguf.out"));
}

static void gpt_2(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/ggml-vocab-gpt-2.gguf");
    check_golden(path, "ggml-vocab-gpt-2.gguf", true);
    check_pairs(path, test_data("vocab/ggml-vocab-gpt-2.gguf.inp"),
                test_data("vocab/ggml-vocab-gpt-2.gguf.out"));
}

static void deepseek_llm(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/ggml-vocab-deepseek-llm.gguf");
    check_golden(path, "ggml-vocab-deepseek-llm.gguf", true);
    check_pairs(path, test_data("vocab/ggml-vocab-deepseek-llm.gguf.inp"),
                test_data("vocab/ggml-vocab-deepseek-llm.gguf.out"));
}

static void phi_3(void **state)
{
    (void)state;
    TESTDATA(path, "vocab/ggml-vocab-phi-3.gguf");
    check_golden(path, "ggml-vocab-phi-3.gguf", false); // it swallows space behind special tokens
    check_pairs(path, test_data("vocab/ggml-vocab-phi-3.gguf.inp"),
                test_data("vocab/ggml-vocab-phi-3.gguf.out"));
}

static void stories260k(void **state)
{
    (void)state;
    TESTDATA(path, "models/stories260K.gguf");
    check_golden(path, "stories260K.gguf", true);
}

// A character vocabulary without byte tokens: its story, token by token.
static void babyllama(void **state)
{
    (void)state;
    TESTDATA(path, "models/babyllama-tok105-F32.gguf");
    json_error_t error;
    json_t *root = json_load_file(test_data("golden/golden_models.json"), 0, &error);
    assert_non_null(root);
    json_t *model = json_object_get(json_object_get(root, "models"), "babyllama-tok105-F32");
    const char *story = json_string_value(json_object_get(model, "llamacpp_greedy_text"));
    assert_non_null(story);
    char text[1024];
    snprintf(text, sizeof text, "%s%s", json_string_value(json_object_get(root, "prompt")), story);
    struct ids expected = ids_of_json(json_object_get(root, "ids_vocab105")), answer;
    answer = ids_of_json(json_object_get(model, "llamacpp_greedy_ids"));
    struct vocab *v = open_vocab(path);
    assert_true(strlen(text) + 2 >= expected.n); // BOS, the space in front, a token per character
    text[expected.n - 2] = 0;
    check_text(v, text, strlen(text), ENCODE_SPECIAL, &expected);
    struct detokenizer d = {.vocab = v, .any = true};
    char out[VOCAB_MAX_TOKEN_BYTES + 16], all[1024] = {0};
    for (size_t i = 0; i < answer.n; i++) {
        detokenize(&d, answer.id[i], out, sizeof out);
        strcat(all, out);
    }
    assert_string_equal(all, story);
    ids_free(&expected);
    ids_free(&answer);
    vocab_free(v);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_spm), cmocka_unit_test(llama_bpe),    cmocka_unit_test(qwen2),
        cmocka_unit_test(gpt_2),     cmocka_unit_test(phi_3),        cmocka_unit_test(stories260k),
        cmocka_unit_test(babyllama), cmocka_unit_test(deepseek_llm),
    };
    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
