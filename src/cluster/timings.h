// What passes cost each node and each hop of a ring, put together from every node's own report.
//
//        head                 worker 0                        worker 1
//   computed, sent -> received, started, computed, sent -> received, ...
//                  \_ hop _/                          \_ hop _/
//
// A node reports by its own clock; a hop lies between two clocks and is told by the offset of each
// from the head's, so it is as exact as that is (half a round trip on loopback: some microseconds).
// Passes of one token (decoding) and larger ones (prompts) are counted apart.
//
// Any thread may call; a pass counts when everybody has reported all of its windows.
#pragma once

#include "base/err.h"
#include "ring/messages.h"

#include <stdbool.h>

struct timings;

// A ring of n_nodes, the head last, and n_rounds.
int timings_new(struct timings **out, int n_nodes, int n_rounds, struct err *e);
void timings_free(struct timings *t);

// The head took up a pass: from here on its times are collected.
void timings_begin(struct timings *t, uint64_t pass, int n_tokens);
// A window was run. sent_ns 0: not sent yet, or the pass was complete (the head's last round).
void timings_ran(struct timings *t, int node, const struct wire_time *time);
// The head's frame for round `round` was given to the socket.
void timings_sent(struct timings *t, uint64_t pass, int round, int64_t now_ns);
// The node's clock minus the head's.
void timings_offset(struct timings *t, int node, int64_t offset_ns);

struct timings_node {
    double compute_ms; // median of a pass, all rounds together
    double hop_us;     // median of one hop to this node
};

struct timings_report {
    int n_passes; // counted of this kind; 0: the rest is zero
    struct timings_node nodes[WIRE_MAX_NODES];
};

// Of the last TIMINGS_SAMPLES passes of one token, or of more.
enum { TIMINGS_SAMPLES = 256 };
void timings_read(struct timings *t, bool prompts, struct timings_report *out);
