// A link: one encrypted connection, one thread that owns its socket and its TLS state.
//
//   compute loop --link_send--> [list] --+   link's thread   +--> on_frame --> compute loop
//                                eventfd +--> TLS <--> socket+
//
// A link opens in four steps, under one deadline: TCP, TLS (the dialler pins the listener's
// fingerprint), the dialler's HELLO of fixed size, the listener's WELCOME or REFUSE. Afterwards
// both ends are alike. Frames keep their order. Heartbeats come from this thread, whatever the
// compute loop is doing. Callbacks run on the link's thread and must not block.
#pragma once

#include "base/digest.h"
#include "net/tls.h"
#include "ring/frame.h"

#include <stdatomic.h>

enum {
    LINK_OPEN_MS = 5000,     // TCP, TLS, HELLO and its answer together
    LINK_HEARTBEAT_MS = 500, // default period
    LINK_FLUSH_MS = 1000,    // for what is queued when the link is closed
    LINK_LINGER_MS = 500,    // for the peer to read our last words before the socket goes
    LINK_MAX_UNKNOWN = 32,   // connections that have not yet said who they are (ring/door.h)
};

struct link;

// What the compute loop of this node is doing: written by it, read by all links' heartbeats.
struct link_pulse {
    _Atomic uint64_t progress;
    _Atomic uint32_t busy;
};

struct link_events {
    void *ctx;
    // Dialler: fill purpose, port, token_id, name and proof (header->epoch and ->node for an edge);
    // build is set. TLS is up: link_peer and link_exporter answer.
    void (*greet)(void *ctx, struct link *l, struct wire_header *header, struct wire_hello *hello);
    // Listener: 0 lets the dialler in and makes the link the callee's, to be freed with link_free.
    // Otherwise `why` is sent as REFUSE, the link is closed and the door frees it. Fill
    // welcome->name. May call link_assign. header->version may differ from ours.
    int (*admit)(void *ctx, struct link *l, const struct wire_header *header,
                 const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why);
    // Both: the link is open. Dialler: `welcome` is the listener's; listener: its own.
    void (*opened)(void *ctx, struct link *l, const struct wire_welcome *welcome);
    // A frame with a good header, within max_frame; the callee's from now on. HEARTBEAT and LEAVE
    // are the link's own business. While the pool has no free frame the link does not read, so the
    // pool has one for all that may be under way.
    void (*frame)(void *ctx, struct link *l, struct frame *f);
    // The frame's last byte was given to the socket; it is released afterwards. May be NULL.
    void (*sent)(void *ctx, struct link *l, const struct frame *f, int64_t now_ns);
    // The last call of a link that was dialled or admitted, also when it never opened: `why` says
    // who ended it and for what. why->code is 0 when link_close was called without a reason.
    void (*closed)(void *ctx, struct link *l, const struct err *why);
};

struct link_options {
    const struct tls_identity *identity; // outlives the link
    struct frame_pool *pool;             // where arriving frames are put; outlives the link
    size_t max_frame;                    // a larger one ends the link; <= the pool's capacity
    int open_ms, heartbeat_ms;           // 0: the defaults
    const struct link_pulse *pulse;      // NULL: idle
    struct link_events events;
};

struct link_target {
    struct digest fingerprint; // pinned
    uint16_t port;
    int n_addresses; // tried in order until one answers
    struct net_address addresses[WIRE_MAX_ADDRESSES];
};

// Starts a thread that dials. Never waits for the network.
int link_dial(struct link **out, const struct link_target *to, const struct link_options *o,
              struct err *e);
// From a callback before `opened` has returned: other events, pool and limit from now on.
void link_assign(struct link *l, const struct link_events *events, struct frame_pool *pool,
                 size_t max_frame);

// Queues the frame, owns it, never blocks; false: the link is closing or closed, the frame was
// released. Any thread, callbacks included; frames of one thread keep their order.
bool link_send(struct link *l, struct frame *f);

// Sends what is queued (at most LINK_FLUSH_MS), then ends the link; `why` (NULL: none) is given to
// `closed` on this side and sent as LEAVE, which the peer's `closed` gets. Any thread, callbacks
// included; returns at once.
void link_close(struct link *l, const struct err *why);
// Closes at once, or waits for a link_close that is under way; `closed` has been called when this
// returns. Not from a callback.
void link_free(struct link *l);

// ---- Any thread.
bool link_is_open(const struct link *l);
int64_t link_last_heard_ns(const struct link *l); // clock_ns of the last bytes from the peer

struct link_peer_state { // from its last heartbeat
    int64_t heard_ns;    // our clock when it came; 0: none yet
    uint64_t progress;
    uint32_t busy;
    int64_t offset_ns;     // peer's clock minus ours, from the exchange with the shortest way
    int64_t round_trip_ns; // of that exchange; 0: not measured yet
};
struct link_peer_state link_peer_state(struct link *l);

// ---- From `greet` or `admit` on.
struct digest link_peer(const struct link *l);      // fingerprint
const uint8_t *link_exporter(const struct link *l); // TLS_EXPORTER_BYTES
struct net_address link_peer_address(const struct link *l);
