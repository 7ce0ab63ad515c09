// Finding a model's tensors by name and checking their types and shapes, so that nothing which runs
// later has to look again. What is found for a layer is noted as one of its pieces.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"
#include "model/arch.h"

enum presence { TENSOR_REQUIRED, TENSOR_OPTIONAL };

struct tensors {
    const struct gguf *g;
    const struct hparams *h;
    const struct arch *arch;
    const char *path;
    int layer;          // names get "blk.LAYER." in front; -1: none
    struct layer *into; // notes pieces; NULL: nobody does
    struct err *e;
    int rc; // the first error; after one nothing is looked for
};

// A matrix of n_out rows of n_in, of a type that can be multiplied.
void tensors_matrix(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out);
// Norms, biases and factors: F32, and read in place as floats.
void tensors_vector(struct tensors *t, struct weight *out, const char *name, int n,
                    enum presence presence);
// F32 too: n_out rows of n_in.
void tensors_table(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out,
                   enum presence presence);
// `n` stacked matrices, each a piece of its own, of which `out` is the first.
void tensors_stack(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out,
                   int n);
// Rows [first, first + n) of a matrix. Refused where `first` is no multiple of 16, at which rows
// can be cut in every layout.
struct weight tensors_rows(struct tensors *t, const struct weight *whole, int first, int n);
