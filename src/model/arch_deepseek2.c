// DeepSeek V2 (arXiv 2405.04434), V3 and R1 (arXiv 2412.19437), and others of their shape: latent
// attention, some dense layers, then mixtures with shared experts, whose router may choose groups
// first. V3 scores by sigmoid and adds a bias for choosing only. Where YaRN stretches positions it
// is the scores of attention that are sharpened, not the rotated vectors.
#include "model/arch.h"
#include "model/hparams_keys.h"
#include "model/rope.h"

#include <math.h>

enum { MAX_RANK = 1 << 14, GATING_SOFTMAX = 1, GATING_SIGMOID = 2, MAX_FF = 1 << 19 };

// Files say how heads were made (key_length_mla) when they hold k_up and v_up apart; then
// key_length is what the cache holds.
static void read_latent(struct keys *k, struct hparams *h)
{
    struct latent_hparams *m = &h->latent;
    m->absorbed = keys_has(k, "attention.key_length_mla");
    m->kv_rank = keys_int(k, "attention.kv_lora_rank", 1, MAX_RANK, KEYS_REQUIRED);
    m->q_rank = keys_int(k, "attention.q_lora_rank", 0, MAX_RANK, 0);
    const char *keys = m->absorbed ? "attention.key_length_mla" : "attention.key_length";
    const char *values = m->absorbed ? "attention.value_length_mla" : "attention.value_length";
    int n_key = keys_int(k, keys, 1, MAX_RANK, KEYS_REQUIRED);
    m->n_value = keys_int(k, values, 1, MAX_RANK, KEYS_REQUIRED);
    m->n_plain = n_key - h->n_rot;
    if (!k->rc && (m->n_plain < 1 ||
                   (m->absorbed ? h->head_dim != m->kv_rank + h->n_rot : m->n_value > n_key))) {
        k->rc = err_set(k->e, ERR_FAILED,
                        "%s: heads of %d dimensions of which %d are rotated, values of %d and a "
                        "rank of %d do not belong together; the file is damaged",
                        k->path, n_key, h->n_rot, m->n_value, m->kv_rank);
    }
    h->n_kv_heads = m->absorbed ? 1 : h->n_heads;
    double sharper = 1, all = keys_positive(k, "rope.scaling.yarn_log_multiplier", 100, 0);
    if (h->rope_scaling == ROPE_SCALING_YARN && all > 0) {
        sharper += all * rope_ln(1 / (double)h->rope_scale);
        h->rope_magnitude = 1;
    }
    h->attn_scale = (float)(sharper * sharper / sqrt((double)n_key));
}

static void read_mixture(struct keys *k, struct hparams *h)
{
    struct experts_hparams *x = &h->experts;
    x->n_dense_layers = keys_int(k, "leading_dense_block_count", 0, MODEL_MAX_LAYERS, 0);
    int shared = keys_int(k, "expert_shared_count", 0, MODEL_MAX_EXPERTS, 0);
    int gating = keys_int(k, "expert_gating_func", GATING_SOFTMAX, GATING_SIGMOID, GATING_SOFTMAX);
    x->score = gating == GATING_SIGMOID ? ROUTE_SIGMOID : ROUTE_SOFTMAX;
    x->normalize = keys_flag(k, "expert_weights_norm", false);
    x->scale = (float)keys_positive(k, "expert_weights_scale", 1e3, 1);
    x->n_groups = keys_int(k, "expert_group_count", 1, x->n, 1);
    x->n_groups_used = keys_int(k, "expert_group_used_count", 1, x->n_groups, x->n_groups);
    x->n_ff_shared = shared <= MAX_FF / x->n_ff ? shared * x->n_ff : 0;
    if (!k->rc && (shared > MAX_FF / x->n_ff || x->n % x->n_groups ||
                   x->n_used > x->n / x->n_groups * x->n_groups_used))
        k->rc = err_set(k->e, ERR_FAILED,
                        "%s: %d experts in %d groups, of which %d are used, and %d shared ones do "
                        "not belong together; the file is damaged",
                        k->path, x->n, x->n_groups, x->n_groups_used, shared);
}

static void read(struct keys *k, struct hparams *h)
{
    read_latent(k, h);
    if (h->experts.n)
        read_mixture(k, h);
}

const struct arch arch_deepseek2 = {
    .name = "deepseek2",
    .rope_layout = ROPE_PAIRS,
    .mixture = true,
    .latent = true,
    .read = read,
};
