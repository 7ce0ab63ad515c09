// Qwen 2 and 2.5: as Llama, but halves of a head are rotated against each other and q, k and v have
// biases. The configurations of Qwen 2 and 2.5 name a sliding window, and in the same breath switch
// it off; where it would be on, it is for the layers above a number that GGUF files do not carry.
// So every layer sees everything, as in training.
#include "model/arch.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .rope_layout = ROPE_HALVES,
    .needs_attn_bias = true,
};
