// Frames: preallocated buffers that travel between threads by ownership, and the reading and
// writing of every message.
//
// Readers take memory, the whole frame with its header, and check every count against its limit
// and against the bytes that are there before using it. What they return either is a copy or
// points into that memory. Writers fill a frame; what they are given is checked by CHECK, because
// it is ours.
#pragma once

#include "base/err.h"
#include "ring/messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame_pool;

// Belongs to whoever holds the pointer; frame_release gives it back from any thread.
struct frame {
    struct frame *next; // for whoever holds it: queues and pools
    struct frame_pool *pool;
    uint8_t *bytes; // 64-byte aligned: header, body
    size_t size, capacity;
    int64_t arrived_ns; // clock_ns when the last byte was here
};

// n frames of `capacity` bytes, header included, allocated once. NULL: no memory.
struct frame_pool *frame_pool_new(int n, size_t capacity);
size_t frame_pool_bytes(const struct frame_pool *p);
// All frames must be back.
void frame_pool_free(struct frame_pool *p);
size_t frame_pool_capacity(const struct frame_pool *p);
struct frame *frame_take(struct frame_pool *p); // NULL: all are in use; any thread
void frame_release(struct frame *f);            // NULL is allowed
// As frame_take; when all are in use `wake_fd` (an eventfd) is written once as soon as one is back.
struct frame *frame_take_or_wake(struct frame_pool *p, int wake_fd);
void frame_pool_forget(struct frame_pool *p, int wake_fd); // the descriptor is about to go

// Bytes of a pass frame, header included. Sizes are the receiver's own; 0: beyond a limit.
size_t frame_pass_size(uint32_t n_tokens, uint32_t n_ops, uint32_t width,
                       enum wire_activation type);

// The header, when magic, version, type and size hold and size + header fits into `limit`.
// `data` has at least sizeof(struct wire_header) bytes.
int frame_header_read(struct wire_header *out, const void *data, size_t limit, struct err *e);

// ---- Reading. 0, or ERR_FAILED and a sentence.

// Of any version: when header.version is not ours, only `header` and out->build are filled.
int frame_read_hello(struct wire_header *header, struct wire_hello *out, const void *data,
                     size_t size, struct err *e);
// WELCOME (returns 0) or REFUSE (its code and sentence become the error), of any version.
int frame_read_answer(struct wire_welcome *out, const void *data, size_t size, struct err *e);
// REFUSE, NOT_READY, FAILED, END, LEAVE: text made printable, NUL-terminated.
int frame_read_sentence(int *code, char text[WIRE_MAX_TEXT + 1], const void *data, size_t size,
                        struct err *e);
int frame_read_offer(struct wire_offer *out, const struct wire_layer **layers, const void *data,
                     size_t size, struct err *e);
int frame_read_plan(struct wire_plan *out, const struct wire_window **windows, const void *data,
                    size_t size, struct err *e);
int frame_read_roster(struct wire_roster *out, const struct wire_peer **peers, const void *data,
                      size_t size, struct err *e);
int frame_read_have(struct wire_have *out, const void *data, size_t size, struct err *e);
int frame_read_survey(struct wire_survey *out, const struct wire_peer **peers, const void *data,
                      size_t size, struct err *e);
int frame_read_profile(struct wire_profile *out, const void *data, size_t size, struct err *e);
int frame_read_measure(struct wire_measure *out, const void *data, size_t size, struct err *e);
int frame_read_result(struct wire_result *out, const void *data, size_t size, struct err *e);
int frame_read_ping(struct wire_ping *out, const void *data, size_t size, struct err *e);
int frame_read_ready(struct wire_ready *out, const void *data, size_t size, struct err *e);
int frame_read_heartbeat(struct wire_heartbeat *out, const void *data, size_t size, struct err *e);
int frame_read_timing(struct wire_timing *out, const struct wire_time **times, const void *data,
                      size_t size, struct err *e);
// GO, LINKED: a header and nothing else.
int frame_read_empty(enum wire_type type, const void *data, size_t size, struct err *e);

struct pass_view { // points into the frame
    struct wire_header header;
    struct wire_pass pass;
    const struct wire_op *ops;       // (n_ops)
    const struct wire_token *tokens; // (n_tokens)
    void *activations;               // (n_tokens, width), 64-byte aligned; NULL without tokens
    size_t activation_bytes;
};
// `width` and `type` are the receiver's own: hidden size and activation type of the plan.
int frame_read_pass(struct pass_view *out, void *data, size_t size, uint32_t width,
                    enum wire_activation type, struct err *e);

// ---- Writing. The frame must have the capacity; control frames fit into WIRE_MAX_CONTROL.

void frame_write_hello(struct frame *f, const struct wire_header *h, const struct wire_hello *m);
void frame_write_welcome(struct frame *f, const struct wire_welcome *m);
void frame_write_sentence(struct frame *f, enum wire_type type, uint32_t epoch, uint64_t pass,
                          int code, const char *text);
void frame_write_offer(struct frame *f, uint32_t epoch, const struct wire_offer *m,
                       const struct wire_layer *layers);
void frame_write_plan(struct frame *f, uint32_t epoch, const struct wire_plan *m,
                      const struct wire_window *windows);
void frame_write_roster(struct frame *f, uint32_t epoch, const struct wire_roster *m,
                        const struct wire_peer *peers);
void frame_write_have(struct frame *f, const struct wire_have *m);
void frame_write_survey(struct frame *f, uint32_t epoch, const struct wire_survey *m,
                        const struct wire_peer *peers);
void frame_write_profile(struct frame *f, uint32_t epoch, const struct wire_profile *m);
void frame_write_measure(struct frame *f, uint32_t epoch, const struct wire_measure *m);
void frame_write_result(struct frame *f, uint32_t epoch, const struct wire_result *m);
// With m->bytes behind it.
void frame_write_ping(struct frame *f, const struct wire_ping *m);
void frame_write_ready(struct frame *f, uint32_t epoch, const struct wire_ready *m);
void frame_write_heartbeat(struct frame *f, const struct wire_heartbeat *m);
void frame_write_timing(struct frame *f, uint32_t epoch, const struct wire_timing *m,
                        const struct wire_time *times);
void frame_write_empty(struct frame *f, enum wire_type type, uint32_t epoch);
// Lays the pass out and copies header, operations and tokens; the caller then fills
// view->activations in place.
void frame_write_pass(struct frame *f, struct pass_view *view, uint32_t width);
// The same frame for the next window: only round and sender change.
void frame_forward_pass(struct frame *f, uint16_t round, uint16_t node);

// Copies a text into a fixed field of the wire: printable ASCII, cut, NUL-padded.
void frame_name(char *field, size_t field_size, const char *text);
