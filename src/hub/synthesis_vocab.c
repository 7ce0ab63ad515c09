// Vocabularies that tokenize any text: every byte is a token; the rest are pronounceable words.
//
// Words are made of 100 syllables (a consonant and a vowel) and lie in one numbering in which each
// is an earlier word and one syllable more:
//
//     0..99      ba be bi .. zu                   merge: consonant, vowel
//     100..199   the same behind a space          merge: space, syllable
//     200 + i    word i / 100, syllable i % 100   merge: that word, that syllable
//
// so all words of two syllables and many longer ones are reached by merging. Order:
//
//     BPE    bytes, words, control tokens
//     SPM    <unk> <s> </s>, bytes, the space, words, control tokens
#include "hub/synthesis_vocab.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SYLLABLES = 100,
    WORD_BYTES = 32, // five syllables are more than SYNTHESIS_MAX_VOCAB needs
    SPM_FRONT = 3,
    SPM_BYTES = 257, // and the space
    // tokenizer.ggml.token_type
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_BYTE = 6,
};

static const char *const bpe_control[] = {"<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>",
                                          "<|im_end|>"};
static const char *const spm_control[] = {"<|im_start|>", "<|im_end|>"};
enum { BPE_BACK = 4, SPM_BACK = 2 };

struct texts { // strings in one growing buffer
    char *buffer;
    struct gguf_string *string;
    size_t used, n;
};

int synthesis_vocab_least(enum synthesis_vocab kind)
{
    return kind == SYNTHESIS_BPE ? 256 + BPE_BACK : SPM_FRONT + SPM_BYTES + SPM_BACK;
}

static int texts_init(struct texts *t, size_t n)
{
    *t = (struct texts){.buffer = malloc(n * 2 * WORD_BYTES),
                        .string = calloc(n, sizeof *t->string)};
    return t->buffer && t->string ? 0 : -1;
}

static void texts_free(struct texts *t)
{
    free(t->buffer);
    free(t->string);
}

static void texts_add(struct texts *t, const char *text)
{
    size_t length = strlen(text);
    CHECK(length < 2 * WORD_BYTES);
    char *at = t->buffer + t->used;
    memcpy(at, text, length);
    t->string[t->n++] = (struct gguf_string){.text = at, .length = length};
    t->used += length;
}

static void syllable(char out[3], int i)
{
    out[0] = "bcdfghjklmnpqrstvwxz"[i / 5];
    out[1] = "aeiou"[i % 5];
    out[2] = 0;
}

// Text of word `i`; `space` stands for a space.
static void word(char out[WORD_BYTES], int i, const char *space)
{
    char parent[WORD_BYTES], last[3];
    if (i < 2 * SYLLABLES) {
        syllable(last, i % SYLLABLES);
        snprintf(out, WORD_BYTES, "%s%s", i < SYLLABLES ? "" : space, last);
        return;
    }
    i -= 2 * SYLLABLES;
    word(parent, i / SYLLABLES, space);
    syllable(last, i % SYLLABLES);
    CHECK(strlen(parent) + 3 <= WORD_BYTES);
    strcpy(out, parent);
    strcat(out, last);
}

// The two tokens that word `i` is merged from, as "left right".
static void merge(char out[2 * WORD_BYTES], int i, const char *space)
{
    char left[WORD_BYTES], right[3];
    syllable(right, i % SYLLABLES);
    if (i < SYLLABLES) {
        snprintf(out, 2 * WORD_BYTES, "%c %c", right[0], right[1]);
        return;
    }
    if (i < 2 * SYLLABLES)
        snprintf(left, sizeof left, "%s", space);
    else
        word(left, (i - 2 * SYLLABLES) / SYLLABLES, space);
    snprintf(out, 2 * WORD_BYTES, "%s %s", left, right);
}

static void utf8(char out[3], unsigned code) // code < 0x800
{
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = 0;
    } else {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        out[2] = 0;
    }
}

// Byte-level BPE writes a byte as a printable character: itself where Latin-1 has one, else the
// next code point from U+0100 on.
static bool printable(int byte)
{
    return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
}

static void add_bpe_bytes(struct texts *t)
{
    unsigned next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
        char text[3];
        utf8(text, printable(byte) ? (unsigned)byte : next++);
        texts_add(t, text);
    }
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "no memory for a vocabulary of this size");
}

static int put_merges(struct gguf_writer *w, int n_words, const char *space, struct err *e)
{
    struct texts t;
    char text[2 * WORD_BYTES];
    int rc = 0;
    if (texts_init(&t, (size_t)n_words + 1)) {
        rc = no_memory(e);
    } else {
        for (int i = 0; i < n_words; i++) {
            merge(text, i, space);
            texts_add(&t, text);
        }
        gguf_put_strings(w, "tokenizer.ggml.merges", t.string, t.n);
    }
    texts_free(&t);
    return rc;
}

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    gguf_put_string(w, key, text, strlen(text));
}

static int put_bpe(struct gguf_writer *w, const struct synthesis *s, struct texts *t,
                   int32_t *types, struct err *e)
{
    static const char space[] = "\u0120"; // what byte 0x20 is written as
    char text[WORD_BYTES];
    int n_words = s->n_vocab - 256 - BPE_BACK;
    put_text(w, "tokenizer.ggml.model", "gpt2");
    put_text(w, "tokenizer.ggml.pre", s->arch == SYNTHESIS_LLAMA ? "llama-bpe" : "qwen2");
    add_bpe_bytes(t);
    for (int i = 0; i < n_words; i++) {
        word(text, i, space);
        texts_add(t, text);
    }
    for (int i = 0; i < BPE_BACK; i++) {
        types[t->n] = TYPE_CONTROL;
        texts_add(t, bpe_control[i]);
    }
    uint32_t back = (uint32_t)(s->n_vocab - BPE_BACK);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", back);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", back + 3);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", s->arch == SYNTHESIS_LLAMA);
    return put_merges(w, n_words, space, e);
}

static int put_spm(struct gguf_writer *w, const struct synthesis *s, struct texts *t,
                   int32_t *types, struct err *e)
{
    static const char *const front[SPM_FRONT] = {"<unk>", "<s>", "</s>"};
    static const char space[] = "\u2581";
    char text[WORD_BYTES];
    float *scores = calloc((size_t)s->n_vocab, sizeof *scores);
    if (!scores)
        return no_memory(e);
    put_text(w, "tokenizer.ggml.model", "llama");
    for (int i = 0; i < SPM_FRONT; i++) {
        types[t->n] = i ? TYPE_CONTROL : TYPE_UNKNOWN;
        texts_add(t, front[i]);
    }
    for (int byte = 0; byte < 256; byte++) {
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        types[t->n] = TYPE_BYTE;
        texts_add(t, text);
    }
    texts_add(t, space);
    for (int i = 0; i < s->n_vocab - SPM_FRONT - SPM_BYTES - SPM_BACK; i++) {
        word(text, i, space);
        scores[t->n] = -(float)i - 1; // earlier words first
        texts_add(t, text);
    }
    for (int i = 0; i < SPM_BACK; i++) {
        types[t->n] = TYPE_CONTROL;
        texts_add(t, spm_control[i]);
    }
    gguf_put_f32s(w, "tokenizer.ggml.scores", scores, t->n);
    gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)s->n_vocab - 1);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    free(scores);
    return 0;
}

int synthesis_vocab_put(struct gguf_writer *w, const struct synthesis *s, struct err *e)
{
    struct texts t;
    size_t n = (size_t)s->n_vocab;
    int32_t *types = calloc(n, sizeof *types);
    int rc;
    if (texts_init(&t, n) || !types) {
        rc = no_memory(e);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        types[i] = TYPE_NORMAL;
    rc = s->vocab == SYNTHESIS_BPE ? put_bpe(w, s, &t, types, e) : put_spm(w, s, &t, types, e);
    if (rc)
        goto out;
    CHECK(t.n == n);
    gguf_put_strings(w, "tokenizer.ggml.tokens", t.string, n);
    gguf_put_i32s(w, "tokenizer.ggml.token_type", types, n);
out:
    texts_free(&t);
    free(types);
    return rc;
}
