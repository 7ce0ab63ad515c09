// The weights of a model file in memory, asked for in pieces.
//
// A piece is what is loaded, kept or streamed as one: a tensor, or one matrix of a stack of them
// (gguf.h numbers them). weights_source() is what recorded lists resolve pieces through. All
// files are mapped, and only the windows named by weights_need are read ahead, so a worker's memory
// holds its own layers only.
//
// How a matrix lies is decided here, once, by weights_settle: as the rows of the mapped file, or in
// lane form (kernels/lanes.h), which multiplies faster: mapped from a sidecar file where `rondo
// prepack` wrote one (sidecar.h), else turned into anonymous memory as far as the machine can spare
// it (layouts.h, budget.h). What is not turned costs no memory beyond the page cache.
//
// Threads: opening, needing and settling belong to one thread; then any thread may acquire.
#pragma once

#include "backend/backend.h"
#include "base/err.h"
#include "gguf/gguf.h"

struct weights;

enum weights_form {
    WEIGHTS_AUTO,  // lanes where they are faster and memory allows
    WEIGHTS_ROWS,  // as in the file
    WEIGHTS_LANES, // all that can be, whatever memory it takes
};

struct weights_options {
    enum weights_form form;
    uint64_t budget; // bytes that lanes may take; 0: what the machine can spare
    bool no_sidecar; // do not look for one
    // Bytes turned so far and in all; on the thread that settles. NULL: nobody asks.
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

// `g` must outlive the weights. NULL options: all zero.
int weights_open(struct weights **out, const struct gguf *g, const struct weights_options *o,
                 struct err *e);
void weights_free(struct weights *w);
struct piece_source weights_source(struct weights *w);

// This piece, of this layer (n_layers: of the output), will be used: starts reading it in the
// background. Calling it again is cheap.
void weights_need(struct weights *w, uint32_t piece, int layer);

// Decides how the needed pieces lie and turns those that shall be turned, with the threads of `b`.
// `reserved`: bytes of memory that were promised to others and not touched yet. After the last
// weights_need; what is needed later wants to be settled, too.
int weights_settle(struct weights *w, struct backend *b, uint64_t reserved, struct err *e);

// Decides as weights_settle would, and does nothing: for showing.
int weights_foresee(struct weights *w, const struct kernels *k, uint64_t reserved, struct err *e);
enum weights_place { PLACE_UNUSED, PLACE_ROWS, PLACE_LANES, PLACE_SIDECAR };
enum weights_place weights_place(const struct weights *w, uint32_t piece); // after either

// Writes the lane form of the needed pieces as a sidecar. `begin` hears how many matrices and bytes
// it will have and may refuse; `told` hears the bytes written so far, false ends it.
struct prepack {
    const char *path;
    int (*begin)(void *arg, size_t n_matrices, uint64_t bytes, struct err *e);
    bool (*told)(void *arg, uint64_t done);
    void *arg;
};
int weights_prepack(const struct weights *w, struct backend *b, const struct prepack *o,
                    struct err *e);

// What came of it: matrices and bytes by where they lie.
struct weights_report {
    struct weights_share {
        int matrices;
        uint64_t bytes;
    } rows, lanes, sidecar;     // sidecar: lanes mapped from one
    int layers, layers_in_rows; // needed layers, and those with a matrix that could be in lanes
    bool short_of_memory;       // the reason for them
};
struct weights_report weights_report(const struct weights *w);
// The same for people: "weights in lanes", "weights in lanes but for 3 of 33 layers (memory)".
void weights_describe(const struct weights *w, char *out, size_t size);
