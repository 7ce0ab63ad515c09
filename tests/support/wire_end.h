// One end of a link under test: it keeps what the callbacks said, so that a test can wait for it.
#pragma once

#include "ring/door.h"
#include "ring/queue.h"

#include <pthread.h>

enum { WIRE_END_HANG_S = 60 }; // a guard against hanging, not a deadline

struct wire_end {
    struct link *link;
    struct frame_pool *pool;
    struct frame_queue *frames; // what arrived
    struct wire_header header;  // dialler: what greet sends; listener: what admit saw
    struct wire_hello hello;
    int refuse;           // code that admit answers with; 0: lets in
    const char *sentence; // and its sentence
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int admitted, opened, closed, sent; // callbacks so far
    struct err why;                     // of closed
    struct wire_welcome welcome;        // of opened
    struct digest peer;                 // when greet or admit was called
    uint8_t exporter[TLS_EXPORTER_BYTES];
};

// `n` frames of `size` bytes to receive into.
void wire_end_init(struct wire_end *end, int n, size_t size);
// Frees the link too.
void wire_end_fini(struct wire_end *end);
// Options whose events report to this end.
struct link_options wire_end_options(struct wire_end *end, const struct tls_identity *id);
// Until *count, one of the four, is at least n; fails the test when that never happens.
void wire_end_wait(struct wire_end *end, const int *count, int n);

struct tls_identity *wire_identity(void); // a new one; tls_identity_free
// 127.0.0.1, this port, this node.
struct link_target wire_target(const struct tls_identity *id, uint16_t port);

// A door for `listener` and a link from `dialler`, open when this returns.
struct wire_pair {
    struct tls_identity *dialler_id, *listener_id;
    struct wire_end dialler, listener;
    struct door *door;
};
void wire_pair_open(struct wire_pair *p, int n_frames, size_t size);
void wire_pair_close(struct wire_pair *p);
