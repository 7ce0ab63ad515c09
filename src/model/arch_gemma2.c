// Gemma 2 (arXiv 2408.00118): embeddings times sqrt(n_embd), norms before and after each block,
// GELU instead of SiLU, soft caps on the scores of attention and on logits, and every other layer,
// the first among them, sees a window. Converters add the one to the weights of its norms.
#include "model/arch.h"
#include "model/hparams_keys.h"

#include <math.h>

enum { LAYERS_27B = 46 };

static void read(struct keys *k, struct hparams *h)
{
    h->glu = GLU_GELU;
    h->embed_scale = sqrtf((float)h->n_embd);
    h->window = keys_int(k, "attention.sliding_window", 1, 1 << 28, 4096);
    h->window_period = 2;
    h->attn_softcap = (float)keys_positive(k, "attn_logit_softcapping", 1e6, 50);
    h->final_softcap = (float)keys_positive(k, "final_logit_softcapping", 1e6, 30);
    // The 27B scales queries by n_embd / n_heads, which no key says; the others by their length.
    if (h->n_layers == LAYERS_27B && !keys_has(k, "attention.scale") && !k->rc)
        h->attn_scale = 1 / sqrtf((float)h->n_embd / (float)h->n_heads);
}

const struct arch arch_gemma2 = {
    .name = "gemma2",
    .rope_layout = ROPE_HALVES,
    .post_norms = true,
    .read = read,
};
