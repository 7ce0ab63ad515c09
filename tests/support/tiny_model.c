// Writing a tiny random model: see tiny_model.h. tiny_archs.c says what it has, tiny_tensors.c and
// tiny_keys.c name it.
#include "support.h"
#include "tiny_plan.h"

#include "base/rng.h"
#include "kernels/encode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTE_TOKENS = 3, WORD_TOKENS = BYTE_TOKENS + 256 };

static float normal(struct rng *r)
{
    double u = 1 - rng_double(r), v = rng_double(r);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

// FNV-1a of the name, so that a tensor is the same in every model that has it.
static uint64_t name_seed(const char *name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h + seed * 0x9e3779b97f4a7c15u;
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

// The random numbers of one tensor, (n_mats, n_out, n_in).
static float *random_numbers(const struct tiny_tensor *d, const char *name, uint64_t seed, size_t n)
{
    struct rng rng;
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    rng_init(&rng, name_seed(name, seed));
    for (size_t i = 0; i < n; i++)
        x[i] = d->mean + d->spread * normal(&rng);
    return x;
}

// "blk.1.ffn_up_exps.weight" is n times "blk.1.ffn_up.weight".
static float *equal_experts(const struct tiny_tensor *d, uint64_t seed, size_t n_mats, size_t each)
{
    char name[sizeof d->name];
    const char *cut = strstr(d->name, "_exps");
    snprintf(name, sizeof name, "%.*s%s", (int)(cut - d->name), d->name, cut + strlen("_exps"));
    float *one = random_numbers(d, name, seed, each), *x = malloc(n_mats * each * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n_mats; i++)
        memcpy(x + i * each, one, each * sizeof *x);
    free(one);
    return x;
}

// attn_k_b and attn_v_b are the parts of attn_kv_b, whose rows are, for each head, those of the key
// and those of the value; a key's part is transposed, for it is multiplied with queries.
static float *part_of_kv_b(const struct tiny_tensor *d, const struct tiny_model *t)
{
    bool key = strstr(d->name, "attn_k_b");
    size_t rank = (size_t)t->kv_rank, nope = (size_t)(t->head_dim - t->n_rot);
    size_t value = (size_t)t->value_dim, heads = (size_t)t->n_heads;
    struct tiny_tensor kv_b = {.spread = 1 / sqrtf((float)rank)};
    snprintf(kv_b.name, sizeof kv_b.name, "%.*sattn_kv_b.weight",
             (int)(strstr(d->name, "attn_") - d->name), d->name);
    float *whole = random_numbers(&kv_b, kv_b.name, t->seed, heads * (nope + value) * rank);
    float *x = malloc(heads * rank * (key ? nope : value) * sizeof *x), *to = x;
    assert_non_null(x);
    for (size_t h = 0; h < heads; h++) {
        const float *rows = whole + h * (nope + value) * rank;
        if (key) {
            for (size_t r = 0; r < rank; r++)
                for (size_t i = 0; i < nope; i++)
                    *to++ = rows[i * rank + r];
        } else {
            memcpy(to, rows + nope * rank, value * rank * sizeof *to);
            to += value * rank;
        }
    }
    free(whole);
    return x;
}

// phi3's fused matrices are rows of the separate ones that other architectures have.
static float *fused(const struct tiny_tensor *d, const struct tiny_model *t, bool qkv)
{
    const int kv = t->n_kv_heads * t->head_dim;
    const struct {
        const char *name;
        int n_out;
    } parts[] = {{"attn_q", t->n_heads * t->head_dim},
                 {"attn_k", kv},
                 {"attn_v", kv},
                 {"ffn_gate", t->n_ff},
                 {"ffn_up", t->n_ff}};
    float *x = malloc((size_t)d->n_out * (size_t)d->n_in * sizeof *x), *to = x;
    assert_non_null(x);
    for (size_t i = qkv ? 0 : 3; i < (qkv ? 3 : 5); i++) {
        char name[sizeof d->name];
        size_t n = (size_t)parts[i].n_out * (size_t)d->n_in;
        snprintf(name, sizeof name, "%.*s%s.weight",
                 (int)(strstr(d->name, qkv ? "attn_" : "ffn_") - d->name), d->name, parts[i].name);
        float *rows = random_numbers(d, name, t->seed, n);
        memcpy(to, rows, n * sizeof *to);
        to += n;
        free(rows);
    }
    return x;
}

static float *numbers(const struct tiny_tensor *d, const struct tiny_model *t, size_t rows)
{
    bool qkv = strstr(d->name, "attn_qkv.");
    if (qkv || (tiny_is(t, "phi3") && strstr(d->name, "ffn_up.")))
        return fused(d, t, qkv);
    size_t n_mats = d->n_mats ? (size_t)d->n_mats : 1;
    if (strstr(d->name, "attn_k_b.") || strstr(d->name, "attn_v_b."))
        return part_of_kv_b(d, t);
    if (t->equal_experts && strstr(d->name, "_exps.weight"))
        return equal_experts(d, t->seed, n_mats, rows / n_mats * (size_t)d->n_in);
    return random_numbers(d, d->name, t->seed, rows * (size_t)d->n_in);
}

static void write_tensor(struct gguf_writer *w, const struct tiny_tensor *d,
                         const struct tiny_model *t)
{
    size_t rows = (size_t)(d->n_out ? d->n_out : 1) * (size_t)(d->n_mats ? d->n_mats : 1), bytes;
    assert_true(wtype_row_bytes(d->type, (uint64_t)d->n_in, &bytes));
    float *x = numbers(d, t, rows);
    uint8_t *blocks = malloc(bytes);
    assert_non_null(blocks);
    for (size_t r = 0; r < rows; r++) {
        assert_true(kernels_encode(d->type, blocks, x + r * (size_t)d->n_in, (size_t)d->n_in));
        gguf_write(w, blocks, bytes);
    }
    free(blocks);
    free(x);
}

void tiny_model_write(const char *path, const struct tiny_model *options)
{
    struct tiny_plan *p = calloc(1, sizeof *p);
    struct gguf_writer *w;
    struct err e = {0};
    assert_non_null(p);
    p->t = tiny_model_filled(options);
    tiny_plan_tensors(p);
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    tiny_plan_put_keys(w, &p->t);
    put_vocabulary(w, p->t.n_vocab);
    for (int i = 0; i < p->n_tensors; i++) {
        const struct tiny_tensor *d = &p->tensors[i];
        uint64_t dims[3] = {(uint64_t)d->n_in, (uint64_t)d->n_out, (uint64_t)d->n_mats};
        gguf_declare(w, d->name, d->type, d->n_mats ? 3 : d->n_out ? 2 : 1, dims);
    }
    for (int i = 0; i < p->n_tensors; i++)
        write_tensor(w, &p->tensors[i], &p->t);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    free(p);
}
