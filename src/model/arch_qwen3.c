// Qwen 3 (arXiv 2505.09388): as Qwen2 without biases; each head of q and k is normed before it is
// rotated.
#include "model/arch.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .rope_layout = ROPE_HALVES,
    .head_norms = true,
};
