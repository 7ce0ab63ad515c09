// The two edges of a node in a ring: the one that it dials, to the next node, and the one by which
// the previous node dials it. Both belong to one epoch and end with it.
//
//   previous node --> [in] --> queue --> compute loop --> [out] --> next node
//
// Both ends are pinned: the dialler by the roster's fingerprint of its next node, the listener by
// that of the previous one. Opening and losing an edge is told by mail to the driving thread.
#pragma once

#include "cluster/mailbox.h"
#include "ring/link.h"
#include "ring/queue.h"

// How long a compute loop looks for its next frame before it sleeps.
enum { EDGES_SPIN_NS = 20000 };

struct edges;

struct edges_node {
    int index;
    struct digest fingerprint;
    char name[WIRE_NAME];
};

struct edges_options {
    const struct tls_identity *identity;
    uint32_t epoch;
    int index; // ours
    struct edges_node previous, next;
    struct link_target next_target; // its fingerprint is next.fingerprint
    struct frame_pool *pool;        // of the frames that arrive
    struct frame_queue *queue;      // where they go
    struct mailbox *mail;
    const struct link_pulse *pulse;
    // On the outgoing edge's thread: the frame was given to the socket. May be NULL.
    void (*sent)(void *ctx, const struct frame *f, int64_t now_ns);
    void *ctx;
};

// No network yet. pool, queue, mail and identity outlive the edges.
int edges_open(struct edges **out, const struct edges_options *o, struct err *e);
// Ends both links; nobody may still call edges_admit or edges_send.
void edges_close(struct edges *s);

// The driving thread.
int edges_dial(struct edges *s, struct err *e);
// Tells by mail when one of the edges has been silent for too long.
void edges_check(struct edges *s, int64_t now_ns);

// In a link's `admit`: whether this is our previous node. 0: the link is ours now.
int edges_admit(struct edges *s, struct link *l, const struct wire_header *header,
                const struct wire_hello *hello, struct err *why);

// The compute loop; owns the frame. false: the edge is lost, which the driver learns by mail.
bool edges_send(struct edges *s, struct frame *f);
