// Ministral 3 and Mistral's other models of that generation: as Llama, with YaRN, and beyond the
// original context the scores of attention are sharpened slowly: queries of position p are
// multiplied by 1 + temperature * ln(1 + floor(p / original context)), as in Llama 4.
#include "model/arch.h"
#include "model/hparams_keys.h"
#include "model/rope.h"

static void read(struct keys *k, struct hparams *h)
{
    h->attn_temperature = (float)keys_positive(k, "attention.temperature_scale", 1e3, 0);
    double all = keys_positive(k, "rope.scaling.yarn_log_multiplier", 100, 0);
    if (h->rope_scaling == ROPE_SCALING_YARN && h->rope_scale < 1)
        h->rope_magnitude /= (float)(1 + 0.1 * all * rope_ln(1 / (double)h->rope_scale));
}

const struct arch arch_mistral3 = {
    .name = "mistral3",
    .rope_layout = ROPE_PAIRS,
    .mixture = true,
    .read = read,
};
