// Tiny random models: see tiny_model.h. Tensors are declared from one table of names and shapes,
// then written in the same order.
#include "tiny_model.h"
#include "support.h"

#include "base/rng.h"
#include "gguf/writer.h"
#include "kernels/encode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTE_TOKENS = 3, WORD_TOKENS = BYTE_TOKENS + 256, MAX_TENSORS = 2048 };

struct made {
    char name[64];
    uint32_t type;
    int n_in, n_out; // n_out 0: a vector
    float mean, spread;
};

struct maker {
    struct tiny_model t;
    struct made tensors[MAX_TENSORS];
    int n_tensors;
    struct rng rng;
};

static float normal(struct rng *r)
{
    double u = 1 - rng_double(r), v = rng_double(r);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static void add(struct maker *m, const char *name, int n_in, int n_out)
{
    if (m->t.leave_out && !strcmp(name, m->t.leave_out))
        return;
    assert_true(m->n_tensors < MAX_TENSORS);
    struct made *d = &m->tensors[m->n_tensors++];
    *d = (struct made){.n_in = n_in, .n_out = n_out};
    snprintf(d->name, sizeof d->name, "%s", name);
    if (n_out) {
        d->type = m->t.type;
        d->spread = 1 / sqrtf((float)n_in);
    } else if (strstr(name, "norm")) {
        d->mean = 1;
        d->spread = 0.1f;
    } else if (strstr(name, "rope_freqs")) {
        d->mean = 2;
        d->spread = 0.2f;
    } else {
        d->spread = 0.3f;
    }
    if (!strcmp(name, "token_embd.weight") || !strcmp(name, "output.weight"))
        d->spread = 1;
}

static void add_layer(struct maker *m, int layer)
{
    const struct tiny_model *t = &m->t;
    int q = t->n_heads * t->head_dim, kv = t->n_kv_heads * t->head_dim;
    const struct {
        const char *name;
        int n_in, n_out;
    } parts[] = {
        {"attn_norm.weight", t->n_embd, 0},
        {"attn_q.weight", t->n_embd, q},
        {"attn_k.weight", t->n_embd, kv},
        {"attn_v.weight", t->n_embd, kv},
        {"attn_output.weight", q, t->n_embd},
        {"ffn_norm.weight", t->n_embd, 0},
        {"ffn_gate.weight", t->n_embd, t->n_ff},
        {"ffn_up.weight", t->n_embd, t->n_ff},
        {"ffn_down.weight", t->n_ff, t->n_embd},
        {"attn_q.bias", q, 0},
        {"attn_k.bias", kv, 0},
        {"attn_v.bias", kv, 0},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(parts[i].name, "bias") && !t->bias)
            continue;
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s", layer, parts[i].name);
        add(m, name, parts[i].n_in, parts[i].n_out);
    }
}

static void put_vocabulary(struct gguf_writer *w, int n_vocab)
{
    assert_true(n_vocab >= WORD_TOKENS);
    struct gguf_string *tokens = calloc((size_t)n_vocab, sizeof *tokens);
    char(*texts)[24] = calloc((size_t)n_vocab, sizeof *texts);
    float *scores = calloc((size_t)n_vocab, sizeof *scores);
    int32_t *types = calloc((size_t)n_vocab, sizeof *types);
    assert_true(tokens && texts && scores && types);
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < n_vocab; i++) {
        if (i < BYTE_TOKENS)
            snprintf(texts[i], sizeof *texts, "%s", special[i]);
        else if (i < WORD_TOKENS)
            snprintf(texts[i], sizeof *texts, "<0x%02X>", i - BYTE_TOKENS);
        else if (i < WORD_TOKENS + 26)
            snprintf(texts[i], sizeof *texts, "%c", 'a' + i - WORD_TOKENS);
        else
            snprintf(texts[i], sizeof *texts, "w%d", i);
        tokens[i] = (struct gguf_string){texts[i], strlen(texts[i])};
        scores[i] = i < WORD_TOKENS ? 0 : (float)-i;
        types[i] = i == 0 ? 2 : i < BYTE_TOKENS ? 3 : i < WORD_TOKENS ? 6 : 1;
    }
    gguf_put_string(w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, (size_t)n_vocab);
    gguf_put_f32s(w, "tokenizer.ggml.scores", scores, (size_t)n_vocab);
    gguf_put_i32s(w, "tokenizer.ggml.token_type", types, (size_t)n_vocab);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    free(types);
    free(scores);
    free(texts);
    free(tokens);
}

static void put_keys(struct gguf_writer *w, const struct tiny_model *t)
{
    char name[64];
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"block_count", (uint32_t)t->n_layers},
        {"context_length", (uint32_t)t->context},
        {"embedding_length", (uint32_t)t->n_embd},
        {"feed_forward_length", (uint32_t)t->n_ff},
        {"attention.head_count", (uint32_t)t->n_heads},
        {"attention.head_count_kv", (uint32_t)t->n_kv_heads},
        {"attention.key_length", (uint32_t)t->head_dim},
        {"attention.value_length", (uint32_t)t->head_dim},
        {"rope.dimension_count", (uint32_t)t->head_dim},
    };
    gguf_put_string(w, "general.architecture", t->arch, strlen(t->arch));
    gguf_put_string(w, "general.name", "tiny", 4);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(name, sizeof name, "%s.%s", t->arch, numbers[i].key);
        gguf_put_u32(w, name, numbers[i].value);
    }
    snprintf(name, sizeof name, "%s.attention.layer_norm_rms_epsilon", t->arch);
    gguf_put_f32(w, name, 1e-5f);
    snprintf(name, sizeof name, "%s.rope.freq_base", t->arch);
    gguf_put_f32(w, name, 10000);
    snprintf(name, sizeof name, "%s.attention.sliding_window", t->arch);
    if (t->window)
        gguf_put_u32(w, name, (uint32_t)t->window);
}

static void write_tensor(struct gguf_writer *w, struct maker *m, const struct made *d)
{
    size_t rows = d->n_out ? (size_t)d->n_out : 1, bytes;
    float *row = malloc((size_t)d->n_in * sizeof *row);
    assert_true(wtype_row_bytes(d->type, (uint64_t)d->n_in, &bytes));
    uint8_t *blocks = malloc(bytes);
    assert_true(row && blocks);
    for (size_t r = 0; r < rows; r++) {
        for (int i = 0; i < d->n_in; i++)
            row[i] = d->mean + d->spread * normal(&m->rng);
        assert_true(kernels_encode(d->type, blocks, row, (size_t)d->n_in));
        gguf_write(w, blocks, bytes);
    }
    free(blocks);
    free(row);
}

static void set_defaults(struct tiny_model *t)
{
    t->arch = t->arch ? t->arch : "llama";
    t->n_layers = t->n_layers ? t->n_layers : 4;
    t->n_heads = t->n_heads ? t->n_heads : 4;
    t->n_kv_heads = t->n_kv_heads ? t->n_kv_heads : 2;
    t->n_embd = t->n_embd ? t->n_embd : 64;
    t->head_dim = t->head_dim ? t->head_dim : t->n_embd / t->n_heads;
    t->n_ff = t->n_ff ? t->n_ff : 96;
    t->n_vocab = t->n_vocab ? t->n_vocab : 320;
    t->context = t->context ? t->context : 512;
    t->bias = t->bias || !strcmp(t->arch, "qwen2");
}

void tiny_model_write(const char *path, const struct tiny_model *options)
{
    struct maker *m = calloc(1, sizeof *m);
    struct gguf_writer *w;
    struct err e = {0};
    assert_non_null(m);
    m->t = *options;
    set_defaults(&m->t);
    rng_init(&m->rng, m->t.seed + 1);
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    put_keys(w, &m->t);
    put_vocabulary(w, m->t.n_vocab);
    add(m, "token_embd.weight", m->t.n_embd, m->t.n_vocab);
    if (m->t.rope_factors)
        add(m, "rope_freqs.weight", m->t.head_dim / 2, 0);
    for (int i = 0; i < m->t.n_layers; i++)
        add_layer(m, i);
    add(m, "output_norm.weight", m->t.n_embd, 0);
    if (!m->t.tied)
        add(m, "output.weight", m->t.n_embd, m->t.n_vocab);
    for (int i = 0; i < m->n_tensors; i++) {
        const struct made *d = &m->tensors[i];
        uint64_t dims[2] = {(uint64_t)d->n_in, (uint64_t)d->n_out};
        gguf_declare(w, d->name, d->type, d->n_out ? 2 : 1, dims);
    }
    for (int i = 0; i < m->n_tensors; i++)
        write_tensor(w, m, &m->tensors[i]);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    free(m);
}
