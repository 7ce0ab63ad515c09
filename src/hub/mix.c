// Type mixes: see mix.h. Numbers of general.file_type: the GGUF specification.
#include "hub/mix.h"

#include "kernels/blocks.h"

#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

static const struct mix mixes[] = {
    {"F32", WT_F32, WT_F32, WT_F32, 0},
    {"F16", WT_F16, WT_F16, WT_F16, 1},
    {"BF16", WT_BF16, WT_BF16, WT_BF16, 32},
    {"Q8_0", WT_Q8_0, WT_Q8_0, WT_Q8_0, 7},
    {"Q4_0", WT_Q4_0, WT_Q6_K, WT_Q4_0, 2},
    {"Q4_1", WT_Q4_1, WT_Q6_K, WT_Q4_1, 3},
    {"Q5_0", WT_Q5_0, WT_Q6_K, WT_Q5_0, 8},
    {"Q5_1", WT_Q5_1, WT_Q6_K, WT_Q5_1, 9},
    {"Q2_K", WT_Q2_K, WT_Q6_K, WT_Q2_K, 10},
    {"Q3_K", WT_Q3_K, WT_Q6_K, WT_Q3_K, 11},
    {"Q4_K", WT_Q4_K, WT_Q6_K, WT_Q4_K, 14},
    {"Q5_K", WT_Q5_K, WT_Q6_K, WT_Q5_K, 16},
    {"Q6_K", WT_Q6_K, WT_Q6_K, WT_Q6_K, 18},
    {"Q4_K_M", WT_Q4_K, WT_Q6_K, WT_Q6_K, 15},
    {"Q5_K_M", WT_Q5_K, WT_Q6_K, WT_Q6_K, 17},
    {"IQ4_NL", WT_IQ4_NL, WT_Q6_K, WT_IQ4_NL, 25},
    {"IQ4_XS", WT_IQ4_XS, WT_Q6_K, WT_IQ4_XS, 30},
    {"IQ3_S", WT_IQ3_S, WT_Q6_K, WT_IQ3_S, 26},
    {"IQ3_XXS", WT_IQ3_XXS, WT_Q6_K, WT_IQ3_XXS, 23},
    {"IQ2_S", WT_IQ2_S, WT_Q6_K, WT_IQ2_S, 28},
    {"IQ2_XS", WT_IQ2_XS, WT_Q6_K, WT_IQ2_XS, 20},
    {"IQ2_XXS", WT_IQ2_XXS, WT_Q6_K, WT_IQ2_XXS, 19},
    {"IQ1_M", WT_IQ1_M, WT_Q6_K, WT_IQ1_M, 31},
    {"IQ1_S", WT_IQ1_S, WT_Q6_K, WT_IQ1_S, 24},
    {"MXFP4", WT_MXFP4, WT_Q6_K, WT_MXFP4, 38},
    {"TQ2_0", WT_TQ2_0, WT_Q6_K, WT_TQ2_0, 37},
    {"TQ1_0", WT_TQ1_0, WT_Q6_K, WT_TQ1_0, 36},
};

const struct mix *mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (!strcasecmp(mixes[i].name, name))
            return &mixes[i];
    return NULL;
}

bool mix_matters_more(int layer, int n_layers)
{
    int eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

// What a row gets that is no whole number of blocks: the nearest format with smaller ones.
static uint32_t smaller_blocks(uint32_t type)
{
    switch (type) {
    case WT_Q4_K:
        return WT_Q5_0;
    case WT_Q5_K:
        return WT_Q5_1;
    case WT_TQ1_0:
    case WT_TQ2_0:
        return WT_Q4_0;
    case WT_Q6_K:
        return WT_Q8_0;
    default: // the narrow ones
        return wtype_info(type)->width == BLOCK_K ? WT_IQ4_NL : WT_F16;
    }
}

uint32_t mix_fallback(uint32_t type, uint64_t n_in, uint32_t last)
{
    if (n_in % wtype_info(type)->width)
        type = smaller_blocks(type);
    return n_in % wtype_info(type)->width ? last : type;
}

uint32_t mix_type(const struct mix *m, enum mix_role role, int layer, int n_layers, uint64_t n_in)
{
    uint32_t type = m->base;
    if (role == MIX_VECTOR)
        return WT_F32;
    if (role == MIX_OUTPUT)
        type = m->output;
    else if ((role == MIX_ATTN_V || role == MIX_FFN_DOWN) && mix_matters_more(layer, n_layers))
        type = m->more;
    return mix_fallback(type, n_in, WT_F16);
}
