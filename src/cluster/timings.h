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
// Passes of one token (decoding) and larger ones (prompts) are counted apart. The last passes are
// kept whole too, as timelines by the head's clock.
//
// Any thread may call; a pass counts when everybody has reported all of its windows. Nothing is
// allocated but by timings_new, timings_last and timings_recent.
#pragma once

#include "base/err.h"
#include "ring/messages.h"

#include <stdbool.h>

struct timings;

// A ring of n_nodes, the head last, and n_rounds.
int timings_new(struct timings **out, int n_nodes, int n_rounds, struct err *e);
void timings_free(struct timings *t);

// The head took up a pass: from here on its times are collected.
void timings_begin(struct timings *t, uint64_t pass, int n_tokens, int64_t now_ns);
// A window was run.
void timings_ran(struct timings *t, int node, const struct wire_time *time);
// The head's compute loop hands the frame over that begins round `round`.
void timings_entered(struct timings *t, uint64_t pass, int round, int64_t now_ns);
// The last byte of that frame was given to the socket.
void timings_left(struct timings *t, uint64_t pass, int round, int64_t now_ns);
// The node's clock minus the head's.
void timings_offset(struct timings *t, int node, int64_t offset_ns);

// ---- Figures.

struct timings_node {
    double compute_ms; // of a pass, all rounds together, without what follows
    double wait_ms;    // that it waited for the disk meanwhile
    double hop_us;     // one hop to this node
    double send_us;    // from the end of computing until the frame was given to the socket
};

struct timings_report {
    int n_passes;   // counted of this kind; 0: the rest is zero
    double pass_ms; // from taking it up to the end of the head's last window
    struct timings_node nodes[WIRE_MAX_NODES];
};

// Medians of the last TIMINGS_SAMPLES passes of one token, or of more.
enum { TIMINGS_SAMPLES = 256 };
void timings_read(struct timings *t, bool prompts, struct timings_report *out);
// The same of the last pass of one token alone.
void timings_latest(struct timings *t, struct timings_report *out);

// ---- Timelines, microseconds since the pass was taken up.

struct timings_stop { // a node's window in one round
    double received_us, started_us, computed_us;
    double sent_us;   // of the head's last round, which sends nothing: computed_us
    double waited_us; // for the disk, somewhere between started and computed
};

struct timings_pass {
    uint64_t pass;
    int n_tokens;
    int64_t begun_ns;           // the head's clock
    double embedded_us;         // handed over by the head for the first round,
    double sent_us;             // and given to the socket
    struct timings_stop *stops; // (n_rounds, n_nodes)
};

struct timings_trace {
    int n_nodes, n_rounds, n_passes;
    struct timings_pass *passes; // (n_passes), the earliest first; heap
};

// The last pass of one token, when there is one: n_passes is 0 or 1.
int timings_last(struct timings *t, struct timings_trace *out, struct err *e);
// The last passes of any kind, TIMINGS_KEPT at most and fewer where nodes x rounds are many.
enum { TIMINGS_KEPT = 256 };
int timings_recent(struct timings *t, struct timings_trace *out, struct err *e);
void timings_trace_free(struct timings_trace *trace);
// For what is not taken from struct timings: room for so many passes, zeroed.
int timings_trace_new(struct timings_trace *out, int n_nodes, int n_rounds, int n_passes,
                      struct err *e);
static inline struct timings_stop *timings_stop_of(const struct timings_trace *trace,
                                                   const struct timings_pass *p, int round,
                                                   int node)
{
    return &p->stops[round * trace->n_nodes + node];
}
