// The inside of a link, for link.c (any thread), link_open.c and link_run.c (the link's thread) and
// door.c. Nobody else includes this.
#pragma once

#include "ring/clock_offset.h"
#include "ring/link.h"

#include <pthread.h>

// Where a listener's link reports what became of it: once, from the link's thread. Admitted: it is
// no longer the door's. Otherwise `why` says what was wrong and the thread is about to end.
struct link_door {
    void *door;
    void (*settled)(void *door, struct link *l, bool admitted, const struct err *why);
};

enum { LINK_SMALL = sizeof(struct wire_header) + sizeof(struct wire_sentence) };

struct link {
    // Constant after the start.
    const struct tls_identity *identity;
    const struct link_pulse *pulse;
    int open_ms, heartbeat_ms;
    bool dialled;
    struct link_target target; // dialled
    struct link_door door;     // accepted
    pthread_t thread;
    int wake_fd; // eventfd: there is something to send, to end, or a free frame

    // Shared.
    pthread_mutex_t lock;
    struct frame *first, *last; // to send
    bool asleep;                // the thread must be woken
    bool closing, abandoned, dead;
    struct err reason; // of link_close
    struct link_peer_state peer_state;
    atomic_bool open;
    _Atomic int64_t last_heard_ns;

    // The link's thread only (and, after `greet` or `admit`, constants for others to read).
    struct link_events events;
    struct frame_pool *pool;
    size_t max_frame;
    bool admitted, may_assign;
    struct net_address address;
    struct digest peer;
    uint8_t exporter[TLS_EXPORTER_BYTES];
    int fd;
    struct tls *tls;
    int64_t open_deadline_ns, flush_deadline_ns;

    // Receiving: the header, then the body into a frame.
    struct wire_header header;
    size_t got; // bytes of this frame that are here
    struct frame *in;
    bool starved; // no free frame
    // Sending.
    struct frame *out;
    size_t out_done;
    short read_wants, write_wants; // poll events; write_wants is 0 unless a write is blocked
    bool leave_queued;
    // Heartbeats.
    bool beat_due;
    int64_t next_beat_ns, peer_sent_ns, peer_heard_ns;
    uint32_t n_heard;
    struct clock_offset clock;

    // Frames of the link itself: what it sends (heartbeat, last words) and what it keeps of what
    // arrives (heartbeats, last words, the opening).
    struct frame beat, leave, small;
    _Alignas(64) uint8_t beat_bytes[128];
    _Alignas(64) uint8_t leave_bytes[LINK_SMALL];
    _Alignas(64) uint8_t small_bytes[LINK_SMALL];
};

// Starts the thread of an accepted connection; owns `fd`, also on failure.
int link_accept(struct link **out, int fd, const struct net_address *from,
                const struct link_options *o, const struct link_door *door, struct err *e);

// TCP, TLS, HELLO and its answer. The link's thread.
int link_open_steps(struct link *l, struct err *e);
// From open to closed. The link's thread.
int link_run_open(struct link *l, struct err *e);
// Whether link_close or link_free has been called.
bool link_ending(struct link *l);
// Takes what woke the thread off the eventfd.
void link_drain_wake(struct link *l);
// Ends the stream in good order: the peer gets to read what was sent.
void link_linger(struct link *l);
