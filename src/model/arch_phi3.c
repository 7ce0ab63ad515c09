// Phi-3, Phi-3.5 and Phi-4 (arXiv 2404.14219): as Llama with halves rotated; q, k and v are one
// matrix, gate and up another. Long contexts come by LongRoPE (arXiv 2402.13753): a factor for each
// angle, one set for up to the original context and one beyond, and longer vectors for all.
#include "model/arch.h"

const struct arch arch_phi3 = {
    .name = "phi3",
    .rope_layout = ROPE_HALVES,
    .reads_window = true,
    .fused = true,
};
