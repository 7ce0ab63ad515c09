// How far a peer's clock is from ours, from the four times of a heartbeat exchange (RFC 5905,
// section 8): offset = ((t2 - t1) + (t3 - t4)) / 2, round trip = (t4 - t1) - (t3 - t2).
//
// Of the last CLOCK_OFFSET_WINDOW exchanges the one with the shortest round trip is believed: what
// makes a way longer (a queue, a busy core) makes it lopsided. Pure; belongs to one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { CLOCK_OFFSET_WINDOW = 8 };

struct clock_offset {
    int64_t offset_ns[CLOCK_OFFSET_WINDOW], round_trip_ns[CLOCK_OFFSET_WINDOW];
    uint32_t n; // exchanges seen
};

// t1: we sent, t2: the peer received (its clock), t3: the peer sent (its clock), t4: we received.
// false: impossible times (a confused peer), ignored.
bool clock_offset_add(struct clock_offset *c, int64_t t1, int64_t t2, int64_t t3, int64_t t4);
// The best of the window; false while nothing was added.
bool clock_offset_best(const struct clock_offset *c, int64_t *offset_ns, int64_t *round_trip_ns);
