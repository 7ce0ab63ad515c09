// Granite 3 (IBM's "Granite 3.0 language models", section 2): as Llama, with four numbers on top:
// embeddings and what blocks add are multiplied, scores of attention are scaled by a number of the
// model's own, and logits are divided.
#include "model/arch.h"
#include "model/hparams_keys.h"

static void read(struct keys *k, struct hparams *h)
{
    h->embed_scale = (float)keys_positive(k, "embedding_scale", 1e6, 1);
    h->residual_scale = (float)keys_positive(k, "residual_scale", 1e6, 1);
    h->logit_scale = (float)(1 / keys_positive(k, "logit_scale", 1e6, 1));
    if (h->experts.n)
        h->experts.n_ff_shared = keys_int(k, "expert_shared_feed_forward_length", 0, 1 << 19, 0);
}

const struct arch arch_granite = {
    .name = "granite",
    .rope_layout = ROPE_PAIRS,
    .read = read,
};

const struct arch arch_granitemoe = {
    .name = "granitemoe",
    .rope_layout = ROPE_PAIRS,
    .mixture = true,
    .read = read,
};
