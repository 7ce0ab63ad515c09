// Vocabularies of random models: of any size, they read any text and give it back.
#include "support.h"

#include "gguf/gguf.h"
#include "hub/synthesis.h"
#include "hub/synthesis_vocab.h"
#include "text/vocab.h"

#include <stdio.h>
#include <string.h>

static struct gguf *made(enum synthesis_vocab kind, enum synthesis_arch arch, int n_vocab)
{
    struct err e = {0};
    struct gguf *g;
    struct synthesis s = {.name = "tiny",
                          .arch = arch,
                          .vocab = kind,
                          .n_layers = 1,
                          .n_embd = 32,
                          .n_heads = 1,
                          .n_kv_heads = 1,
                          .head_dim = 32,
                          .n_ff = 32,
                          .n_vocab = n_vocab,
                          .context_length = 64,
                          .rope_theta = 10000,
                          .rms_eps = 1e-5f,
                          .mix = mix_find("Q4_0")};
    assert_ok(synthesis_check(&s, &e), &e);
    assert_ok(synthesis_write(&s, test_file("vocab.gguf"), NULL, NULL, &e), &e);
    assert_ok(gguf_open(&g, test_file("vocab.gguf"), &e), &e);
    return g;
}

// Encodes, decodes, compares; returns how many tokens there were.
static size_t round_trip(const struct vocab *v, const char *text, size_t length)
{
    struct err e = {0};
    struct ids ids = {0};
    char back[4096], piece[VOCAB_MAX_TOKEN_BYTES];
    size_t at = 0;
    assert_ok(vocab_encode(v, text, length, 0, &ids, &e), &e);
    for (size_t i = 0; i < ids.n; i++) {
        size_t n = vocab_decode(v, ids.id[i], false, piece, sizeof piece);
        assert_true(at + n <= sizeof back);
        memcpy(back + at, piece, n);
        at += n;
    }
    // SentencePiece puts a space in front.
    const char *from = at == length + 1 && back[0] == ' ' ? back + 1 : back;
    assert_int_equal(at - (size_t)(from - back), length);
    assert_memory_equal(from, text, length);
    size_t n = ids.n;
    ids_free(&ids);
    return n;
}

static void any_text_comes_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"Hello, world!",
                                        "  two  spaces\n\nand lines\t",
                                        "größe 日本語 😀",
                                        "babe kozu <|im_start|> <s> <0x41>",
                                        "bake the bread, 12345 times",
                                        "\x01\x02\x7f"};
    for (int kind = SYNTHESIS_BPE; kind <= SYNTHESIS_SPM; kind++) {
        int least = synthesis_vocab_least((enum synthesis_vocab)kind);
        int sizes[] = {least, least + 1, least + 150, 12000};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct err e = {0};
            struct vocab *v;
            struct gguf *g =
                made((enum synthesis_vocab)kind, (enum synthesis_arch)(i & 1), sizes[i]);
            assert_ok(vocab_open(&v, g, &e), &e);
            assert_int_equal(vocab_size(v), sizes[i]);
            assert_true(vocab_is_end(v, vocab_eos(v)) && vocab_is_control(v, vocab_bos(v)));
            assert_int_equal(vocab_find(v, "<|im_end|>"), sizes[i] - 1);
            for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
                round_trip(v, texts[t], strlen(texts[t]));
            vocab_free(v);
            gguf_free(g);
        }
    }
}

static void every_token_is_another_text(void **state)
{
    (void)state;
    for (int kind = SYNTHESIS_BPE; kind <= SYNTHESIS_SPM; kind++) {
        struct err e = {0};
        struct vocab *v;
        struct gguf *g = made((enum synthesis_vocab)kind, SYNTHESIS_LLAMA, 40000);
        assert_ok(vocab_open(&v, g, &e), &e);
        const struct gguf_key *tokens = gguf_find(g, "tokenizer.ggml.tokens");
        for (int32_t i = 0; i < 40000; i++) {
            struct gguf_string s = gguf_string_at(tokens, (uint64_t)i);
            char text[64];
            snprintf(text, sizeof text, "%.*s", (int)s.length, s.text);
            assert_int_equal(vocab_find(v, text), i);
        }
        vocab_free(v);
        gguf_free(g);
    }
}

static void words_of_two_syllables_are_one_token(void **state)
{
    (void)state;
    for (int kind = SYNTHESIS_BPE; kind <= SYNTHESIS_SPM; kind++) {
        struct err e = {0};
        struct vocab *v;
        struct gguf *g = made((enum synthesis_vocab)kind, SYNTHESIS_LLAMA, 30000);
        assert_ok(vocab_open(&v, g, &e), &e);
        assert_int_equal(round_trip(v, "bake", 4), 1);
        assert_int_equal(round_trip(v, "zuba", 4), 1);
        assert_int_equal(round_trip(v, "bake kozu xexo", 14), 3);
        vocab_free(v);
        gguf_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_text_comes_back),
        cmocka_unit_test(every_token_is_another_text),
        cmocka_unit_test(words_of_two_syllables_are_one_token),
    };
    return cmocka_run_group_tests_name("synthetic vocabularies", tests, NULL, NULL);
}
