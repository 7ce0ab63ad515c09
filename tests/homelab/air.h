// Links that are no cables: frames are read from one TAP device of a link, held for the delay with
// its jitter, lost as often as is asked for and during outages, and written to the other device. A
// frame never overtakes another. Links with the same air share one medium: a frame occupies it for
// as long as the rate of its own link makes that.
//
// The decisions are a struct without devices, which gets the time as a parameter; air_carry drives
// it and never returns.
#pragma once

#include "homelab/home.h"
#include "homelab/wires.h"

#include "base/rng.h"

enum { AIR_FRAME_BYTES = 2048, AIR_QUEUE = 4096, AIR_LONGEST_WAIT_US = 50000 };

// One direction of a link.
struct air_way {
    const struct home_link *link;
    int64_t *free_ns; // when the medium is free again; NULL: it has no rate here
    int64_t last_ns;  // when the frame before is due
    struct rng rng;
};

struct air {
    struct air_way ways[HOME_MAX_NODES][2]; // from the node; towards it
    int64_t media[HOME_MAX_NODES];          // (n) one for each air; free again at
};

// `h` outlives it.
void air_init(struct air *a, const struct home *h, uint64_t seed);

// When a frame that is there `now_ns` after the start arrives at the other end; -1: it is lost.
int64_t air_arrival_ns(struct air_way *w, int64_t now_ns, size_t bytes);

// Carries the frames of all links that are no cables, for ever. -1: memory or the devices fail.
int air_carry(const struct home *h, const struct wires *w, struct err *e);
