// Recipes: which tensor of a model gets which weight format when it is quantized to a type like
// Q4_K_M. They are those of the model files in circulation, so that a size and a quality are what
// their name lets expect; mix.h has the plainer ones of random models.
//
//   matrices                     the format of the name
//   the output matrix            Q6_K (also the embedding that serves as one)
//   attn_v, ffn_down             Q4_K_M, Q5_K_M: Q6_K in the layers that matter more (mix.h);
//                                Q3_K_M: Q5_K in the first layers, else Q4_K; Q2_K: Q3_K
//   attn_output                  Q3_K_M: Q4_K; Q2_K: Q3_K
//   attn_k, attn_v of 8 experts  Q8_0: they are small beside the experts
//   norms, biases, routers       F32, whatever they were
//
// The experts of a layer are one tensor, with the format that its single matrix would get.
#pragma once

#include "gguf/gguf.h"

struct recipe {
    const char *name;
    uint32_t base, output; // enum wtype
    uint32_t file_type;    // general.file_type
};

const struct recipe *recipe_find(const char *name); // NULL: unknown; case does not matter
#define RECIPE_NAMES "Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q2_K, IQ4_XS, F16, BF16"

// What the rules depend on besides a tensor's name.
struct recipe_model {
    int n_layers, n_experts;
    int heads_per_kv; // attention heads that share keys and values
    bool tied;        // no output matrix, the embedding serves
    bool importance;  // an importance matrix is at hand
};
struct recipe_model recipe_model_of(const struct gguf *g);

// Whether a tensor is a matrix that is quantized; what is not stays F32.
bool recipe_takes(const struct gguf_tensor *t);
bool recipe_is_output(const struct recipe_model *m, const struct gguf_tensor *t);
bool recipe_is_embedding(const struct gguf_tensor *t);
// The format of a tensor that recipe_takes. Rows that are no whole number of blocks get smaller
// ones, or keep what they have.
uint32_t recipe_type(const struct recipe *r, const struct recipe_model *m,
                     const struct gguf_tensor *t);
