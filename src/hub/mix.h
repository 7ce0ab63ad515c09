// Type mixes: which tensor of a model gets which weight format under a name like Q4_K_M.
//
// The rules are those that model files in circulation follow: matrices in the format of the name,
// norms and biases in F32, the output matrix in Q6_K where the name's format is narrower, and under
// Q4_K_M and Q5_K_M about half of the layers' attn_v and ffn_down, the most sensitive ones, in Q6_K
// too. Other names stand for one format everywhere, so that a bench says what the format costs. A
// matrix whose rows are no whole number of blocks falls back to a format with smaller ones.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum mix_role {
    MIX_VECTOR, // norms, biases
    MIX_EMBEDDING,
    MIX_OUTPUT, // the output matrix, also when it is the embedding
    MIX_ATTN_V,
    MIX_FFN_DOWN,
    MIX_MATRIX, // any other
};

struct mix {
    const char *name;
    uint32_t base;      // an enum wtype
    uint32_t output;    // of the output matrix
    uint32_t more;      // of attn_v and ffn_down in the layers that matter more
    uint32_t file_type; // general.file_type
};

const struct mix *mix_find(const char *name); // NULL: unknown; case does not matter

// Every name, for sentences.
#define MIX_NAMES                                                                                  \
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q4_K_M, Q5_K_M, " \
    "IQ4_NL, IQ4_XS, IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, MXFP4, TQ2_0, TQ1_0"

// The weight format of a tensor with rows of n_in weights in layer `layer` of n_layers.
uint32_t mix_type(const struct mix *m, enum mix_role role, int layer, int n_layers, uint64_t n_in);

// The format of rows of n_in weights that were to get `type`: it, or, where they are no whole
// number of its blocks, one with smaller blocks, or `last`.
uint32_t mix_fallback(uint32_t type, uint64_t n_in, uint32_t last);

// Whether a layer is one of the half whose attn_v and ffn_down get more: the first and the last
// eighth, and every third between.
bool mix_matters_more(int layer, int n_layers);
