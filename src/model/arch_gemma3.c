// Gemma 3 (arXiv 2503.19786), its text part: Gemma 2 without soft caps, with norms of the heads of
// q and k. Five layers see a window and rotate by a base of their own, the sixth sees everything
// and is the only one whose positions are stretched.
#include "model/arch.h"
#include "model/hparams_keys.h"

#include <math.h>

enum { LAYERS_27B = 62 };

static void read(struct keys *k, struct hparams *h)
{
    h->glu = GLU_GELU;
    h->embed_scale = sqrtf((float)h->n_embd);
    h->window = keys_int(k, "attention.sliding_window", 0, 1 << 28, 0);
    h->window_period = keys_int(k, "attention.sliding_window_pattern", 1, MODEL_MAX_LAYERS, 6);
    h->local_theta = (float)keys_positive(k, "rope.freq_base_swa", 1e12, 10000);
    if (!keys_has(k, "rope.freq_base"))
        h->rope_theta = 1e6f;
    h->final_softcap = keys_has(k, "final_logit_softcapping")
                           ? (float)keys_positive(k, "final_logit_softcapping", 1e6, 30)
                           : 0;
    // The 27B scales queries by n_embd / n_heads, which no key says; the others by their length.
    if (h->n_layers == LAYERS_27B && !keys_has(k, "attention.scale") && !k->rc)
        h->attn_scale = 1 / sqrtf((float)h->n_embd / (float)h->n_heads);
}

const struct arch arch_gemma3 = {
    .name = "gemma3",
    .rope_layout = ROPE_HALVES,
    .head_norms = true,
    .post_norms = true,
    .read = read,
};
