// A pass round the ring as slices of time: what each node did, one after another. The Gantt and the
// trace draw the same ones.
#pragma once

#include "cluster/timings.h"

enum slice_kind {
    SLICE_RECEIVE, // from when the node before has sent until the compute loop takes the frame up
    SLICE_COMPUTE,
    SLICE_WAIT, // for the disk: a sum, put at the beginning of the window
    SLICE_SEND, // from the end of computing until the frame is given to the socket
    SLICE_KINDS,
};

struct slice {
    enum slice_kind kind;
    int round;             // -1: the head looks up the embedding and sends the first frame
    double from_us, to_us; // since the pass was taken up; from_us < to_us
};

extern const char *const slice_names[SLICE_KINDS]; // "receive", "compute", ..

// Of one node, in the order of time.
void slices_of(const struct timings_trace *t, const struct timings_pass *p, int node,
               void (*take)(void *ctx, const struct slice *s), void *ctx);
// When the head's last window was computed.
double slices_end_us(const struct timings_trace *t, const struct timings_pass *p);
