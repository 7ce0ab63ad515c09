// gpt-oss (arXiv 2508.10925): biases everywhere, a sink for each head that takes part in the
// softmax of attention and adds nothing, every other layer sees a window of 128 positions, the
// first among them, and a mixture whose weights are a softmax over the logits of the chosen. Its
// experts clamp what goes into their gate. Positions are stretched by YaRN with bounds that are not
// rounded to whole dimensions.
#include "model/arch.h"
#include "model/hparams_keys.h"

static void read(struct keys *k, struct hparams *h)
{
    h->glu = GLU_CLAMPED;
    h->window = keys_int(k, "attention.sliding_window", 0, 1 << 28, KEYS_REQUIRED);
    h->window_period = 2;
    h->experts.score = ROUTE_SOFTMAX_CHOSEN;
    h->experts.normalize = false;
    h->yarn.whole = false;
}

const struct arch arch_gpt_oss = {
    .name = "gpt-oss",
    .rope_layout = ROPE_HALVES,
    .needs_attn_bias = true,
    .sinks = true,
    .more_biases = true,
    .mixture = true,
    .ffn_norm = "post_attention_norm.weight",
    .read = read,
};
