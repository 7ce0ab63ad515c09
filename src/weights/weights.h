// The weights of a model file in memory, asked for in pieces.
//
// A piece is what is loaded, kept or streamed as one; here it is one tensor, and its number is the
// tensor's index in the file. weights_source() is what recorded lists resolve pieces through. Today
// all pieces are mapped: acquire never blocks and only the windows named by weights_need are read
// ahead, so a worker's memory holds its own layers only. Residency within a budget will come behind
// this header.
#pragma once

#include "backend/backend.h"
#include "base/err.h"
#include "gguf/gguf.h"

struct weights;

// `g` must outlive the weights.
int weights_open(struct weights **out, const struct gguf *g, struct err *e);
void weights_free(struct weights *w);
struct piece_source weights_source(struct weights *w);

// This piece will be used: start reading it in the background. Calling it for what is there is
// cheap.
void weights_need(struct weights *w, uint32_t piece);
