// What a tiny model of each architecture has when a test does not say, and the list of variants
// that tests loop over: see tiny_model.h. The numbers are small, odd, and never the real models'.
#include "support.h"
#include "tiny_plan.h"

#include "kernels/blocks.h"

#include <string.h>

// One for each architecture; what is 0 here comes from `common`.
static const struct tiny_model defaults[] = {
    {.arch = "llama", .n_layers = 4},
    {.arch = "mistral3",
     .head_dim = 32,
     .freq_base = 100,
     .rope = TINY_ROPE_YARN,
     .original_context = 16,
     .log_multiplier = 1,
     .temperature = 0.3f},
    {.arch = "qwen2", .n_layers = 4, .bias = true},
    {.arch = "qwen3", .head_dim = 32},
    {.arch = "qwen2moe",
     .bias = true,
     .head_dim = 32,
     .n_experts = 8,
     .n_used = 2,
     .n_ff_expert = 64,
     .n_ff_shared = 96},
    {.arch = "qwen3moe", .head_dim = 32, .n_experts = 8, .n_used = 3, .n_ff_expert = 64},
    {.arch = "gemma2",
     .n_layers = 4,
     .head_dim = 32,
     .tied = true,
     .window = 8,
     .attn_softcap = 2.5f,
     .final_softcap = 6},
    {.arch = "gemma3",
     .n_layers = 7,
     .head_dim = 32,
     .tied = true,
     .window = 8,
     .freq_base = 500000},
    {.arch = "phi3", .head_dim = 32, .window = 12},
    {.arch = "granite",
     .head_dim = 32,
     .embed_scale = 3,
     .residual_scale = 0.6f,
     .attn_scale = 0.11f,
     .logit_scale = 2.5f},
    {.arch = "granitemoe",
     .head_dim = 32,
     .embed_scale = 3,
     .residual_scale = 0.6f,
     .attn_scale = 0.11f,
     .logit_scale = 2.5f,
     .n_ff = 64,
     .n_experts = 8,
     .n_used = 3},
    {.arch = "gpt-oss",
     .n_layers = 4,
     .head_dim = 32,
     .bias = true,
     .window = 8,
     .freq_base = 150000,
     .rope = TINY_ROPE_YARN,
     .rope_factor = 8,
     .sinks = 0.5f,
     .n_experts = 8,
     .n_used = 2,
     .n_ff = 64,
     .n_ff_expert = 64},
    {.arch = "deepseek2",
     .head_dim = 48,
     .value_dim = 32,
     .n_rot = 16,
     .kv_rank = 64,
     .rope = TINY_ROPE_YARN,
     .rope_factor = 8,
     .log_multiplier = 0.0707f,
     .n_experts = 8,
     .n_used = 2,
     .n_ff_expert = 64,
     .n_shared = 2,
     .n_dense = 1,
     .gating = 1,
     .expert_scale = 1},
};

static const struct tiny_model common = {
    .n_layers = 3,
    .n_embd = 64,
    .n_heads = 4,
    .n_kv_heads = 2,
    .n_ff = 96,
    .n_vocab = 320,
    .freq_base = 10000,
    .rope = TINY_ROPE_PLAIN,
    .rope_factor = 4,
    .original_context = 512,
};

// Where `t` says nothing, what `d` says.
static void fill(struct tiny_model *t, const struct tiny_model *d)
{
#define FILL(field) t->field = t->field != 0 ? t->field : d->field
    FILL(n_layers);
    FILL(n_embd);
    FILL(n_heads);
    FILL(n_kv_heads);
    FILL(head_dim);
    FILL(n_ff);
    FILL(n_vocab);
    FILL(context);
    FILL(tied);
    FILL(bias);
    FILL(window);
    FILL(n_rot);
    FILL(freq_base);
    FILL(rope);
    FILL(rope_factor);
    FILL(original_context);
    FILL(attn_factor);
    FILL(log_multiplier);
    FILL(temperature);
    FILL(attn_softcap);
    FILL(final_softcap);
    FILL(embed_scale);
    FILL(residual_scale);
    FILL(attn_scale);
    FILL(logit_scale);
    FILL(sinks);
    FILL(n_experts);
    FILL(n_used);
    FILL(n_ff_expert);
    FILL(n_ff_shared);
    FILL(n_shared);
    FILL(n_dense);
    FILL(n_groups);
    FILL(n_groups_used);
    FILL(gating);
    FILL(expert_scale);
    FILL(expert_norm);
    FILL(q_rank);
    FILL(kv_rank);
    FILL(value_dim);
#undef FILL
}

// TINY_NO has done its work: 0 is "none" from here on.
static void clear_absent(struct tiny_model *t)
{
#define CLEAR(n) n = n > 0 ? n : 0
    CLEAR(t->window);
    CLEAR(t->attn_factor);
    CLEAR(t->log_multiplier);
    CLEAR(t->temperature);
    CLEAR(t->attn_softcap);
    CLEAR(t->final_softcap);
    CLEAR(t->embed_scale);
    CLEAR(t->residual_scale);
    CLEAR(t->attn_scale);
    CLEAR(t->logit_scale);
    CLEAR(t->n_experts);
    CLEAR(t->n_ff_shared);
    CLEAR(t->n_shared);
    CLEAR(t->n_dense);
    CLEAR(t->n_groups);
    CLEAR(t->gating);
    CLEAR(t->expert_scale);
    CLEAR(t->q_rank);
#undef CLEAR
}

struct tiny_model tiny_model_filled(const struct tiny_model *options)
{
    struct tiny_model t = *options;
    t.arch = t.arch ? t.arch : "llama";
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (!strcmp(defaults[i].arch, t.arch))
            fill(&t, &defaults[i]);
    fill(&t, &common);
    clear_absent(&t);
    t.head_dim = t.head_dim ? t.head_dim : t.n_embd / t.n_heads;
    t.value_dim = t.value_dim ? t.value_dim : t.head_dim;
    t.n_rot = t.n_rot ? t.n_rot : t.head_dim;
    t.expert_type = t.expert_type ? t.expert_type : t.type;
    t.n_ff_expert = t.n_ff_expert ? t.n_ff_expert : t.n_ff;
    if (!t.context)
        t.context = t.rope > TINY_ROPE_LINEAR ? 4 * t.original_context : 512;
    if (t.context < 512)
        t.context = 512;
    if (t.n_shared)
        t.n_ff_shared = t.n_shared * t.n_ff_expert;
    return t;
}

bool tiny_is(const struct tiny_model *t, const char *arch)
{
    return !strcmp(t->arch, arch);
}

const struct tiny_arch tiny_archs[] = {
    {"llama", {.arch = "llama"}},
    {"llama3", {.arch = "llama", .rope_factors = true}},
    {"llama-linear", {.arch = "llama", .head_dim = 32, .rope = TINY_ROPE_LINEAR}},
    {"llama-yarn", {.arch = "llama", .head_dim = 32, .rope = TINY_ROPE_YARN}},
    {"mistral", {.arch = "llama", .head_dim = 32, .window = 8}},
    {"mistral3", {.arch = "mistral3"}},
    {"mixtral", {.arch = "llama", .seed = 10, .n_experts = 8, .n_used = 2, .n_ff = 64}},
    {"qwen2", {.arch = "qwen2"}},
    {"qwen2-yarn", {.arch = "qwen2", .head_dim = 32, .rope = TINY_ROPE_YARN}},
    {"qwen3", {.arch = "qwen3"}},
    {"qwen2moe", {.arch = "qwen2moe", .seed = 69}},
    {"qwen3moe", {.arch = "qwen3moe", .seed = 90}},
    {"gemma2", {.arch = "gemma2"}},
    {"gemma2-27b", // known by its number of layers: queries are scaled by n_embd / n_heads
     {.arch = "gemma2", .n_layers = 46, .n_embd = 96, .n_heads = 2, .n_kv_heads = 1, .n_ff = 64}},
    {"gemma3", {.arch = "gemma3"}},
    {"gemma3-linear", {.arch = "gemma3", .rope = TINY_ROPE_LINEAR}},
    {"gemma3-27b",
     {.arch = "gemma3", .n_layers = 62, .n_heads = 4, .n_ff = 64, .rope = TINY_ROPE_LINEAR}},
    {"phi3", {.arch = "phi3"}},
    {"phi3-longrope",
     {.arch = "phi3",
      .window = TINY_NO,
      .n_rot = 24,
      .rope = TINY_ROPE_LONG,
      .attn_factor = 1.19f}},
    {"granite", {.arch = "granite"}},
    {"granitemoe", {.arch = "granitemoe", .seed = 36}},
    {"gpt-oss", {.arch = "gpt-oss", .seed = 27}},
    {"gpt-oss-mxfp4", {.arch = "gpt-oss", .seed = 95, .expert_type = WT_MXFP4}},
    {"deepseek2-lite", {.arch = "deepseek2", .seed = 4}},
    {"deepseek2-old", {.arch = "deepseek2", .seed = 4, .kv_b = true}},
    {"deepseek2-v2",
     {.arch = "deepseek2",
      .seed = 30,
      .q_rank = 64,
      .n_groups = 4,
      .n_groups_used = 2,
      .n_used = 3,
      .expert_scale = 1.7f}},
    {"deepseek2-v3",
     {.arch = "deepseek2",
      .seed = 99,
      .q_rank = 64,
      .n_groups = 4,
      .n_groups_used = 2,
      .n_used = 3,
      .n_shared = 1,
      .gating = 2,
      .expert_norm = 1,
      .expert_scale = 1.7f,
      .log_multiplier = 0.1f}},
    {"deepseek2-v3-old",
     {.arch = "deepseek2",
      .seed = 99,
      .kv_b = true,
      .q_rank = 64,
      .n_groups = 4,
      .n_groups_used = 2,
      .n_used = 3,
      .n_shared = 1,
      .gating = 2,
      .expert_norm = 1,
      .expert_scale = 1.7f,
      .log_multiplier = 0.1f}},
};
const size_t n_tiny_archs = sizeof tiny_archs / sizeof *tiny_archs;

const struct tiny_model *tiny_arch(const char *name)
{
    for (size_t i = 0; i < n_tiny_archs; i++)
        if (!strcmp(tiny_archs[i].name, name))
            return &tiny_archs[i].model;
    fail_msg("no tiny model is named %s", name);
    return NULL;
}

void tiny_ids(int32_t *ids, int n)
{
    for (int i = 0; i < n; i++)
        ids[i] = 3 + 101 * i % 317;
}
