// Buffers on a device and operations over them: recorded in order, executed by list_run.
//
// One forward pass per architecture is written once over these operations. The CPU device runs a
// whole list in one parallel region and lets threads wait for each other only where one operation
// needs another's result: each operation names the buffers it reads and writes, and the recorder
// finds the hazards.
//
// Weights are named, not addressed: a `struct weight` says which piece it lies in and where, and
// list_wait / list_done bracket the use of pieces. Where a piece lies is asked for when the list
// runs (a streamed layer's slot changes from pass to pass). list_wait may block the list until the
// piece arrived.
//
// Threads: a backend, its buffers and lists belong to one thread at a time, the compute driver.
// Nothing is allocated by recording or running: capacities are fixed at list_new and buf_new.
#pragma once

#include "base/err.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backend;
struct buf;  // device memory
struct list; // recorded operations

// How the rows of a piece lie: as in the file, or in lane form (kernels/lanes.h).
enum layout { LAYOUT_ROWS, LAYOUT_LANES };

struct weight;

// Some rows [row_lo, row_hi) of a matrix that comes in parts; `piece` is a number for acquire and
// done, beyond those of the pieces.
struct piece_part {
    uint32_t piece;
    int32_t row_lo, row_hi;
};

// Where weights come from; weights/ implements it. What is NULL beyond acquire and done means that
// every piece comes whole, and is there.
struct piece_source {
    void *ctx;
    // Address of piece `piece` and its layout, which stay valid until `done`; may block; NULL: `e`
    // says why. A piece in lane form is one matrix of a format that has kernels for it.
    const uint8_t *(*acquire)(void *ctx, uint32_t piece, enum layout *layout, struct err *e);
    void (*done)(void *ctx, uint32_t piece);
    // The parts of a matrix that comes in parts, ascending; 0: it comes whole. Asked when a product
    // with it is recorded, which then waits for each part by itself; they are acquired in this
    // order, and while one is waited for, one at most is held.
    int (*parts)(void *ctx, uint32_t piece, const struct piece_part **out);
    // Copies row `id` of a matrix as it is in the file, without waiting for the others.
    bool (*row)(void *ctx, const struct weight *w, int32_t id, uint8_t *out, struct err *e);
    // How many pieces of experts a list may hold at a time, as far as the stack goes that `piece`
    // is of; at least 1. Asked when a product with it is recorded, and then never less than it was
    // when the list was made.
    int (*at_once)(void *ctx, uint32_t piece);
    // The piece of an expert will be acquired soon: reading it may begin. Never blocks.
    void (*want)(void *ctx, uint32_t piece);
};

// A matrix (n_out rows of n_in) or a vector (n_out = 1) inside a piece.
struct weight {
    uint32_t type; // enum wtype
    uint32_t piece;
    uint64_t offset; // bytes from the start of the piece
    uint64_t row_bytes;
    int32_t n_in, n_out;
};

// Whether each compute thread stays on a processor of its own, which it locks against other Rondos
// (base/pins.h).
enum pin {
    PIN_OFF,
    PIN_AUTO, // where there are better and worse places, because hyper-threads or slow cores are
              // left over; the caller's thread stays free
    PIN_ON,   // or it is an error; the caller's thread too
};

// Who sees what matrices are multiplied with: each input row x (n_in) of the matrix in piece
// `piece`, before the product, in the thread that runs the list. Of a piece with several matrices
// each shows its own.
struct observer {
    void (*see)(void *arg, uint32_t piece, const float *x); // NULL: nobody, and it costs nothing
    void *arg;
};

struct backend_options {
    int n_threads; // 0: pool_default_threads()
    enum pin pin;
    enum isa isa; // ISA_COUNT: isa_detect()
    struct observer observer;
};

int backend_open_cpu(struct backend **out, const struct backend_options *o, struct err *e);
void backend_free(struct backend *b);
const char *backend_describe(const struct backend *b); // "cpu avx2, 2 threads, pinned"
const struct kernels *backend_kernels(const struct backend *b);
int backend_threads(const struct backend *b);
// Runs fn(arg, thread) on every thread of the device that is free, and on the caller's as thread 0;
// back when all of them are. The work must get done whoever comes.
void backend_share(struct backend *b, void (*fn)(void *arg, int thread), void *arg);
// From now on *counter goes up with every small share of an operation that was worked off
// (fractions of a second, however long a list runs), so that others can tell slow work from none.
// NULL: ends it.
void backend_count_progress(struct backend *b, _Atomic uint64_t *counter);
// From now on *ns goes up by the time that threads spend inside operations, all threads together;
// what a pass takes beyond it went to recording, claiming and waiting. NULL: ends it.
void backend_count_work(struct backend *b, _Atomic int64_t *ns);
// From now on `stop` is asked at every list_wait of a list that runs; where it says true, list_run
// ends with ERR_FAILED and what the list writes is undefined. NULL: nobody is asked.
void backend_stop_when(struct backend *b, bool (*stop)(void));

// Zeroed memory of `size` bytes on the device.
int buf_new(struct buf **out, struct backend *b, size_t size, const char *name, struct err *e);
void buf_free(struct buf *u);
size_t buf_size(const struct buf *u);
void buf_write(struct buf *u, size_t offset, const void *data, size_t size);
void buf_read(const struct buf *u, size_t offset, void *data, size_t size);
// Copies within a buffer; the ranges do not overlap.
void buf_copy(struct buf *u, size_t to, size_t from, size_t size);
// Host address of a buffer, or NULL on devices whose memory the host cannot touch.
void *buf_host(struct buf *u);

// Which token each row of the batch is. Arrays belong to the caller, are filled when an operation
// over them is recorded, and must outlive list_run.
struct rows {
    int n;
    const int32_t *pos;          // (n) absolute positions
    const float *q_scale;        // (n) queries are multiplied by; NULL: 1
    const int32_t *const *pages; // (n) page numbers of the row's session, by pos / page_tokens
};

// One layer's key-value cache, as the operations see it. Page p of `buf` starts at p * page_bytes;
// inside a page this layer's chunks lie at `offset`, one for each key-value head
// (kernels/kv_chunk.h draws them), kv_layout(type, head_dim).bytes each. A page is as long as a
// chunk of attention's partial sums.
struct kv_layer {
    struct buf *buf;
    size_t page_bytes, offset;
    int n_kv_heads, head_dim;
    enum kv_type type;
};

enum { KV_PAGE_TOKENS = KV_CHUNK };

struct list_limits {
    int max_rows; // tokens of a batch
    int max_ops;
    int max_pieces; // waited for in one recording
    int max_width;  // largest n_in or n_out of an activation row; of experts all n_used of a row
    int max_heads, max_head_dim;
    int max_context; // positions of a session
    // Of a routing: experts, and how many of them a row uses. 0: no mixture.
    int max_experts, max_experts_used;
};

int list_new(struct list **out, struct backend *b, const struct list_limits *limits,
             const struct piece_source *weights, struct err *e);
// Bytes that list_new would take with so many threads; SIZE_MAX: more than there can be.
size_t list_bytes(const struct list_limits *limits, int n_threads);
void list_free(struct list *l);
void list_reset(struct list *l); // forget what was recorded

// Pieces [first, first + n) are needed from here on / no longer needed by what follows.
void list_wait(struct list *l, uint32_t first, uint32_t n);
void list_done(struct list *l, uint32_t first, uint32_t n);

// Activations are float rows: row t of an operand begins at t * its width. `n` is the number of
// rows.
// Waited for only where rows cannot be had by themselves (piece_source.row).
void op_embed(struct list *l, struct buf *out, const struct weight *w, const int32_t *ids, int n);
void op_rms_norm(struct list *l, struct buf *out, struct buf *x, const struct weight *w, int n,
                 float eps);
// RMS norm of each head of x (n, n_heads, head_dim) with one weight vector (head_dim).
void op_rms_norm_heads(struct list *l, struct buf *x, const struct weight *w, int n, int n_heads,
                       float eps);
// out (n, n_out) = x (n, n_in) times w transposed; quantizing x as the format asks is the backend's
// business and happens once per x and format.
void op_matmul(struct list *l, struct buf *out, struct buf *x, const struct weight *w, int n);
void op_add_bias(struct list *l, struct buf *x, const struct weight *bias, int n);
void op_add(struct list *l, struct buf *out, struct buf *a, struct buf *b, int width, int n);
void op_scale(struct list *l, struct buf *x, float factor, int width, int n); // x *= factor

void op_softcap(struct list *l, struct buf *x, float cap, int width, int n); // cap * tanh(x / cap)

void op_glu(struct list *l, struct buf *out, struct buf *gate, struct buf *up, enum glu glu,
            int width, int n);

// Rows of a buffer that need not lie side by side: row i begins at float i / repeat * stride + at.
struct view {
    struct buf *buf;
    int stride, at, repeat;
};
// Row i of `to` becomes row i of `from`; what a row of `to` has beyond `width` stays. Different
// buffers.
void op_copy(struct list *l, struct view to, struct view from, int width, int n_rows);

enum rope_layout { ROPE_PAIRS, ROPE_HALVES };
// Dimensions [at, at + n_rot) of a head are rotated by angles of freqs (n_rot / 2) per position, in
// host memory that outlives the run, and multiplied by scale. A list keeps the angles of two
// different tables at a time.
struct rope {
    const float *freqs;
    float scale;
    int n_rot, at;
    enum rope_layout layout;
};
// Rotates x (n, n_heads, head_dim) by rows->pos.
void op_rope(struct list *l, struct buf *x, const struct rows *rows, const struct rope *rope,
             int n_heads, int head_dim);

// Writes k and v (n, n_kv_heads, head_dim) of each row into its page.
void op_kv_store(struct list *l, const struct kv_layer *kv, struct buf *k, struct buf *v,
                 const struct rows *rows);
struct attend_how {
    float scale;   // of scores
    int window;    // each row sees positions (pos - window, pos] of its session; 0: all up to pos
    float softcap; // of scores; 0: none
    // Logits (n_heads) that take part in the softmax and add nothing, so that a head can look
    // nowhere; NULL: none.
    const struct weight *sinks;
};
// out (n, n_heads, head_dim). Pages in which no row sees anything are not touched.
void op_attend(struct list *l, struct buf *out, struct buf *q, const struct kv_layer *kv,
               const struct rows *rows, int n_heads, const struct attend_how *how);
// out row i = x row index[i]; index is host memory that outlives the run.
void op_gather(struct list *l, struct buf *out, struct buf *x, const int32_t *index, int width,
               int n);

// ---- a mixture of experts ----------------------------------------------------------------------
//
// The experts of a row and what each counts. A row's experts differ from each other. Operands with
// a row for each expert of a row hold them in the order of ids: row t * n_used + j is expert
// ids[t][j]'s.
struct routing {
    struct buf *ids;     // int32 (n, n_used), below n_experts
    struct buf *weights; // (n, n_used); NULL where nothing is weighted
    int n_experts, n_used;
};

enum route_score {
    ROUTE_SOFTMAX,        // probabilities over all experts
    ROUTE_SIGMOID,        // of each logit by itself
    ROUTE_SOFTMAX_CHOSEN, // probabilities over those that were chosen, by their logits
};

// Experts are chosen by their score, plus bias where there is one, the best first and of equal ones
// the first; what is no number comes last. With groups only the experts of the best n_groups_used
// of n_groups equal groups take part; a group is as good as its best, or with a bias as the sum of
// its two best. Weights are the scores without bias; normalized, they are divided by their sum (in
// the order of choice); then multiplied by scale.
struct route_how {
    enum route_score score;
    bool normalize;
    float scale;
    int n_groups, n_groups_used; // n_groups <= 1: no groups
    const struct weight *bias;   // F32 (n_experts); NULL: none
};

// Fills r->ids and r->weights from logits (n, n_experts).
void op_route(struct list *l, const struct routing *r, struct buf *logits,
              const struct route_how *how, int n);
// out (n * n_used, n_out): each row of x times the matrices of its experts. `first` is expert 0's,
// expert e's is like it in piece first->piece + e. x is (n, n_in), or with per_expert (n * n_used,
// n_in). The list asks for the pieces of the experts that are in use by itself, once they are
// known, and is done with them when it is through; where the source lets so few be held that this
// cannot be for all of them at once, in waves.
void op_expert_matmul(struct list *l, struct buf *out, struct buf *x, const struct weight *first,
                      const struct routing *r, bool per_expert, int n);
// In how many waves, when so many experts may be in use; each takes three operations of the list.
int list_waves(int at_once, int in_use);
// x (n * n_used, width) += each row's expert's row of bias: F32, n_experts rows of width.
void op_expert_bias(struct list *l, struct buf *x, const struct weight *bias,
                    const struct routing *r, int n);
// out (n, width): row t is the sum of weights[t][j] * x[t * n_used + j], ascending j.
void op_expert_sum(struct list *l, struct buf *out, struct buf *x, const struct routing *r,
                   int width, int n);
// x (n, width) *= sigmoid(s), s (n, 1).
void op_gate_rows(struct list *l, struct buf *x, struct buf *s, int width, int n);

// Runs everything recorded. 0, or what list_wait met.
int list_run(struct list *l, struct err *e);
