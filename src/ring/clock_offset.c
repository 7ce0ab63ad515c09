// The arithmetic of a heartbeat exchange.
#include "ring/clock_offset.h"

bool clock_offset_add(struct clock_offset *c, int64_t t1, int64_t t2, int64_t t3, int64_t t4)
{
    int64_t there, back, ours, theirs, round_trip;
    if (t4 < t1 || t3 < t2 || __builtin_sub_overflow(t2, t1, &there) ||
        __builtin_sub_overflow(t3, t4, &back) || __builtin_sub_overflow(t4, t1, &ours) ||
        __builtin_sub_overflow(t3, t2, &theirs) ||
        __builtin_sub_overflow(ours, theirs, &round_trip) || round_trip < 0)
        return false;
    uint32_t at = c->n++ % CLOCK_OFFSET_WINDOW;
    c->offset_ns[at] = there / 2 + back / 2 + (there % 2 + back % 2) / 2;
    c->round_trip_ns[at] = round_trip;
    return true;
}

bool clock_offset_best(const struct clock_offset *c, int64_t *offset_ns, int64_t *round_trip_ns)
{
    uint32_t n = c->n < CLOCK_OFFSET_WINDOW ? c->n : CLOCK_OFFSET_WINDOW, best = 0;
    if (n == 0)
        return false;
    for (uint32_t i = 1; i < n; i++)
        if (c->round_trip_ns[i] < c->round_trip_ns[best])
            best = i;
    *offset_ns = c->offset_ns[best];
    *round_trip_ns = c->round_trip_ns[best];
    return true;
}
