// Weights in memory of our own: a fixed set of parts is resident, the others are read each pass,
// past the page cache, through a ring of slots.
//
//     home   | vectors | rank 0 | rank 1 | ...... | rank n - 1 |  nothing  |
//                                                  limit moves <-->
//     ring   | part 17 in use | part 18 ready | part 19 being read | free  |
//
// cuts.h says what parts are and which are resident, stream.h what is read when. Nothing of the
// model is in the page cache by us, and nothing is left to what the system thinks it should keep.
//
// Experts come when the router has spoken, through a cache that keeps those that were used last of
// each layer (expert_cache.h). It gets what the parts leave.
//
// A part is used as it lies: a resident one in lane form where that is faster, a streamed one as
// the rows of the file, or in lane form where a sidecar file has it. The bits are the same.
//
// Threads: one thread at a time acquires and is done; direct_limit and direct_status may be called
// from any.
#pragma once

#include "backend/backend.h"
#include "weights/tour.h"
#include "weights/weights.h"

struct direct;
struct sidecar;

struct direct_options {
    const struct gguf *g;
    const struct sidecar *sidecar; // NULL: none; outlives
    const struct tour *tour;       // copied
    const uint32_t *whole;         // pieces that are always resident, as they are in the file
    size_t n_whole;
    const uint32_t *demand; // pieces that are asked for one by one, as experts are
    const int *groups;      // (n_demand) the layer of each, ascending
    size_t n_demand;
    // Whether lanes are worth it for a matrix of this type.
    bool (*turns)(const void *arg, uint32_t type);
    const void *turns_arg;
    uint64_t budget, slots; // slots 0: chosen
    int rounds;             // as in weights_options
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

// The least budget that does, and one with which everything is resident.
void direct_needs(const struct direct_options *o, uint64_t *least, uint64_t *all);
// Reads what is resident, and turns it with the threads of `b`. ERR_NO_MEMORY: the budget is less
// than the least.
int direct_open(struct direct **out, const struct direct_options *o, struct backend *b,
                struct err *e);
void direct_close(struct direct *d);

// What backend.h asks of a piece_source. Parts have numbers from gguf_n_pieces on.
const uint8_t *direct_acquire(struct direct *d, uint32_t piece, enum layout *layout, struct err *e);
void direct_done(struct direct *d, uint32_t piece);
int direct_parts(const struct direct *d, uint32_t piece, const struct piece_part **out);
int direct_at_once(const struct direct *d, uint32_t piece);
void direct_want(struct direct *d, uint32_t piece);
// Whether the row at byte `offset` of the piece is in memory: then it is copied, in row form.
bool direct_row(struct direct *d, uint32_t piece, uint64_t offset, size_t row_bytes, uint8_t *out);

int direct_most_parts(const struct direct *d); // of a stop
void direct_visit(struct direct *d, int stop, int next, bool again);
void direct_limit(struct direct *d, uint64_t bytes);
int64_t direct_waited_ns(struct direct *d);
void direct_status(struct direct *d, struct weights_status *out);
