// How long a hop takes: two links over loopback in this process, encrypted, one frame to and fro.
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { HOP_MIN_PAYLOAD = 1024 };

struct hop_figures { // one-way, half of a round trip
    double p50_us, p90_us, p99_us;
    int n;
};

// link_only: from link thread to link thread (the callback answers). loops: from compute loop to
// compute loop, with the queues and the wake-ups between. `payload` bytes per frame.
int hop_bench(struct hop_figures *link_only, struct hop_figures *loops, uint32_t payload, int n,
              struct err *e);
