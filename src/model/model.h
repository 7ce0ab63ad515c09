// The inside of struct model, for model.c and shard.c: where each tensor lies.
#pragma once

#include "gguf/gguf.h"
#include "model/arch.h"
#include "model/hparams.h"
#include "model/slice_keys.h"

struct model {
    const struct gguf *g;
    struct hparams h;
    const struct arch *arch;
    struct slice slice;                // what of it the file has
    struct weight embed, norm, output; // output is embed when tied
    struct weight rope_factors;        // (n_rot / 2), that divide angles; n_in 0: absent
    struct weight rope_long;           // likewise, for contexts beyond the original one
    struct layer *layers;              // (n_layers)
};
