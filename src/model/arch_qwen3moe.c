// Qwen3-30B-A3B, Qwen3-235B-A22B and Qwen3-Coder: Qwen3 with a mixture in every layer, the weights
// of the chosen experts normalized to a sum of one.
#include "model/arch.h"

const struct arch arch_qwen3moe = {
    .name = "qwen3moe",
    .rope_layout = ROPE_HALVES,
    .head_norms = true,
    .mixture = true,
};
