// Quantizing a model: a copy of its file with the matrices in narrower formats.
//
// Tensors are read, encoded and written a stretch at a time, so that memory does not depend on the
// size of the model: QUANTIZE_STRETCH_WEIGHTS weights as they are written (16 MiB at most), half a
// MiB for each thread, the columns' weights of one tensor, and the file's metadata. The file has
// its name when it is complete; until then it lies beside it under another, and is removed when the
// work is given up.
#pragma once

#include "gguf/gguf.h"
#include "hub/importance.h"
#include "hub/recipe.h"

enum { QUANTIZE_STRETCH_WEIGHTS = 1 << 22 };

struct quantization {
    const struct recipe *recipe;
    const struct imatrix *importance; // NULL: all columns count alike
    const char *importance_name;      // what the file shall say of it
    int output_type, embedding_type;  // enum wtype; -1: what the recipe says
    bool pure;                        // every matrix in the recipe's own format
    bool requantize;                  // of sources that are quantized already
    int n_threads;                    // 0: one for each core
};

struct quantized_tensor {
    const struct gguf_tensor *from;
    uint32_t type;
    uint64_t bytes;
    uint32_t unweighted; // matrices for which nothing is known of the columns
};

// What is going to be written.
struct quantize_plan {
    const struct gguf *g; // outlives the plan
    struct quantization how;
    struct quantized_tensor *tensors; // (n_tensors)
    size_t n_tensors;
    uint64_t from_bytes, bytes, weights; // of all tensors
    size_t n_matrices, n_unweighted;     // encoded with a search; of them without importance
};

// Refuses what cannot be quantized. The plan must be freed.
int quantize_plan(struct quantize_plan *out, const struct gguf *g, const struct quantization *how,
                  struct err *e);
void quantize_plan_free(struct quantize_plan *p);

// told (may be NULL): bytes of the source that are done; false gives the file up.
int quantize_write(const struct quantize_plan *p, const char *path,
                   bool (*told)(void *arg, uint64_t done), void *arg, struct err *e);
