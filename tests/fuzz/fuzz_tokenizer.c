// Any text through made vocabularies, and any bytes as a vocabulary.
//
// The first byte chooses: its two low bits the vocabulary (a SentencePiece one, two byte-level
// ones, or the rest of the input as the header of a GGUF), the next two the flags of the encoder. A
// fifth bit takes a Unigram vocabulary instead, or a byte-level one that composes and cuts in
// several steps.
#include "base/check.h"
#include "base/log.h"
#include "text/utf8.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SPM, BPE_GPT2, BPE_LLAMA, FROM_INPUT, UNIGRAM, BPE_COMPOSED, BPE_STEPS, KINDS };

// Ids are tokens; what they stand for streams out as UTF-8. Returns their bytes, malloc'd.
static char *look_at(const struct vocab *v, const struct ids *l, size_t *n)
{
    struct detokenizer d = {.vocab = v};
    char out[VOCAB_MAX_TOKEN_BYTES + 16];
    for (size_t i = 0; i <= l->n; i++) {
        CHECK(i == l->n || (l->id[i] >= 0 && l->id[i] < vocab_size(v)));
        size_t m = i < l->n ? detokenize(&d, l->id[i], out, sizeof out)
                            : detokenize_end(&d, out, sizeof out);
        for (size_t at = 0; at < m;) {
            int length = utf8_length(out + at, m - at);
            CHECK(length > 0);
            at += (size_t)length;
        }
    }
    return tiny_text(v, l, n);
}

static void encode(const struct vocab *v, const char *text, size_t n, int flags, bool complete)
{
    struct ids l = {0};
    struct err e = {0};
    int rc = vocab_encode(v, text, n, flags, &l, &e);
    CHECK(rc == 0 ? !e.code : e.code == rc && e.text[0] && !l.n && !complete);
    size_t m = 0;
    char *back = look_at(v, &l, &m);
    if (complete) // each byte has a token, nothing is added: the text comes back
        CHECK(m == n && (!n || !memcmp(back, text, n)));
    free(back);
    ids_free(&l);
}

static struct vocab *made(int kind)
{
    static const char *const keys[] = {"\t", "e\xcc\x81", "e", "\xef\xac\x81", "abx"};
    static const char *const becomes[] = {" ", "\xc3\xa4", "", "a b", "\xff"};
    static const char *const pre[KINDS] = {[BPE_GPT2] = "gpt-2",
                                           [BPE_LLAMA] = "llama-bpe",
                                           [BPE_COMPOSED] = "command-r",
                                           [BPE_STEPS] = "deepseek-llm"};
    bool unigram = kind == UNIGRAM;
    struct tiny_vocab *t = kind == SPM ? tiny_spm() : unigram ? tiny_unigram() : tiny_bpe();
    void *charsmap = unigram ? tiny_charsmap(5, keys, becomes, &t->n_charsmap) : NULL;
    t->charsmap = charsmap;
    t->merges_spaces = unigram;
    t->add_space_prefix = 0;
    tiny_add(t, "<|im_start|>", TINY_CONTROL, 0);
    tiny_add(t, "<user>", TINY_USER, 0);
    tiny_add(t, "ser>x", TINY_USER, 0);
    if (kind == SPM || unigram) {
        static const char *const pieces[] = {
            "\xe2\x96\x81",     "a",        "b",        "ab", "ba", "aba",
            "\xe2\x96\x81\x61", "\xc3\xa4", "a\xc3\xa4"};
        for (int i = 0; i < 9; i++)
            tiny_add(t, pieces[i], TINY_NORMAL, (float)(i % 4));
    } else {
        t->pre = pre[kind];
        tiny_merge(t, "a", "b");
        tiny_merge(t, " ", "a");
        tiny_merge(t, " ", " ");
        tiny_merge(t, "\n", "\n");
        tiny_merge(t, "\xc3", "\xa4");
        tiny_merge(t, " a", "b");
        tiny_merge(t, "1", "2");
        tiny_merge(t, "ab", "ab");
    }
    struct vocab *v = tiny_done(t);
    free(charsmap);
    return v;
}

static void from_input(const uint8_t *data, size_t size, int flags)
{
    static const char text[] = "<s>Hello  w\xc3\xb6rld\n\n'll 123 \xff<|im_start|> aabab</s>";
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    struct err e = {0};
    uint64_t need = 0;
    if (gguf_parse(&g, data, size, (uint64_t)size + (1 << 20), "fuzz", &need, &e))
        return;
    int rc = vocab_open(&v, g, &e);
    CHECK(rc ? !v && e.code == rc && e.text[0] : !e.code);
    gguf_free(g);
    if (!v)
        return;
    encode(v, text, sizeof text - 1, flags, false);
    for (int32_t id = -1; id <= vocab_size(v) && id < 300; id++) { // the texts of its own tokens
        struct gguf_string s = vocab_token_text(v, id);
        encode(v, s.text, s.length, flags, false);
        (void)(vocab_is_end(v, id) + vocab_is_control(v, id));
    }
    CHECK(vocab_bos(v) < vocab_size(v) && vocab_eos(v) < vocab_size(v));
    vocab_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vocab *vocabs[KINDS]; // for the whole run
    if (!vocabs[0]) {
        log_set_level(LOG_ERROR);
        for (int kind = 0; kind < KINDS; kind++)
            if (kind != FROM_INPUT)
                vocabs[kind] = made(kind);
    }
    if (!size)
        return 0;
    int kind = data[0] & 3, flags = data[0] >> 2 & (ENCODE_SPECIAL | ENCODE_CONTROL);
    if (data[0] & 16 && kind != FROM_INPUT)
        kind += UNIGRAM;
    if (kind == FROM_INPUT) {
        from_input(data + 1, size - 1, flags);
    } else {
        // SentencePiece adds BOS, and does not tell U+2581 from a space.
        bool adds = flags & ENCODE_SPECIAL || memmem(data, size, "\xe2\x96\x81", 3);
        encode(vocabs[kind], (const char *)data + 1, size - 1, flags,
               kind == SPM ? !adds : kind != UNIGRAM && kind != BPE_COMPOSED);
    }
    return 0;
}
