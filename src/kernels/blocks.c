// Weight formats as numbers: names, block widths, block bytes. Facts of the GGUF file format.
#include "kernels/blocks.h"

#include "base/arith.h"
#include "base/check.h"
#include "kernels/kernels.h"

#include <string.h>
#include <strings.h>

static const struct wtype_info types[WT_COUNT] = {
    [WT_F32] = {"F32", 1, 4},
    [WT_F16] = {"F16", 1, 2},
    [WT_Q4_0] = {"Q4_0", 32, 18},
    [WT_Q4_1] = {"Q4_1", 32, 20},
    [WT_Q5_0] = {"Q5_0", 32, 22},
    [WT_Q5_1] = {"Q5_1", 32, 24},
    [WT_Q8_0] = {"Q8_0", 32, 34},
    [WT_Q2_K] = {"Q2_K", 256, 84},
    [WT_Q3_K] = {"Q3_K", 256, 110},
    [WT_Q4_K] = {"Q4_K", 256, 144},
    [WT_Q5_K] = {"Q5_K", 256, 176},
    [WT_Q6_K] = {"Q6_K", 256, 210},
    [WT_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [WT_IQ2_XS] = {"IQ2_XS", 256, 74},
    [WT_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [WT_IQ1_S] = {"IQ1_S", 256, 50},
    [WT_IQ4_NL] = {"IQ4_NL", 32, 18},
    [WT_IQ3_S] = {"IQ3_S", 256, 110},
    [WT_IQ2_S] = {"IQ2_S", 256, 82},
    [WT_IQ4_XS] = {"IQ4_XS", 256, 136},
    [WT_I8] = {"I8", 1, 1},
    [WT_I16] = {"I16", 1, 2},
    [WT_I32] = {"I32", 1, 4},
    [WT_I64] = {"I64", 1, 8},
    [WT_F64] = {"F64", 1, 8},
    [WT_IQ1_M] = {"IQ1_M", 256, 56},
    [WT_BF16] = {"BF16", 1, 2},
    [WT_TQ1_0] = {"TQ1_0", 256, 54},
    [WT_TQ2_0] = {"TQ2_0", 256, 66},
    [WT_MXFP4] = {"MXFP4", 32, 17},
};

_Static_assert(sizeof(struct block_q4_0) == 18, "block layout");
_Static_assert(sizeof(struct block_q4_1) == 20, "block layout");
_Static_assert(sizeof(struct block_q5_0) == 22, "block layout");
_Static_assert(sizeof(struct block_q5_1) == 24, "block layout");
_Static_assert(sizeof(struct block_q8_0) == 34, "block layout");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "block layout");
_Static_assert(sizeof(struct block_mxfp4) == 17, "block layout");
_Static_assert(sizeof(struct block_q2_k) == 84, "block layout");
_Static_assert(sizeof(struct block_q3_k) == 110, "block layout");
_Static_assert(sizeof(struct block_q4_k) == 144, "block layout");
_Static_assert(sizeof(struct block_q5_k) == 176, "block layout");
_Static_assert(sizeof(struct block_q6_k) == 210, "block layout");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "block layout");
_Static_assert(sizeof(struct block_tq2_0) == 66, "block layout");
_Static_assert(sizeof(struct block_tq1_0) == 54, "block layout");
_Static_assert(sizeof(struct block_iq3_xxs) == 98, "block layout");
_Static_assert(sizeof(struct block_iq3_s) == 110, "block layout");
_Static_assert(sizeof(struct block_iq2_xxs) == 66, "block layout");
_Static_assert(sizeof(struct block_iq2_xs) == 74, "block layout");
_Static_assert(sizeof(struct block_iq2_s) == 82, "block layout");
_Static_assert(sizeof(struct block_iq1_s) == 50, "block layout");
_Static_assert(sizeof(struct block_iq1_m) == 56, "block layout");
_Static_assert(sizeof(struct act_q8) == 40, "activation layout");
_Static_assert(sizeof(struct act_q8k) == 292, "activation layout");

const struct wtype_info *wtype_info(uint32_t type)
{
    return type < WT_COUNT && types[type].name ? &types[type] : NULL;
}

int wtype_from_name(const char *name)
{
    for (int type = 0; type < WT_COUNT; type++)
        if (types[type].name && !strcasecmp(types[type].name, name))
            return type;
    return -1;
}

bool wtype_row_bytes(uint32_t type, uint64_t n, size_t *out)
{
    const struct wtype_info *info = wtype_info(type);
    return info && n % info->width == 0 && size_mul(n / info->width, info->bytes, out);
}

size_t act_row_bytes(enum act act, size_t n)
{
    switch (act) {
    case ACT_F32:
        return n * sizeof(float);
    case ACT_Q8:
        CHECK(n % BLOCK_SMALL == 0);
        return n / BLOCK_SMALL * sizeof(struct act_q8);
    case ACT_Q8K:
        CHECK(n % BLOCK_K == 0);
        return n / BLOCK_K * sizeof(struct act_q8k);
    case ACT_COUNT:
        break;
    }
    CHECK(!"an activation type");
    return 0;
}
