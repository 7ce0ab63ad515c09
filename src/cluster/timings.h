// What passes cost each node and each hop of a ring, put together from every node's own report.
//
//        head           worker 0                         worker 1
//   handed over -> received, started, computed, sent -> received, started, ...
//              \______ hop _______/        \______ hop _______/
//
// A hop is from compute loop to compute loop: threads waking, encryption and the way itself. So the
// computing and the hops of a pass add up to its time. A node reports by its own clock; a hop lies
// between two clocks and is told by the offset of each from the head's, so it is as exact as that
// is: half a round trip at worst, nothing on one machine.
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
// A window was run.
void timings_ran(struct timings *t, int node, const struct wire_time *time);
// The head's compute loop hands the frame over that begins round `round`.
void timings_entered(struct timings *t, uint64_t pass, int round, int64_t now_ns);
// The node's clock minus the head's.
void timings_offset(struct timings *t, int node, int64_t offset_ns);

struct timings_node {
    double compute_ms; // median of a pass, all rounds together, without what follows
    double wait_ms;    // that it waited for the disk meanwhile
    double hop_us;     // median of one hop to this node
};

struct timings_report {
    int n_passes; // counted of this kind; 0: the rest is zero
    struct timings_node nodes[WIRE_MAX_NODES];
};

// Of the last TIMINGS_SAMPLES passes of one token, or of more.
enum { TIMINGS_SAMPLES = 256 };
void timings_read(struct timings *t, bool prompts, struct timings_report *out);
