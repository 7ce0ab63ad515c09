// Hyper-parameters out of a file's metadata. Every number has a range; what lies outside ends with
// one sentence that names the key. Keys: the GGUF specification, "LLM" section.
#include "model/hparams.h"

#include "base/arith.h"
#include "kernels/kv_chunk.h"
#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_EMBD = 1 << 17,
    MAX_HEADS = 1 << 12,
    MAX_HEAD_DIM = KV_MAX_HEAD_DIM,
    MAX_FF = 1 << 19,
    MAX_VOCAB = 1 << 22,
    MAX_CONTEXT = 1 << 28,
    REQUIRED = -1,
};

struct reader {
    const struct gguf *g;
    const char *path, *arch;
    struct err *e;
    int rc; // the first error
};

static bool key_name(const struct reader *r, char out[96], const char *key)
{
    snprintf(out, 96, "%s.%s", r->arch, key);
    return gguf_find(r->g, out) != NULL;
}

static void missing(struct reader *r, const char *name)
{
    r->rc =
        err_set(r->e, ERR_FAILED, "%s: the key %s is missing; the file is damaged or no %s model",
                r->path, name, r->arch);
}

// The key's integer in [lo, hi]; `otherwise` when it is absent, unless that is REQUIRED.
static int read_int(struct reader *r, const char *key, int lo, int hi, int otherwise)
{
    char name[96];
    uint64_t value;
    if (r->rc)
        return otherwise;
    if (!key_name(r, name, key)) {
        if (otherwise == REQUIRED)
            missing(r, name);
        return otherwise;
    }
    if (gguf_get_u64(r->g, name, &value) && value >= (uint64_t)lo && value <= (uint64_t)hi)
        return (int)value;
    r->rc = err_set(r->e, ERR_FAILED,
                    "%s: %s is not a number from %d to %d; the file is damaged or of a kind that "
                    "Rondo cannot run",
                    r->path, name, lo, hi);
    return otherwise;
}

// The key's number, positive and at most `hi`; `otherwise` when it is absent, unless that is NaN.
static double read_positive(struct reader *r, const char *key, double hi, double otherwise)
{
    char name[96];
    double value;
    if (r->rc)
        return otherwise;
    if (!key_name(r, name, key)) {
        if (isnan(otherwise))
            missing(r, name);
        return otherwise;
    }
    if (gguf_get_f64(r->g, name, &value) && value > 0 && value <= hi)
        return value;
    r->rc =
        err_set(r->e, ERR_FAILED, "%s: %s is not a positive number up to %g; the file is damaged",
                r->path, name, hi);
    return otherwise;
}

static int read_names(struct reader *r, struct hparams *h)
{
    struct gguf_string s;
    if (!gguf_get_string(r->g, "general.architecture", &s))
        return err_set(r->e, ERR_FAILED,
                       "%s: the key general.architecture is missing; this is no "
                       "language model",
                       r->path);
    err_quote(h->arch, sizeof h->arch, s.text, s.length < 1024 ? (int)s.length : 1024);
    if (!arch_find(h->arch))
        return err_set(r->e, ERR_FAILED, "%s: the architecture %s is not supported; supported: %s",
                       r->path, h->arch, arch_names());
    if (gguf_get_string(r->g, "general.name", &s))
        err_quote(h->name, sizeof h->name, s.text, s.length < 1024 ? (int)s.length : 1024);
    return 0;
}

static void read_attention(struct reader *r, struct hparams *h)
{
    h->n_heads = read_int(r, "attention.head_count", 1, MAX_HEADS, REQUIRED);
    h->n_kv_heads = read_int(r, "attention.head_count_kv", 1, MAX_HEADS, h->n_heads);
    if (r->rc)
        return;
    if (h->n_heads % h->n_kv_heads) {
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: %d attention heads cannot share %d key-value heads evenly; the file "
                        "is damaged",
                        r->path, h->n_heads, h->n_kv_heads);
        return;
    }
    h->head_dim = read_int(r, "attention.key_length", 1, MAX_HEAD_DIM, 0);
    if (!r->rc && !h->head_dim) {
        h->head_dim = h->n_embd / h->n_heads;
        if (h->n_embd % h->n_heads || h->head_dim > MAX_HEAD_DIM)
            r->rc = err_set(r->e, ERR_FAILED,
                            "%s: an embedding of %d cannot be shared by %d attention heads; the "
                            "file is damaged",
                            r->path, h->n_embd, h->n_heads);
    }
    int value_dim = read_int(r, "attention.value_length", 1, MAX_HEAD_DIM, h->head_dim);
    if (!r->rc && value_dim != h->head_dim)
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: keys of %d and values of %d dimensions are not supported", r->path,
                        h->head_dim, value_dim);
    if (arch_find(h->arch)->reads_window)
        h->window = read_int(r, "attention.sliding_window", 0, MAX_CONTEXT, 0);
}

static void read_rope_scaling(struct reader *r, struct hparams *h)
{
    char name[96], type[32] = "linear";
    struct gguf_string s;
    double factor = read_positive(r, "rope.scale_linear", 1e6, 1);
    factor = read_positive(r, "rope.scaling.factor", 1e6, factor);
    if (key_name(r, name, "rope.scaling.type") && gguf_get_string(r->g, name, &s))
        err_quote(type, sizeof type, s.text, s.length < 64 ? (int)s.length : 64);
    bool none = !strcmp(type, "none");
    if (!r->rc && !none && strcmp(type, "linear"))
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: stretches positions by the method %s, which is not supported yet; use "
                        "a file with none or linear scaling",
                        r->path, type);
    h->rope_scale = none ? 1 : (float)(1 / factor);
}

static void read_rope(struct reader *r, struct hparams *h)
{
    h->rope_layout = arch_find(h->arch)->rope_layout;
    h->n_rot = read_int(r, "rope.dimension_count", 2, MAX_HEAD_DIM, h->head_dim);
    if (!r->rc && (h->n_rot % 2 || h->n_rot > h->head_dim))
        r->rc = err_set(r->e, ERR_FAILED,
                        "%s: %d of %d dimensions of a head cannot be rotated; the file is damaged",
                        r->path, h->n_rot, h->head_dim);
    h->rope_theta = (float)read_positive(r, "rope.freq_base", 1e12, 10000);
    read_rope_scaling(r, h);
}

// The embedding has a row for each token: the vocabulary's size is its shape, and every other place
// that names it must agree.
static void read_vocab(struct reader *r, struct hparams *h)
{
    const struct gguf_tensor *t = gguf_find_tensor(r->g, "token_embd.weight");
    if (r->rc)
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
    *h = (struct hparams){0};
    struct reader r = {.g = g, .path = gguf_path(g), .arch = h->arch, .e = e};
    int rc = read_names(&r, h);
    if (rc)
        return rc;
    int experts = read_int(&r, "expert_count", 0, INT32_MAX, 0);
    if (!r.rc && experts)
        r.rc = err_set(e, ERR_FAILED, "%s: a mixture of %d experts is not supported yet", r.path,
                       experts);
    h->n_layers = read_int(&r, "block_count", 1, MODEL_MAX_LAYERS, REQUIRED);
    h->n_embd = read_int(&r, "embedding_length", 1, MAX_EMBD, REQUIRED);
    h->n_ff = read_int(&r, "feed_forward_length", 1, MAX_FF, REQUIRED);
    h->context_length = read_int(&r, "context_length", 1, MAX_CONTEXT, REQUIRED);
    h->rms_eps = (float)read_positive(&r, "attention.layer_norm_rms_epsilon", 1, (double)NAN);
    read_attention(&r, h);
    read_rope(&r, h);
    read_vocab(&r, h);
    h->tied_output = !gguf_find_tensor(g, "output.weight");
    h->attn_bias = gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    return r.rc;
}

size_t hparams_kv_page_bytes(const struct hparams *h, int n_layers, enum kv_type type)
{
    return (size_t)n_layers * (size_t)h->n_kv_heads * kv_layout(type, h->head_dim).bytes;
}
