// Llama 1 to 3, Mistral and the many models of their shape: grouped-query attention with rotated
// pairs (converters permute the rows of q and k to match), a gated feed-forward network, RMS norms
// before both. Llama 3.1 brings rope_freqs.weight, which divides the frequencies. Mistral 7B v0.1
// lets each layer see a sliding window of 4096 positions. Mixtral has a mixture of experts in every
// layer (arXiv 2401.04088): a softmax over the logits of the chosen two, which is the softmax over
// all of them, normalized.
#include "model/arch.h"

const struct arch arch_llama = {
    .name = "llama",
    .rope_layout = ROPE_PAIRS,
    .reads_window = true,
    .mixture = true,
};
