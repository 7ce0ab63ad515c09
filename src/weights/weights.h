// The weights of a model file in memory, asked for in pieces.
//
// A piece is what is loaded, kept or streamed as one: a tensor, or one matrix of a stack of them
// (gguf.h numbers them). weights_source() is what recorded lists resolve pieces through. Only what
// weights_need names is read, so a worker's memory holds its own layers only.
//
// Where weights lie is decided here, once, by weights_settle:
//
// - *mapped*, where all of them fit with headroom: as the rows of the mapped file, or in lane form
//   (kernels/lanes.h), which multiplies faster: mapped from a sidecar file where `rondo prepack`
//   wrote one (sidecar.h), else turned into anonymous memory as far as the budget goes (layouts.h).
//   What is not turned costs no memory beyond the page cache.
// - *direct*, where they do not: a part of each matrix, or of most, is resident in memory of our
//   own, the rest is read each pass (direct.h).
//
// Threads: opening, needing and settling belong to one thread; then one thread at a time may
// acquire, and any may limit and ask for the status.
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

enum residency {
    RESIDENCY_AUTO,   // mapped where everything fits, else direct
    RESIDENCY_DIRECT, // memory of our own, past the page cache
    RESIDENCY_MMAP,   // mapped whatever it costs: the system decides what stays in memory
    RESIDENCY_COUNT,
};

struct weights_options {
    enum weights_form form;
    enum residency residency;
    // Bytes that this node may take in all: weights, and what weights_settle is told that others
    // take. 0: what the machine can spare with headroom.
    uint64_t memory;
    uint64_t slots;  // bytes of the ring that streamed parts come through; 0: chosen
    int rounds;      // stops of a pass after which others compute; 0: nobody else does
    uint64_t budget; // of `memory`, what weights may take; 0: what others leave
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

// Listening to the order in which pieces are used: after tour_begin each weights_tour_stop says
// that the lists recorded from here on belong to the next of n_stops stops (a window, or the
// output); follows (n_stops) says which comes after each as a rule. They are recorded and not run.
// weights_settle ends it; without it weights are mapped.
int weights_tour_begin(struct weights *w, int n_stops, const int *follows, struct err *e);
void weights_tour_stop(struct weights *w);

// Bytes of the node's memory that are others'.
struct weights_others {
    uint64_t cache;     // keys and values of all sessions
    uint64_t computing; // activations, logits, what is under way
};
// Whether anything is left: asked before it is allocated. ERR_NO_MEMORY: the sentence.
int weights_room(const struct weights *w, const struct weights_others *others, struct err *e);

// Decides where the needed pieces lie, and reads and turns them with the threads of `b`. After the
// last weights_need; what is needed later wants to be settled, too. ERR_NO_MEMORY: the budget is
// too small for any way. NULL: there are no others.
int weights_settle(struct weights *w, struct backend *b, const struct weights_others *others,
                   struct err *e);

// Whether a list waits for the piece as a whole; else operations ask for what they need of it.
bool weights_whole(const struct weights *w, uint32_t piece);

// Parts that the pieces of a stop come in, at most; 0: all come whole.
int weights_most_parts(const struct weights *w);

// The list that runs next is that of `stop`, and then most probably that of `next`; with `again`
// that of `stop` once more, and `next` after the last time. What streamed parts then cost:
// stream.h.
void weights_visit(struct weights *w, int stop, int next, bool again);
// After a list ran: 0, or the sentence that says why what it read cannot be trusted.
int weights_check(struct weights *w, struct err *e);

// From now on at most so many bytes are resident. Parts beyond it are let go of at once, or when
// they are done with; a higher limit lets them come back as they are used, up to what was planned.
// Of mapped weights it is lanes that are let go of: rows in the files serve meanwhile. Each call
// with room for it turns one matrix again. One thread calls this.
void weights_limit(struct weights *w, uint64_t bytes);

struct weights_status {
    enum residency residency;  // DIRECT, or MMAP: mapped
    uint64_t resident, wanted; // bytes of memory of our own: now, and as planned
    uint64_t streamed;         // bytes of parts that are not resident
    uint64_t slots;            // bytes of the ring
    uint64_t read_bytes;       // by streaming, so far
    uint64_t wasted_bytes;     // of those, that were not used
    int64_t wait_ns;           // that computing waited for reading
    uint64_t reader_bytes;     // all that was read, resident parts too; and the processor time
    int64_t reader_cpu_ns;     // that this took
    bool governed;             // less is resident than planned
    char reader[48];           // how streamed parts are read; "": nothing is
};
struct weights_status weights_status(struct weights *w);
int64_t weights_waited_ns(struct weights *w); // wait_ns of it alone

// Decides as weights_settle would, and does nothing: for showing.
int weights_foresee(struct weights *w, const struct kernels *k, struct err *e);
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
    // Foreseen: bytes that do not fit and would be read for each token. Then nothing lies as the
    // shares above say.
    uint64_t streamed, resident;
};
struct weights_report weights_report(const struct weights *w);
// The same for people: "weights in lanes", "weights in lanes but for 3 of 33 layers (memory)",
// "613 MiB of weights resident, 150 MiB streamed".
void weights_describe(const struct weights *w, char *out, size_t size);
