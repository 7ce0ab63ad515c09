// The metadata of a tiny model, by the keys that GGUF files use: see tiny_plan.h.
#include "support.h"
#include "tiny_plan.h"

#include <stdio.h>
#include <string.h>

static const char *full(char name[96], const struct tiny_model *t, const char *key)
{
    snprintf(name, 96, "%s.%s", t->arch, key);
    return name;
}

// A key with a positive value; 0: the key is not written.
static void put_count(struct gguf_writer *w, const struct tiny_model *t, const char *key, int value)
{
    char name[96];
    if (value)
        gguf_put_u32(w, full(name, t, key), (uint32_t)value);
}

static void put_real(struct gguf_writer *w, const struct tiny_model *t, const char *key,
                     float value)
{
    char name[96];
    if (value > 0)
        gguf_put_f32(w, full(name, t, key), value);
}

static void put_rope(struct gguf_writer *w, const struct tiny_model *t)
{
    static const char *const types[] = {
        [TINY_ROPE_LINEAR] = "linear", [TINY_ROPE_YARN] = "yarn", [TINY_ROPE_LONG] = "longrope"};
    char name[96];
    put_count(w, t, "rope.dimension_count", t->n_rot);
    put_real(w, t, "rope.freq_base", t->freq_base);
    if (t->rope == TINY_ROPE_PLAIN)
        return;
    gguf_put_string(w, full(name, t, "rope.scaling.type"), types[t->rope], strlen(types[t->rope]));
    if (t->rope != TINY_ROPE_LONG)
        put_real(w, t, "rope.scaling.factor", t->rope_factor);
    if (t->rope != TINY_ROPE_LINEAR)
        put_count(w, t, "rope.scaling.original_context_length", t->original_context);
    put_real(w, t, "rope.scaling.attn_factor", t->attn_factor);
    if (t->rope == TINY_ROPE_YARN)
        put_real(w, t, "rope.scaling.yarn_log_multiplier", t->log_multiplier);
}

static void put_attention(struct gguf_writer *w, const struct tiny_model *t)
{
    bool mla = tiny_is(t, "deepseek2"), latent = mla && !t->kv_b;
    put_count(w, t, "attention.head_count", t->n_heads);
    put_count(w, t, "attention.head_count_kv", latent ? 1 : mla ? t->n_heads : t->n_kv_heads);
    put_count(w, t, "attention.key_length", latent ? t->kv_rank + t->n_rot : t->head_dim);
    put_count(w, t, "attention.value_length", latent ? t->kv_rank : t->value_dim);
    if (mla) {
        put_count(w, t, "attention.q_lora_rank", t->q_rank);
        put_count(w, t, "attention.kv_lora_rank", t->kv_rank);
    }
    if (latent) {
        put_count(w, t, "attention.key_length_mla", t->head_dim);
        put_count(w, t, "attention.value_length_mla", t->value_dim);
    }
    put_real(w, t, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_count(w, t, "attention.sliding_window", t->window);
    put_real(w, t, "attention.scale", t->attn_scale);
    put_real(w, t, "attention.temperature_scale", t->temperature);
    put_real(w, t, "attn_logit_softcapping", t->attn_softcap);
    put_real(w, t, "final_logit_softcapping", t->final_softcap);
    put_real(w, t, "embedding_scale", t->embed_scale);
    put_real(w, t, "residual_scale", t->residual_scale);
    put_real(w, t, "logit_scale", t->logit_scale);
}

static void put_experts(struct gguf_writer *w, const struct tiny_model *t)
{
    char name[96];
    if (!t->n_experts)
        return;
    put_count(w, t, "expert_count", t->n_experts);
    put_count(w, t, "expert_used_count", t->n_used);
    if (!tiny_is(t, "llama") && !tiny_is(t, "granitemoe"))
        put_count(w, t, "expert_feed_forward_length", t->n_ff_expert);
    if (tiny_is(t, "deepseek2")) {
        put_count(w, t, "expert_shared_count", t->n_shared);
        put_count(w, t, "expert_group_count", t->n_groups);
        put_count(w, t, "expert_group_used_count", t->n_groups ? t->n_groups_used : 0);
        put_real(w, t, "expert_weights_scale", t->expert_scale);
        put_count(w, t, "expert_gating_func", t->gating);
        gguf_put_bool(w, full(name, t, "expert_weights_norm"), t->expert_norm > 0);
    } else {
        put_count(w, t, "expert_shared_feed_forward_length", t->n_ff_shared);
    }
}

void tiny_plan_put_keys(struct gguf_writer *w, const struct tiny_model *t)
{
    gguf_put_string(w, "general.architecture", t->arch, strlen(t->arch));
    gguf_put_string(w, "general.name", "tiny", 4);
    put_count(w, t, "block_count", t->n_layers);
    put_count(w, t, "context_length", t->context);
    put_count(w, t, "embedding_length", t->n_embd);
    put_count(w, t, "feed_forward_length", t->n_ff);
    put_count(w, t, "leading_dense_block_count", t->n_dense);
    put_attention(w, t);
    put_rope(w, t);
    put_experts(w, t);
}
