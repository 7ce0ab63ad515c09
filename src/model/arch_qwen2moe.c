// Qwen1.5-MoE and Qwen2-57B-A14B: Qwen2 with a mixture in every layer. The weights of the chosen
// experts are their probabilities among all, not normalized; one more network, which every token
// uses, is added through a gate: sigmoid(gate x) * shared(x).
#include "model/arch.h"
#include "model/hparams_keys.h"

static void read(struct keys *k, struct hparams *h)
{
    h->experts.normalize = false;
    h->experts.n_ff_shared = keys_int(k, "expert_shared_feed_forward_length", 1, 1 << 19, h->n_ff);
}

const struct arch arch_qwen2moe = {
    .name = "qwen2moe",
    .rope_layout = ROPE_HALVES,
    .needs_attn_bias = true,
    .mixture = true,
    .gated_shared = true,
    .read = read,
};
