// Recipes: see recipe.h.
#include "hub/recipe.h"

#include "hub/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LEAST_WEIGHTS = 4096 }; // of a matrix that is worth quantizing

static const struct recipe recipes[] = {
    {"Q8_0", WT_Q8_0, WT_Q8_0, 7},    {"Q6_K", WT_Q6_K, WT_Q6_K, 18},
    {"Q5_K_M", WT_Q5_K, WT_Q6_K, 17}, {"Q4_K_M", WT_Q4_K, WT_Q6_K, 15},
    {"Q4_0", WT_Q4_0, WT_Q6_K, 2},    {"Q3_K_M", WT_Q3_K, WT_Q6_K, 12},
    {"Q2_K", WT_Q2_K, WT_Q6_K, 10},   {"IQ4_XS", WT_IQ4_XS, WT_Q6_K, 30},
    {"F16", WT_F16, WT_F16, 1},       {"BF16", WT_BF16, WT_BF16, 32},
};

const struct recipe *recipe_find(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (!strcasecmp(recipes[i].name, name))
            return &recipes[i];
    return NULL;
}

// A number of the model's architecture, or the largest of an array of them; 0: not there.
static int number_of(const struct gguf *g, const struct gguf_string *arch, const char *what)
{
    char name[128];
    int64_t most = 0;
    snprintf(name, sizeof name, "%.*s.%s", (int)(arch->length < 64 ? arch->length : 64), arch->text,
             what);
    const struct gguf_key *k = gguf_find(g, name);
    for (uint64_t i = 0; k && i < k->count; i++) {
        int64_t n;
        if (gguf_int_at(k, i, &n) && n > most)
            most = n;
    }
    return most < 1 << 20 ? (int)most : 1 << 20;
}

struct recipe_model recipe_model_of(const struct gguf *g)
{
    struct gguf_string arch = {"", 0};
    gguf_get_string(g, "general.architecture", &arch);
    int heads = number_of(g, &arch, "attention.head_count");
    int kv_heads = number_of(g, &arch, "attention.head_count_kv");
    return (struct recipe_model){
        .n_layers = number_of(g, &arch, "block_count"),
        .n_experts = number_of(g, &arch, "expert_count"),
        .heads_per_kv = kv_heads ? heads / kv_heads : 1,
        .tied = !gguf_find_tensor(g, "output.weight"),
    };
}

// "attn_v" of "blk.7.attn_v.weight", and its layer; the whole name, and -1, of what is in no layer.
static const char *part_of(const struct gguf_tensor *t, int *layer)
{
    const char *name = t->name.text;
    *layer = -1;
    if (strncmp(name, "blk.", 4))
        return name;
    char *end;
    long n = strtol(name + 4, &end, 10);
    if (end == name + 4 || *end != '.' || n < 0 || n > 1 << 20)
        return name;
    *layer = (int)n;
    return end + 1;
}

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

bool recipe_takes(const struct gguf_tensor *t)
{
    static const char *const kept[] = {"_norm",       "ffn_gate_inp", "position_embd",
                                       "token_types", "ssm_",         "rope_"};
    size_t length = t->name.length;
    if (t->dims[1] < 2 || length < 7 || strcmp(t->name.text + length - 7, ".weight"))
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strstr(t->name.text, kept[i]))
            return false;
    return t->dims[0] >= LEAST_WEIGHTS || t->dims[1] >= LEAST_WEIGHTS / t->dims[0];
}

bool recipe_is_embedding(const struct gguf_tensor *t)
{
    return !strcmp(t->name.text, "token_embd.weight");
}

bool recipe_is_output(const struct recipe_model *m, const struct gguf_tensor *t)
{
    return !strcmp(t->name.text, "output.weight") || (m->tied && recipe_is_embedding(t));
}

static uint32_t attn_v_type(const struct recipe *r, const struct recipe_model *m, int layer)
{
    uint32_t type = r->base;
    if (r->base == WT_Q3_K)
        type = layer < 2 ? WT_Q5_K : WT_Q4_K;
    else if (r->base == WT_Q2_K)
        type = m->heads_per_kv >= 4 ? WT_Q4_K : WT_Q3_K;
    else if (r->base == WT_IQ4_XS && m->heads_per_kv >= 4)
        type = WT_Q5_K;
    else if ((r->base == WT_Q4_K || r->base == WT_Q5_K) && mix_matters_more(layer, m->n_layers))
        type = WT_Q6_K;
    // With eight heads that share it, it is an eighth of attn_q: a bit more costs next to nothing.
    if (m->heads_per_kv >= 8 && (type == WT_Q3_K || type == WT_Q4_K))
        type = WT_Q5_K;
    return type;
}

static uint32_t ffn_down_type(const struct recipe *r, const struct recipe_model *m, int layer)
{
    switch (r->base) {
    case WT_Q4_K:
    case WT_Q5_K:
        return mix_matters_more(layer, m->n_layers) ? WT_Q6_K : r->base;
    case WT_Q3_K:
        return layer < m->n_layers / 16 ? WT_Q5_K : WT_Q4_K;
    case WT_Q2_K:
        return WT_Q3_K;
    case WT_IQ4_XS:
        return layer < m->n_layers / 8 && !m->importance ? WT_Q5_K : r->base;
    default:
        return r->base;
    }
}

static uint32_t attn_output_type(const struct recipe *r, const struct recipe_model *m)
{
    bool narrow =
        r->base == WT_Q2_K || r->base == WT_Q3_K || r->base == WT_Q4_K || r->base == WT_IQ4_XS;
    if (m->n_experts == 8 && narrow)
        return WT_Q5_K;
    return r->base == WT_Q2_K ? WT_Q3_K : r->base == WT_Q3_K ? WT_Q4_K : r->base;
}

// Queries, keys and values in one matrix: as much more as values get, on average.
static uint32_t attn_qkv_type(const struct recipe *r)
{
    return r->base == WT_Q3_K   ? WT_Q4_K
           : r->base == WT_Q4_K ? WT_Q5_K
           : r->base == WT_Q5_K ? WT_Q6_K
                                : r->base;
}

uint32_t recipe_type(const struct recipe *r, const struct recipe_model *m,
                     const struct gguf_tensor *t)
{
    int layer;
    const char *part = part_of(t, &layer);
    uint32_t type = r->base;
    bool quantizes = wtype_info(type)->width > 1;
    if (recipe_is_output(m, t))
        type = r->output;
    else if (quantizes && m->n_experts == 8 && (begins(part, "attn_v.") || begins(part, "attn_k.")))
        type = WT_Q8_0;
    else if (begins(part, "attn_v."))
        type = attn_v_type(r, m, layer);
    else if (begins(part, "attn_output."))
        type = attn_output_type(r, m);
    else if (begins(part, "attn_qkv."))
        type = attn_qkv_type(r);
    else if (begins(part, "ffn_down"))
        type = ffn_down_type(r, m, layer);
    return mix_fallback(type, t->dims[0], t->type);
}
