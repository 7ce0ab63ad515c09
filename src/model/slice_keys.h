// Files that hold some layers of a model only (rondo slice): which, and the digests of the others,
// so that a head that has a slice can still say what it wants of its workers.
//
//     rondo.slice.layers    array of int32: the layers that are there, ascending
//     rondo.slice.ends      bool: embedding, output norm and output matrix are
//     rondo.slice.digests   array of strings: model_layer_digest of every layer, in hexadecimal
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "gguf/gguf.h"
#include "model/hparams.h"

#include <stdbool.h>

#define SLICE_KEY_LAYERS  "rondo.slice.layers"
#define SLICE_KEY_ENDS    "rondo.slice.ends"
#define SLICE_KEY_DIGESTS "rondo.slice.digests"

struct slice {
    bool some; // of the model; else the file is whole
    bool ends;
    uint8_t layers[MODEL_MAX_LAYERS / 8]; // layer i is bit i % 8 of byte i / 8
    const struct gguf_key *digests;
};

// Refuses keys that do not fit a model of n_layers.
int slice_read(struct slice *s, const struct gguf *g, int n_layers, struct err *e);
bool slice_has(const struct slice *s, int layer, int n_layers); // n_layers: the ends
// Of a layer that is not there.
struct digest slice_digest(const struct slice *s, int layer);
