// Vocabularies made by tests: see tiny_vocab.h.
#include "tiny_vocab.h"

#include "gguf/writer.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *tiny_bytes(const char *bytes, size_t n)
{
    static char text[2][4096];
    static int turn;
    char *out = text[turn ^= 1];
    size_t to = 0;
    assert_true(2 * n < sizeof text[0]);
    for (size_t i = 0; i < n; i++) {
        unsigned b = (uint8_t)bytes[i], code = b;
        if (b <= 32)
            code = 256 + b;
        else if (b >= 127 && b <= 160)
            code = 256 + 33 + (b - 127);
        else if (b == 173)
            code = 256 + 33 + 34;
        if (code < 128) {
            out[to++] = (char)code;
        } else {
            out[to++] = (char)(0xc0 | code >> 6);
            out[to++] = (char)(0x80 | (code & 63));
        }
    }
    out[to] = 0;
    return out;
}

static struct tiny_vocab *tiny_new(const char *model)
{
    struct tiny_vocab *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->model = model;
    t->bos = t->eos = t->unk = t->eot = TINY_ABSENT;
    t->add_bos = t->add_eos = t->add_space_prefix = t->merges_spaces = TINY_ABSENT;
    return t;
}

struct tiny_vocab *tiny_spm(void)
{
    struct tiny_vocab *t = tiny_new("llama");
    t->unk = tiny_add(t, "<unk>", TINY_UNKNOWN, 0);
    t->bos = tiny_add(t, "<s>", TINY_CONTROL, 0);
    t->eos = tiny_add(t, "</s>", TINY_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        tiny_add(t, text, TINY_BYTE, 0);
    }
    return t;
}

struct tiny_vocab *tiny_unigram(void)
{
    struct tiny_vocab *t = tiny_new("t5");
    tiny_add(t, "<pad>", TINY_CONTROL, 0);
    t->eos = tiny_add(t, "</s>", TINY_CONTROL, 0);
    t->unk = tiny_add(t, "<unk>", TINY_UNKNOWN, 0);
    t->add_space_prefix = t->add_eos = 0;
    return t;
}

struct tiny_vocab *tiny_bpe(void)
{
    struct tiny_vocab *t = tiny_new("gpt2");
    t->pre = "gpt-2";
    for (int b = 0; b < 256; b++)
        tiny_add(t, tiny_bytes(&(char){(char)b}, 1), TINY_NORMAL, 0);
    return t;
}

void tiny_free(struct tiny_vocab *t)
{
    for (int i = 0; i < t->n; i++)
        free((char *)t->token[i].text);
    for (int i = 0; i < t->n_merges; i++)
        free((char *)t->merge[i].text);
    free(t);
}

static struct gguf_string copy_of(const char *text)
{
    return (struct gguf_string){strdup(text), strlen(text)};
}

int tiny_add(struct tiny_vocab *t, const char *stored, int type, float score)
{
    assert_true(t->n < TINY_TOKENS);
    t->token[t->n] = copy_of(stored);
    t->type[t->n] = type;
    t->score[t->n] = score;
    return t->n++;
}

void tiny_merge_line(struct tiny_vocab *t, const char *line)
{
    assert_true(t->n_merges < TINY_MERGES);
    t->merge[t->n_merges++] = copy_of(line);
}

int tiny_merge(struct tiny_vocab *t, const char *left, const char *right)
{
    char both[512], line[520];
    size_t n_left = strlen(tiny_bytes(left, strlen(left)));
    snprintf(both, sizeof both, "%s%s", tiny_bytes(left, strlen(left)),
             tiny_bytes(right, strlen(right)));
    snprintf(line, sizeof line, "%.*s %s", (int)n_left, both, both + n_left);
    tiny_merge_line(t, line);
    for (int i = 0; i < t->n; i++)
        if (!strcmp(t->token[i].text, both))
            return i;
    return tiny_add(t, both, TINY_NORMAL, 0);
}

static void put_id(struct gguf_writer *w, const char *key, int64_t id)
{
    if (id != TINY_ABSENT)
        gguf_put_u32(w, key, (uint32_t)id);
}

static void put_flag(struct gguf_writer *w, const char *key, int flag)
{
    if (flag != TINY_ABSENT)
        gguf_put_bool(w, key, flag);
}

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    if (text)
        gguf_put_string(w, key, text, strlen(text));
}

enum { CHARSMAP_NODES = 64 };

// Node k, counted from 1, has its children in the 256 units of its own from 256 * k on; behind a
// node that ends a key lies its value, the place of the replacement.
void *tiny_charsmap(int n, const char *const *keys, const char *const *replacements, size_t *size)
{
    enum { UNITS = 256 * (CHARSMAP_NODES + 1) };
    uint32_t units[UNITS] = {0};
    char texts[1024];
    uint32_t n_nodes = 1, n_texts = 0, n_bytes = sizeof units;
    units[0] = 256u << 10;
    for (int i = 0; i < n; i++) {
        uint32_t at = 0, base = 256;
        for (const uint8_t *c = (const uint8_t *)keys[i]; *c; c++) {
            at = base ^ *c;
            if (!units[at]) {
                assert_true(n_nodes < CHARSMAP_NODES);
                units[at] = (at ^ (256 * ++n_nodes)) << 10 | *c;
            }
            base = at ^ units[at] >> 10;
        }
        units[at] |= 1 << 8;
        units[base] = 1u << 31 | n_texts;
        assert_true(n_texts + strlen(replacements[i]) < sizeof texts);
        strcpy(texts + n_texts, replacements[i]);
        n_texts += (uint32_t)strlen(replacements[i]) + 1;
    }
    *size = sizeof n_bytes + n_bytes + n_texts;
    char *out = malloc(*size);
    assert_non_null(out);
    memcpy(out, &n_bytes, sizeof n_bytes);
    memcpy(out + sizeof n_bytes, units, n_bytes);
    memcpy(out + sizeof n_bytes + n_bytes, texts, n_texts);
    return out;
}

void tiny_write(const struct tiny_vocab *t, const char *path)
{
    struct gguf_writer *w;
    struct err e = {0};
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    put_text(w, "general.architecture", "llama");
    put_text(w, "general.name", t->name);
    put_text(w, "tokenizer.ggml.model", t->model);
    put_text(w, "tokenizer.ggml.pre", t->pre);
    gguf_put_strings(w, "tokenizer.ggml.tokens", t->token, (size_t)t->n);
    if (t->n_scores != TINY_ABSENT)
        gguf_put_f32s(w, "tokenizer.ggml.scores", t->score,
                      (size_t)(t->n_scores ? t->n_scores : t->n));
    if (t->n_types != TINY_ABSENT)
        gguf_put_i32s(w, "tokenizer.ggml.token_type", t->type,
                      (size_t)(t->n_types ? t->n_types : t->n));
    if (t->model && !strcmp(t->model, "gpt2") && !t->no_merges)
        gguf_put_strings(w, "tokenizer.ggml.merges", t->merge, (size_t)t->n_merges);
    put_id(w, "tokenizer.ggml.bos_token_id", t->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", t->eos);
    put_id(w, "tokenizer.ggml.unknown_token_id", t->unk);
    put_id(w, "tokenizer.ggml.eot_token_id", t->eot);
    put_flag(w, "tokenizer.ggml.add_bos_token", t->add_bos);
    put_flag(w, "tokenizer.ggml.add_eos_token", t->add_eos);
    put_flag(w, "tokenizer.ggml.add_space_prefix", t->add_space_prefix);
    put_flag(w, "tokenizer.ggml.remove_extra_whitespaces", t->merges_spaces);
    static const char charsmap[] = "tokenizer.ggml.precompiled_charsmap";
    if (t->charsmap)
        gguf_put_key(w, &(struct gguf_key){.name = {charsmap, sizeof charsmap - 1},
                                           .type = GGUF_ARRAY,
                                           .element = GGUF_U8,
                                           .count = t->n_charsmap,
                                           .data = t->charsmap,
                                           .size = t->n_charsmap});
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
}

int tiny_open(const struct tiny_vocab *t, struct vocab **out, struct err *e)
{
    const char *path = test_file("vocab.gguf");
    struct gguf *g;
    *out = NULL;
    tiny_write(t, path);
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = vocab_open(out, g, e);
    gguf_free(g);
    return rc;
}

struct vocab *tiny_done(struct tiny_vocab *t)
{
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    tiny_free(t);
    return v;
}

void assert_ids(const struct vocab *v, const char *text, int flags, int n, const int32_t *ids)
{
    struct ids got = {0};
    struct err e = {0};
    assert_ok(vocab_encode(v, text, strlen(text), flags, &got, &e), &e);
    bool same = got.n == (size_t)n && (!n || !memcmp(got.id, ids, got.n * sizeof *ids));
    if (!same) {
        print_error("\"%s\" is", text);
        for (size_t i = 0; i < got.n; i++)
            print_error(" %d", got.id[i]);
        print_error(", not");
        for (int i = 0; i < n; i++)
            print_error(" %d", ids[i]);
        print_error("\n");
        fail();
    }
    ids_free(&got);
}

char *tiny_text(const struct vocab *v, const struct ids *l, size_t *n)
{
    char piece[VOCAB_MAX_TOKEN_BYTES];
    char *text = NULL;
    size_t size = 0;
    *n = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t m = vocab_decode(v, l->id[i], true, piece, sizeof piece);
        if (*n + m + 1 > size) {
            size = 2 * (*n + m + 1);
            text = realloc(text, size);
            assert_non_null(text);
        }
        memcpy(text + *n, piece, m);
        *n += m;
    }
    return text;
}
