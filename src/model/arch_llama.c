// Llama 1 to 3, Mistral and the many models of their shape: grouped-query attention with rotated
// pairs (converters permute the rows of q and k to match), a gated feed-forward network, RMS norms
// before both. Llama 3.1 brings rope_freqs.weight, which divides the frequencies. Mistral 7B v0.1
// lets each layer see a sliding window of 4096 positions.
#include "model/arch.h"

static void record_layer(struct forward *f, const struct layer *y)
{
    block_attention(f, y);
    block_ffn(f, y);
}

const struct arch arch_llama = {
    .name = "llama",
    .rope_layout = ROPE_PAIRS,
    .reads_window = true,
    .record_layer = record_layer,
};
