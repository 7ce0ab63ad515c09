// The way from this node to another, measured over a link of the ring's kind: how long a small
// message takes from loop to loop, and how many bytes a second go through.
//
//   probe_way:  loop --> link --> TLS, TCP --> link --> loop of struct echo
//                 ^                                       |
//                 +---- half of the round trip: a hop ----+
//
// Nothing but the time is learned from a peer; what it sends is counted and thrown away.
#pragma once

#include "plan/profile.h"
#include "ring/link.h"

struct probe_options {
    const struct tls_identity *identity;
    uint32_t epoch;        // of the survey
    int index;             // ours in it
    uint32_t small, large; // bytes
};

// Dials `to` and closes again. Takes tens of milliseconds, of the caller's thread; gives up after
// seconds. Stops early when *stop becomes true.
int probe_way(struct plan_link *out, const struct link_target *to, const struct probe_options *o,
              const atomic_bool *stop, struct err *e);

// The other end: who may measure the way to this node, and a loop that answers.
struct echo;

struct echo_options {
    struct frame_pool *pool; // of arriving frames; outlives the echo
    uint32_t epoch;
    int n; // nodes of the survey
    struct digest fingerprints[PLAN_MAX_NODES];
};

int echo_new(struct echo **out, const struct echo_options *o, struct err *e);
void echo_free(struct echo *x); // nobody may call echo_admit any more; NULL is allowed
// In a link's `admit`. 0: the link is the echo's now.
int echo_admit(struct echo *x, struct link *l, const struct wire_header *header,
               const struct wire_hello *hello, struct err *why);
