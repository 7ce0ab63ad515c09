// Slices: a part of a model's layers in a file of their own, so that a worker needs no more of a
// model than it runs. model/slice_keys.h says what tells a slice from a whole file; everything else
// (hyper-parameters, vocabulary, chat template) is as in the whole.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slicing {
    const struct gguf *g;
    int n_layers;
    const bool *layers;           // (n_layers) those that it gets
    bool ends;                    // what belongs to no layer: embedding, output norm and matrix
    const struct digest *digests; // (n_layers)
    // Bytes written so far; false gives the file up. NULL: nobody asks.
    bool (*told)(void *arg, uint64_t done);
    void *arg;
};

uint64_t slicing_bytes(const struct slicing *s); // of the tensors
// Writes the file: complete under its name, or nothing.
int slicing_write(const struct slicing *s, const char *path, struct err *e);
