// The tensors of a tiny model, by the names that GGUF files use: see tiny_plan.h.
#include "support.h"
#include "tiny_plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && !strcmp(name + n - m, with);
}

// What files keep in F32 whatever the type of their matrices is.
static bool stays_f32(const struct tiny_tensor *d)
{
    return !d->n_out || ends(d->name, ".bias") || ends(d->name, "ffn_gate_inp.weight");
}

static void set_numbers(struct tiny_tensor *d, const struct tiny_model *t)
{
    const char *name = d->name;
    if (strstr(name, "norm")) {
        d->mean = 1;
        d->spread = 0.1f;
    } else if (strstr(name, "rope_freqs")) {
        d->mean = 2;
        d->spread = 0.2f;
    } else if (strstr(name, "rope_factors")) {
        d->mean = strstr(name, "long") ? 5 : 1.3f;
        d->spread = 0.1f;
    } else if (strstr(name, "attn_sinks")) {
        d->mean = t->sinks;
        d->spread = 1;
    } else if (ends(name, ".bias")) {
        d->spread = strstr(name, "exp_probs") ? 0.1f : 0.3f;
    } else if (strstr(name, "ffn_gate_inp")) { // experts told apart clearly
        d->spread = 2 / sqrtf((float)d->n_in);
    } else if (!strcmp(name, "token_embd.weight")) { // a tied output wants it small
        d->spread = tiny_is(t, "gemma2") || tiny_is(t, "gemma3") ? 0.2f : 1;
        d->spread /= t->embed_scale > 0 ? t->embed_scale : 1;
    } else if (!strcmp(name, "output.weight")) {
        d->spread = 1;
    } else {
        d->spread = 1 / sqrtf((float)d->n_in);
    }
}

static bool left_out(const struct tiny_model *t, const char *full, const char *name)
{
    const char *out = t->leave_out;
    return out && (!strcmp(full, out) || !strcmp(name, out) || (*out == '.' && ends(name, out)));
}

static void add(struct tiny_plan *p, int layer, const char *name, int n_in, int n_out, int n_mats)
{
    assert_true(p->n_tensors < TINY_MAX_TENSORS);
    struct tiny_tensor *d = &p->tensors[p->n_tensors];
    *d = (struct tiny_tensor){.n_in = n_in, .n_out = n_out, .n_mats = n_mats};
    if (layer < 0)
        snprintf(d->name, sizeof d->name, "%s", name);
    else
        snprintf(d->name, sizeof d->name, "blk.%d.%s", layer, name);
    if (left_out(&p->t, d->name, name))
        return;
    p->n_tensors++;
    set_numbers(d, &p->t);
    if (!stays_f32(d))
        d->type = strstr(name, "_exps") ? p->t.expert_type : p->t.type;
}

static void add_mla(struct tiny_plan *p, int l)
{
    const struct tiny_model *t = &p->t;
    int key = t->head_dim, nope = key - t->n_rot, value = t->value_dim, h = t->n_heads;
    if (t->q_rank) {
        add(p, l, "attn_q_a.weight", t->n_embd, t->q_rank, 0);
        add(p, l, "attn_q_a_norm.weight", t->q_rank, 0, 0);
        add(p, l, "attn_q_b.weight", t->q_rank, h * key, 0);
    } else {
        add(p, l, "attn_q.weight", t->n_embd, h * key, 0);
    }
    add(p, l, "attn_kv_a_mqa.weight", t->n_embd, t->kv_rank + t->n_rot, 0);
    add(p, l, "attn_kv_a_norm.weight", t->kv_rank, 0, 0);
    if (t->kv_b) {
        add(p, l, "attn_kv_b.weight", t->kv_rank, h * (nope + value), 0);
    } else {
        add(p, l, "attn_k_b.weight", nope, t->kv_rank, h);
        add(p, l, "attn_v_b.weight", t->kv_rank, value, h);
    }
    add(p, l, "attn_output.weight", h * value, t->n_embd, 0);
}

static void add_attention(struct tiny_plan *p, int l)
{
    const struct tiny_model *t = &p->t;
    int q = t->n_heads * t->head_dim, kv = t->n_kv_heads * t->head_dim;
    add(p, l, "attn_norm.weight", t->n_embd, 0, 0);
    if (tiny_is(t, "deepseek2")) {
        add_mla(p, l);
        return;
    }
    if (tiny_is(t, "phi3")) {
        add(p, l, "attn_qkv.weight", t->n_embd, q + 2 * kv, 0);
    } else {
        add(p, l, "attn_q.weight", t->n_embd, q, 0);
        add(p, l, "attn_k.weight", t->n_embd, kv, 0);
        add(p, l, "attn_v.weight", t->n_embd, kv, 0);
    }
    if (t->bias) {
        add(p, l, "attn_q.bias", q, 0, 0);
        add(p, l, "attn_k.bias", kv, 0, 0);
        add(p, l, "attn_v.bias", kv, 0, 0);
    }
    if (tiny_is(t, "qwen3") || tiny_is(t, "qwen3moe") || tiny_is(t, "gemma3")) {
        add(p, l, "attn_q_norm.weight", t->head_dim, 0, 0);
        add(p, l, "attn_k_norm.weight", t->head_dim, 0, 0);
    }
    add(p, l, "attn_output.weight", q, t->n_embd, 0);
    if (tiny_is(t, "gpt-oss")) {
        add(p, l, "attn_output.bias", t->n_embd, 0, 0);
        add(p, l, "attn_sinks.weight", t->n_heads, 0, 0);
    }
}

static void add_experts(struct tiny_plan *p, int l)
{
    const struct tiny_model *t = &p->t;
    int ff = t->n_ff_expert, n = t->n_experts, shared = t->n_ff_shared;
    add(p, l, "ffn_gate_inp.weight", t->n_embd, n, 0);
    add(p, l, "ffn_gate_exps.weight", t->n_embd, ff, n);
    add(p, l, "ffn_up_exps.weight", t->n_embd, ff, n);
    add(p, l, "ffn_down_exps.weight", ff, t->n_embd, n);
    if (tiny_is(t, "gpt-oss")) {
        add(p, l, "ffn_gate_inp.bias", n, 0, 0);
        add(p, l, "ffn_gate_exps.bias", ff, n, 0);
        add(p, l, "ffn_up_exps.bias", ff, n, 0);
        add(p, l, "ffn_down_exps.bias", t->n_embd, n, 0);
    }
    if (t->gating == 2)
        add(p, l, "exp_probs_b.bias", n, 0, 0);
    if (shared) {
        if (tiny_is(t, "qwen2moe"))
            add(p, l, "ffn_gate_inp_shexp.weight", t->n_embd, 0, 0);
        add(p, l, "ffn_gate_shexp.weight", t->n_embd, shared, 0);
        add(p, l, "ffn_up_shexp.weight", t->n_embd, shared, 0);
        add(p, l, "ffn_down_shexp.weight", shared, t->n_embd, 0);
    }
}

static void add_feed_forward(struct tiny_plan *p, int l)
{
    const struct tiny_model *t = &p->t;
    bool gemma = tiny_is(t, "gemma2") || tiny_is(t, "gemma3");
    if (gemma || tiny_is(t, "gpt-oss")) // gpt-oss: the norm before the feed-forward
        add(p, l, "post_attention_norm.weight", t->n_embd, 0, 0);
    if (!tiny_is(t, "gpt-oss"))
        add(p, l, "ffn_norm.weight", t->n_embd, 0, 0);
    if (t->n_experts && l >= t->n_dense) {
        add_experts(p, l);
    } else if (tiny_is(t, "phi3")) {
        add(p, l, "ffn_up.weight", t->n_embd, 2 * t->n_ff, 0);
        add(p, l, "ffn_down.weight", t->n_ff, t->n_embd, 0);
    } else {
        add(p, l, "ffn_gate.weight", t->n_embd, t->n_ff, 0);
        add(p, l, "ffn_up.weight", t->n_embd, t->n_ff, 0);
        add(p, l, "ffn_down.weight", t->n_ff, t->n_embd, 0);
    }
    if (gemma)
        add(p, l, "post_ffw_norm.weight", t->n_embd, 0, 0);
}

void tiny_plan_tensors(struct tiny_plan *p)
{
    const struct tiny_model *t = &p->t;
    add(p, -1, "token_embd.weight", t->n_embd, t->n_vocab, 0);
    if (t->rope_factors)
        add(p, -1, "rope_freqs.weight", t->n_rot / 2, 0, 0);
    if (t->rope == TINY_ROPE_LONG) {
        add(p, -1, "rope_factors_long.weight", t->n_rot / 2, 0, 0);
        add(p, -1, "rope_factors_short.weight", t->n_rot / 2, 0, 0);
    }
    for (int l = 0; l < t->n_layers; l++) {
        add_attention(p, l);
        add_feed_forward(p, l);
    }
    add(p, -1, "output_norm.weight", t->n_embd, 0, 0);
    if (!t->tied)
        add(p, -1, "output.weight", t->n_embd, t->n_vocab, 0);
}
