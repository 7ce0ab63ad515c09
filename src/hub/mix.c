// Type mixes: see mix.h. Numbers of general.file_type: the GGUF specification.
#include "hub/mix.h"

#include "kernels/blocks.h"

#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

static const struct mix mixes[] = {
    {"F32", WT_F32, WT_F32, WT_F32, 0},        {"F16", WT_F16, WT_F16, WT_F16, 1},
    {"BF16", WT_BF16, WT_BF16, WT_BF16, 32},   {"Q8_0", WT_Q8_0, WT_Q8_0, WT_Q8_0, 7},
    {"Q4_0", WT_Q4_0, WT_Q6_K, WT_Q4_0, 2},    {"Q5_0", WT_Q5_0, WT_Q6_K, WT_Q5_0, 8},
    {"Q4_K_M", WT_Q4_K, WT_Q6_K, WT_Q6_K, 15}, {"Q5_K_M", WT_Q5_K, WT_Q6_K, WT_Q6_K, 17},
    {"Q6_K", WT_Q6_K, WT_Q6_K, WT_Q6_K, 18},
};

const struct mix *mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (!strcasecmp(mixes[i].name, name))
            return &mixes[i];
    return NULL;
}

const char *mix_names(void)
{
    return "F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K_M, Q5_K_M, Q6_K";
}

// The first and the last eighth of the layers, and every third between.
static bool matters_more(int layer, int n_layers)
{
    int eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

uint32_t mix_type(const struct mix *m, enum mix_role role, int layer, int n_layers, uint64_t n_in)
{
    uint32_t type = m->base;
    if (role == MIX_VECTOR)
        return WT_F32;
    if (role == MIX_OUTPUT)
        type = m->output;
    else if ((role == MIX_ATTN_V || role == MIX_FFN_DOWN) && matters_more(layer, n_layers))
        type = m->more;
    if (n_in % wtype_info(type)->width)
        type = type == WT_Q4_K ? WT_Q5_0 : WT_Q8_0;
    return n_in % wtype_info(type)->width ? WT_F16 : type;
}
