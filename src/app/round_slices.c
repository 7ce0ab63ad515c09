// A pass as slices of time: see round_slices.h.
#include "app/round_slices.h"

#include <math.h>

const char *const slice_names[SLICE_KINDS] = {
    [SLICE_RECEIVE] = "receive",
    [SLICE_COMPUTE] = "compute",
    [SLICE_WAIT] = "disk wait",
    [SLICE_SEND] = "send",
};

// When the frame of this window was given to the socket on its way to `node`.
static double on_its_way(const struct timings_trace *t, const struct timings_pass *p, int round,
                         int node)
{
    if (node)
        return timings_stop_of(t, p, round, node - 1)->sent_us;
    return round ? timings_stop_of(t, p, round - 1, t->n_nodes - 1)->sent_us : p->sent_us;
}

void slices_of(const struct timings_trace *t, const struct timings_pass *p, int node,
               void (*take)(void *ctx, const struct slice *s), void *ctx)
{
    if (node == t->n_nodes - 1) {
        const struct slice embed = {SLICE_COMPUTE, -1, 0, p->embedded_us};
        const struct slice send = {SLICE_SEND, -1, p->embedded_us, p->sent_us};
        if (embed.from_us < embed.to_us)
            take(ctx, &embed);
        if (send.from_us < send.to_us)
            take(ctx, &send);
    }
    for (int r = 0; r < t->n_rounds; r++) {
        const struct timings_stop *s = timings_stop_of(t, p, r, node);
        double computes = fmin(s->started_us + s->waited_us, s->computed_us);
        const struct slice all[] = {
            {SLICE_RECEIVE, r, on_its_way(t, p, r, node), s->started_us},
            {SLICE_WAIT, r, s->started_us, computes},
            {SLICE_COMPUTE, r, computes, s->computed_us},
            {SLICE_SEND, r, s->computed_us, s->sent_us},
        };
        for (int i = 0; i < SLICE_KINDS; i++)
            if (all[i].from_us < all[i].to_us)
                take(ctx, &all[i]);
    }
}

double slices_end_us(const struct timings_trace *t, const struct timings_pass *p)
{
    return timings_stop_of(t, p, t->n_rounds - 1, t->n_nodes - 1)->computed_us;
}
