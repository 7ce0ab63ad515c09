// A bounded queue of frames between threads: link threads push, one compute loop pops.
//
// Pushing never blocks. Room for every frame that can be under way is made at the start, so a full
// queue means a peer that sends what was not asked for, and the pusher is told.
#pragma once

#include "ring/frame.h"

struct frame_queue;

struct frame_queue *frame_queue_new(int capacity);
void frame_queue_free(struct frame_queue *q); // releases what is left in it

// false: full or closed; the frame stays the caller's.
bool frame_queue_push(struct frame_queue *q, struct frame *f);
// The oldest frame; waits at most timeout_ns (< 0: for ever, 0: not), the first spin_ns of it
// awake. NULL: nothing came, or the queue is closed and empty.
struct frame *frame_queue_pop(struct frame_queue *q, int64_t timeout_ns, int64_t spin_ns);
void frame_queue_wake(struct frame_queue *q);  // a waiting pop returns NULL
void frame_queue_close(struct frame_queue *q); // pops return what is left, then NULL at once
bool frame_queue_closed(struct frame_queue *q);
