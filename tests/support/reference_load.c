// Reading a model file for the reference: its keys by the names of the GGUF specification, its
// weights as floats, and what each architecture means by them. See reference.h for the sources.
#include "reference_net.h"
#include "support.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct matrix load(struct net *t, const char *name, int layer)
{
    char full[96];
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    const struct gguf_tensor *x = gguf_find_tensor(t->g, full);
    if (!x)
        return (struct matrix){0};
    struct matrix m = {
        .n_in = (int)x->dims[0], .n_out = (int)x->dims[1], .n_mats = (int)x->dims[2]};
    size_t n = (size_t)m.n_in * (size_t)m.n_out * (size_t)m.n_mats;
    uint8_t *raw = malloc(x->size);
    m.w = malloc(n * sizeof *m.w);
    assert_true(raw && m.w);
    assert_int_equal(pread(gguf_part_fd(t->g, x->part), raw, x->size, (off_t)x->offset), x->size);
    kernels_for(ISA_SCALAR)->format[x->type].decode(m.w, raw, n);
    free(raw);
    return m;
}

static int count(const struct net *t, const char *key, int otherwise)
{
    char name[96];
    uint64_t value = (uint64_t)otherwise;
    snprintf(name, sizeof name, "%s.%s", t->arch, key);
    gguf_get_u64(t->g, name, &value);
    return (int)value;
}

static double real(const struct net *t, const char *key, double otherwise)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", t->arch, key);
    gguf_get_f64(t->g, name, &otherwise);
    return otherwise;
}

static bool says(const struct net *t, const char *key, const char *text)
{
    char name[96];
    struct gguf_string s;
    snprintf(name, sizeof name, "%s.%s", t->arch, key);
    return gguf_get_string(t->g, name, &s) && s.length == strlen(text) &&
           !memcmp(s.text, text, s.length);
}

static bool is(const struct net *t, const char *arch)
{
    return !strcmp(t->arch, arch);
}

static bool among(const struct net *t, const char *const *archs)
{
    while (*archs && !is(t, *archs))
        archs++;
    return *archs;
}

static const struct {
    size_t at;
    const char *name;
} layer_parts[] = {
#define PART(field, name)                   \
    {                                       \
        offsetof(struct layer, field), name \
    }
    PART(attn_norm, "attn_norm.weight"),
    PART(q, "attn_q.weight"),
    PART(k, "attn_k.weight"),
    PART(v, "attn_v.weight"),
    PART(qkv, "attn_qkv.weight"),
    PART(o, "attn_output.weight"),
    PART(bq, "attn_q.bias"),
    PART(bk, "attn_k.bias"),
    PART(bv, "attn_v.bias"),
    PART(bo, "attn_output.bias"),
    PART(q_norm, "attn_q_norm.weight"),
    PART(k_norm, "attn_k_norm.weight"),
    PART(sinks, "attn_sinks.weight"),
    PART(post_attn_norm, "post_attention_norm.weight"),
    PART(q_a, "attn_q_a.weight"),
    PART(q_a_norm, "attn_q_a_norm.weight"),
    PART(q_b, "attn_q_b.weight"),
    PART(kv_a, "attn_kv_a_mqa.weight"),
    PART(kv_a_norm, "attn_kv_a_norm.weight"),
    PART(kv_b, "attn_kv_b.weight"),
    PART(k_b, "attn_k_b.weight"),
    PART(v_b, "attn_v_b.weight"),
    PART(ffn_norm, "ffn_norm.weight"),
    PART(gate, "ffn_gate.weight"),
    PART(up, "ffn_up.weight"),
    PART(down, "ffn_down.weight"),
    PART(post_ffn_norm, "post_ffw_norm.weight"),
    PART(router, "ffn_gate_inp.weight"),
    PART(router_bias, "ffn_gate_inp.bias"),
    PART(choice_bias, "exp_probs_b.bias"),
    PART(gates, "ffn_gate_exps.weight"),
    PART(ups, "ffn_up_exps.weight"),
    PART(downs, "ffn_down_exps.weight"),
    PART(gates_bias, "ffn_gate_exps.bias"),
    PART(ups_bias, "ffn_up_exps.bias"),
    PART(downs_bias, "ffn_down_exps.bias"),
    PART(shared_router, "ffn_gate_inp_shexp.weight"),
    PART(shared_gate, "ffn_gate_shexp.weight"),
    PART(shared_up, "ffn_up_shexp.weight"),
    PART(shared_down, "ffn_down_shexp.weight"),
#undef PART
};
enum { LAYER_PARTS = sizeof layer_parts / sizeof *layer_parts };

static struct matrix *layer_part(struct layer *l, size_t i)
{
    return (struct matrix *)(void *)((char *)l + layer_parts[i].at);
}

// gemma2 and gpt-oss: every other layer has a window, the first one does. gemma3: five of six.
static bool has_window(const struct net *t, int layer)
{
    if (is(t, "gemma2") || is(t, "gpt-oss"))
        return layer % 2 == 0;
    if (is(t, "gemma3"))
        return layer % 6 != 5;
    return is(t, "llama") || is(t, "phi3");
}

static void load_layers(struct net *t)
{
    int window = count(t, "attention.sliding_window", 0);
    t->layers = calloc((size_t)t->n_layers, sizeof *t->layers);
    assert_non_null(t->layers);
    for (int i = 0; i < t->n_layers; i++) {
        struct layer *l = &t->layers[i];
        for (size_t j = 0; j < LAYER_PARTS; j++)
            *layer_part(l, j) = load(t, layer_parts[j].name, i);
        l->window = has_window(t, i) ? window : 0;
        l->rotation = is(t, "gemma3") && has_window(t, i) ? &t->local : &t->global;
        if (is(t, "gpt-oss")) { // the file's name for the norm before the feed-forward
            l->ffn_norm = l->post_attn_norm;
            l->post_attn_norm = (struct matrix){0};
        }
    }
}

static void read_attention(struct net *t)
{
    struct attention *a = &t->attention;
    a->n_heads = count(t, "attention.head_count", 0);
    a->n_kv_heads = count(t, "attention.head_count_kv", a->n_heads);
    a->key_dim = count(t, "attention.key_length", t->n_embd / a->n_heads);
    a->value_dim = count(t, "attention.value_length", a->key_dim);
    a->softcap = real(t, "attn_logit_softcapping", 0);
    if (is(t, "deepseek2")) { // heads are taken apart: each has keys and values of its own
        t->latent = count(t, "attention.kv_lora_rank", 0);
        a->n_kv_heads = a->n_heads;
        a->key_dim = count(t, "attention.key_length_mla", a->key_dim);
        a->value_dim = count(t, "attention.value_length_mla", a->value_dim);
    }
    // Files do not carry query_pre_attn_scalar: the 27B models are known by their layers.
    bool by_width =
        (is(t, "gemma2") && t->n_layers == 46) || (is(t, "gemma3") && t->n_layers == 62);
    a->scale = 1 / sqrt(by_width ? (double)t->n_embd / a->n_heads : a->key_dim);
    a->scale = real(t, "attention.scale", a->scale);
    t->temperature = real(t, "attention.temperature_scale", 0);
}

// YaRN's get_mscale.
static double mscale(double factor, double m)
{
    return factor > 1 ? 1 + 0.1 * m * log(factor) : 1;
}

// What YaRN multiplies cosines and sines by. DeepSeek's models have mscale equal to mscale_all_dim,
// which cancel here and are put into the scale of attention instead, squared; their files have
// 0.1 * mscale_all_dim. mistral3 files have mscale_all_dim itself and mscale is 1.
static double yarn_scale(struct net *t)
{
    double all_dim = real(t, "rope.scaling.yarn_log_multiplier", 0), factor = t->scaling.factor;
    if (all_dim == 0)
        return mscale(factor, 1);
    if (is(t, "deepseek2")) {
        t->attention.scale *= pow(mscale(factor, all_dim / 0.1), 2);
        return 1;
    }
    return mscale(factor, 1) / mscale(factor, all_dim);
}

static void read_rope(struct net *t, int n_context)
{
    static const char *const halves[] = {"qwen2",  "qwen3", "qwen2moe", "qwen3moe", "gemma2",
                                         "gemma3", "phi3",  "gpt-oss",  NULL};
    struct scaling_rules *s = &t->scaling;
    int n_rot = count(t, "rope.dimension_count", t->attention.key_dim);
    double base = real(t, "rope.freq_base", 10000), scale = real(t, "rope.scaling.attn_factor", 1);
    s->factor = real(t, "rope.scaling.factor", 1);
    s->original_context = count(t, "rope.scaling.original_context_length", t->context);
    s->beta_fast = real(t, "rope.scaling.yarn_beta_fast", 32);
    s->beta_slow = real(t, "rope.scaling.yarn_beta_slow", 1);
    s->whole = !is(t, "gpt-oss");
    s->kind = says(t, "rope.scaling.type", "yarn")   ? SCALING_YARN
              : says(t, "rope.scaling.type", "none") ? SCALING_NONE
                                                     : SCALING_LINEAR;
    struct matrix factors = load(t, "rope_freqs.weight", -1);
    if (!factors.w)
        factors = load(t,
                       (n_context ? n_context : t->context) > s->original_context
                           ? "rope_factors_long.weight"
                           : "rope_factors_short.weight",
                       -1);
    reference_rotation_init(&t->global, n_rot, among(t, halves), base, s, factors.w);
    reference_rotation_init(&t->local, n_rot, among(t, halves),
                            real(t, "rope.freq_base_swa", 10000), &(struct scaling_rules){0}, NULL);
    t->global.scale = scale * (s->kind == SCALING_YARN ? yarn_scale(t) : 1);
    free(factors.w);
}

static void read_experts(struct net *t)
{
    struct choice *c = &t->choice;
    c->n = count(t, "expert_count", 0);
    c->n_used = count(t, "expert_used_count", 0);
    assert_true(c->n <= REFERENCE_MAX_EXPERTS && c->n_used <= c->n);
    c->n_groups = count(t, "expert_group_count", 1);
    c->n_groups_used = count(t, "expert_group_used_count", c->n_groups);
    c->scale = 1;
    c->gap = INFINITY;
    if (is(t, "deepseek2")) {
        bool normalize = false;
        gguf_get_bool(t->g, "deepseek2.expert_weights_norm", &normalize);
        c->scoring = count(t, "expert_gating_func", 1) == 2 ? SCORE_SIGMOID : SCORE_SOFTMAX;
        c->normalize = normalize;
        c->scale = real(t, "expert_weights_scale", 1);
    } else if (is(t, "qwen2moe")) {
        c->scoring = SCORE_SOFTMAX;
    } else if (is(t, "qwen3moe")) {
        c->scoring = SCORE_SOFTMAX;
        c->normalize = true;
    } else {
        c->scoring = SCORE_SOFTMAX_CHOSEN;
    }
}

static void read_arch(struct net *t)
{
    static const char *const known[] = {"llama",      "mistral3", "qwen2",     "qwen3", "qwen2moe",
                                        "qwen3moe",   "gemma2",   "gemma3",    "phi3",  "granite",
                                        "granitemoe", "gpt-oss",  "deepseek2", NULL};
    struct gguf_string arch;
    assert_true(gguf_get_string(t->g, "general.architecture", &arch));
    assert_true(arch.length < sizeof t->arch);
    memcpy(t->arch, arch.text, arch.length);
    assert_true(among(t, known));
}

void reference_open(struct net *t, const char *path, int n_context)
{
    struct err e = {0};
    *t = (struct net){0};
    assert_ok(gguf_open(&t->g, path, &e), &e);
    read_arch(t);
    t->n_layers = count(t, "block_count", 0);
    t->n_embd = count(t, "embedding_length", 0);
    t->n_ff = count(t, "feed_forward_length", 0);
    t->context = count(t, "context_length", 0);
    t->eps = real(t, "attention.layer_norm_rms_epsilon", 0);
    bool gemma = is(t, "gemma2") || is(t, "gemma3");
    t->embed_scale = gemma ? sqrt(t->n_embd) : real(t, "embedding_scale", 1);
    t->residual_scale = real(t, "residual_scale", 1);
    t->logit_divisor = real(t, "logit_scale", 1);
    t->final_softcap = real(t, "final_logit_softcapping", 0);
    t->activation = gemma              ? ACTIVATION_GELU
                    : is(t, "gpt-oss") ? ACTIVATION_CLAMPED
                                       : ACTIVATION_SILU;
    read_attention(t);
    read_rope(t, n_context);
    read_experts(t);
    t->embed = load(t, "token_embd.weight", -1);
    t->norm = load(t, "output_norm.weight", -1);
    t->out = load(t, "output.weight", -1);
    t->n_vocab = t->embed.n_out;
    load_layers(t);
}

void reference_close(struct net *t)
{
    for (int i = 0; i < t->n_layers; i++)
        for (size_t j = 0; j < LAYER_PARTS; j++)
            free(layer_part(&t->layers[i], j)->w);
    free(t->layers);
    free(t->embed.w);
    free(t->norm.w);
    free(t->out.w);
    gguf_free(t->g);
}
