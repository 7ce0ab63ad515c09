// Hyper-parameters out of a file's metadata. Every number has a range; what lies outside ends with
// one sentence that names the key. Keys: the GGUF specification, "LLM" section.
#include "model/hparams.h"

#include "kernels/kv_chunk.h"
#include "model/arch.h"
#include "model/hparams_keys.h"
#include "model/rope.h"
#include "model/slice_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_EMBD = 1 << 17,
    MAX_HEAD_DIM = KV_MAX_HEAD_DIM,
    MAX_FF = 1 << 19,
    MAX_VOCAB = 1 << 22,
    MAX_CONTEXT = 1 << 28,
};

static int read_names(struct keys *r, struct hparams *h)
{
    struct gguf_string s;
    if (!gguf_get_string(r->g, "general.architecture", &s))
        return err_set(r->e, ERR_FAILED,
                       "%s: the key general.architecture is missing; this is no "
                       "language model",
                       r->path);
    err_quote(h->arch, sizeof h->arch, s.text, s.length < 1024 ? (int)s.length : 1024);
    if (!arch_find(h->arch)) {
        char names[ARCH_NAMES_SIZE];
        arch_names(names, sizeof names);
        return err_set(r->e, ERR_FAILED, "%s: the architecture %s is not supported; supported: %s",
                       r->path, h->arch, names);
    }
    if (gguf_get_string(r->g, "general.name", &s))
        err_quote(h->name, sizeof h->name, s.text, s.length < 1024 ? (int)s.length : 1024);
    return 0;
}

static void read_head_dim(struct keys *r, struct hparams *h)
{
    h->head_dim = keys_int(r, "attention.key_length", 1, MAX_HEAD_DIM, 0);
    if (!r->rc && !h->head_dim) {
        h->head_dim = h->n_embd / h->n_heads;
        if (h->n_embd % h->n_heads || h->head_dim > MAX_HEAD_DIM)
            r->rc = err_set(r->e, ERR_FAILED,
                            "%s: an embedding of %d cannot be shared by %d attention heads; the "
                            "file is damaged",
                            r->path, h->n_embd, h->n_heads);
    }
    int value_dim = keys_int(r, "attention.value_length", 1, MAX_HEAD_DIM, h->head_dim);
    if (!r->rc && value_dim != h->head_dim && !arch_find(h->arch)->latent)
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: keys of %d and values of %d dimensions are not supported", r->path,
                        h->head_dim, value_dim);
}

static void read_attention(struct keys *r, struct hparams *h)
{
    h->n_heads = keys_int(r, "attention.head_count", 1, MODEL_MAX_HEADS, KEYS_REQUIRED);
    h->n_kv_heads = keys_int(r, "attention.head_count_kv", 1, MODEL_MAX_HEADS, h->n_heads);
    if (r->rc)
        return;
    if (h->n_heads % h->n_kv_heads) {
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: %d attention heads cannot share %d key-value heads evenly; the file "
                        "is damaged",
                        r->path, h->n_heads, h->n_kv_heads);
        return;
    }
    read_head_dim(r, h);
    if (arch_find(h->arch)->reads_window)
        h->window = keys_int(r, "attention.sliding_window", 0, MAX_CONTEXT, 0);
    if (!r->rc)
        h->attn_scale = (float)keys_positive(r, "attention.scale", 1e6,
                                             (double)(1 / sqrtf((float)h->head_dim)));
}

// YaRN, arXiv 2309.00071: the bounds of its ramp (section 3.2) are 32 turns and 1 unless the file
// says otherwise.
static void read_yarn(struct keys *r, struct hparams *h)
{
    h->yarn = (struct yarn){
        .original_context =
            keys_int(r, "rope.scaling.original_context_length", 1, MAX_CONTEXT, h->context_length),
        .beta_fast = (float)keys_positive(r, "rope.scaling.yarn_beta_fast", 1e6, 32),
        .beta_slow = (float)keys_positive(r, "rope.scaling.yarn_beta_slow", 1e6, 1),
        .whole = true,
    };
}

// What cosines and sines are multiplied by: YaRN, section 3.4; LongRoPE, arXiv 2402.13753, as
// Phi-3's models do it.
static double magnitude(struct keys *r, const struct hparams *h)
{
    double otherwise = 1, longer = (double)h->context_length / h->yarn.original_context;
    if (h->rope_scaling == ROPE_SCALING_LONG && longer > 1 && h->yarn.original_context > 1)
        otherwise = sqrt(1 + rope_ln(longer) / rope_ln(h->yarn.original_context));
    double factor = keys_positive(r, "rope.scaling.attn_factor", 1e3, otherwise);
    return h->rope_scaling == ROPE_SCALING_YARN && h->rope_scale < 1
               ? factor * (1 + 0.1 * rope_ln(1 / (double)h->rope_scale))
               : factor;
}

static void read_rope_scaling(struct keys *r, struct hparams *h)
{
    char type[32];
    double factor = keys_positive(r, "rope.scale_linear", 1e6, 1);
    factor = keys_positive(r, "rope.scaling.factor", 1e6, factor);
    keys_text(r, "rope.scaling.type", "linear", type, sizeof type);
    bool none = !strcmp(type, "none"), yarn = !strcmp(type, "yarn"),
         factors = !strcmp(type, "longrope") || gguf_find_tensor(r->g, "rope_factors_long.weight");
    if (!r->rc && !none && !yarn && !factors && strcmp(type, "linear"))
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: stretches positions by the method %s, which is not supported; use a "
                        "file with none, linear, yarn or longrope scaling",
                        r->path, type);
    read_yarn(r, h);
    h->rope_scaling = yarn ? ROPE_SCALING_YARN : factors ? ROPE_SCALING_LONG : ROPE_SCALING_LINEAR;
    h->rope_scale = none || factors ? 1 : (float)(1 / factor);
    h->rope_magnitude = (float)magnitude(r, h);
}

static void read_rope(struct keys *r, struct hparams *h)
{
    h->rope_layout = arch_find(h->arch)->rope_layout;
    h->n_rot = keys_int(r, "rope.dimension_count", 2, MAX_HEAD_DIM, h->head_dim);
    if (!r->rc && (h->n_rot % 2 || h->n_rot > h->head_dim))
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: %d of %d dimensions of a head cannot be rotated; the file is damaged",
                        r->path, h->n_rot, h->head_dim);
    h->rope_theta = (float)keys_positive(r, "rope.freq_base", 1e12, 10000);
    read_rope_scaling(r, h);
}

static void read_experts(struct keys *r, struct hparams *h)
{
    struct experts_hparams *x = &h->experts;
    x->n = keys_int(r, "expert_count", 0, MODEL_MAX_EXPERTS, 0);
    x->n_groups = x->n_groups_used = 1;
    x->scale = 1;
    x->normalize = true;
    if (r->rc || !x->n)
        return;
    if (!arch_find(h->arch)->mixture) {
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: a mixture of %d experts is no %s model that Rondo "
                        "knows; convert the model again",
                        r->path, x->n, h->arch);
        return;
    }
    x->n_used = keys_int(r, "expert_used_count", 1, x->n, KEYS_REQUIRED);
    x->n_ff = keys_int(r, "expert_feed_forward_length", 1, MAX_FF, h->n_ff);
}

// A slice may be without the embedding.
static bool vocab_of_slice(const struct keys *r, struct hparams *h)
{
    const struct gguf_key *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
    if (!gguf_find(r->g, SLICE_KEY_LAYERS) || !tokens || tokens->type != GGUF_ARRAY ||
        tokens->count < 1 || tokens->count > MAX_VOCAB)
        return false;
    h->n_vocab = (int)tokens->count;
    return true;
}

// The embedding has a row for each token: the vocabulary's size is its shape, and every other place
// that names it must agree.
static void read_vocab(struct keys *r, struct hparams *h)
{
    const struct gguf_tensor *t = gguf_find_tensor(r->g, "token_embd.weight");
    if (r->rc)
        return;
    if (!t && vocab_of_slice(r, h))
        return;
    if (!t) {
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: the tensor token_embd.weight is missing; the file holds a vocabulary "
                        "only or is damaged",
                        r->path);
        return;
    }
    uint64_t rows = t->dims[1];
    const struct gguf_key *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
    uint64_t named = tokens && tokens->type == GGUF_ARRAY ? tokens->count : rows;
    if (rows < 1 || rows > MAX_VOCAB)
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: a vocabulary of %llu tokens is not supported; the "
                        "limit is %d",
                        r->path, (unsigned long long)rows, MAX_VOCAB);
    else if (named != rows)
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: the vocabulary has %llu tokens but token_embd.weight %llu rows; the "
                        "file is damaged",
                        r->path, (unsigned long long)named, (unsigned long long)rows);
    h->n_vocab = (int)rows;
}

int hparams_read(struct hparams *h, const struct gguf *g, struct err *e)
{
    *h = (struct hparams){.embed_scale = 1, .residual_scale = 1, .logit_scale = 1};
    struct keys r = {.g = g, .path = gguf_path(g), .arch = h->arch, .e = e};
    int rc = read_names(&r, h);
    if (rc)
        return rc;
    const struct arch *arch = arch_find(h->arch);
    h->n_layers = keys_int(&r, "block_count", 1, MODEL_MAX_LAYERS, KEYS_REQUIRED);
    h->n_embd = keys_int(&r, "embedding_length", 1, MAX_EMBD, KEYS_REQUIRED);
    h->n_ff = keys_int(&r, "feed_forward_length", 1, MAX_FF, KEYS_REQUIRED);
    h->context_length = keys_int(&r, "context_length", 1, MAX_CONTEXT, KEYS_REQUIRED);
    h->rms_eps = (float)keys_positive(&r, "attention.layer_norm_rms_epsilon", 1, (double)NAN);
    read_attention(&r, h);
    read_rope(&r, h);
    read_experts(&r, h);
    if (!r.rc && arch->read)
        arch->read(&r, h);
    read_vocab(&r, h);
    h->tied_output = !gguf_find_tensor(g, "output.weight");
    h->attn_bias = gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    return r.rc;
}

size_t hparams_kv_page_bytes(const struct hparams *h, int n_layers, enum kv_type type)
{
    return (size_t)n_layers * (size_t)h->n_kv_heads * kv_layout(type, h->head_dim).bytes;
}

bool hparams_slides(const struct hparams *h, int layer)
{
    return h->window && (!h->window_period || (layer + 1) % h->window_period != 0);
}
