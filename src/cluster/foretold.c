// Predictions between positions: see foretold.h.
#include "cluster/foretold.h"

static double between(double a, double b, double part)
{
    return a + (b - a) * part;
}

void foretold_at(const struct foretold *f, int position, struct timings_report *out)
{
    *out = (struct timings_report){0};
    if (!f->n)
        return;
    int high = 0;
    while (high < f->n - 1 && f->at[high] < position)
        high++;
    int low = high > 0 && f->at[high] > position ? high - 1 : high;
    const struct timings_report *a = &f->knots[low], *b = &f->knots[high];
    double way = f->at[high] - f->at[low];
    double part = way > 0 ? (position - f->at[low]) / way : 0;
    out->pass_ms = between(a->pass_ms, b->pass_ms, part);
    for (int i = 0; i < WIRE_MAX_NODES; i++)
        out->nodes[i] = (struct timings_node){
            .compute_ms = between(a->nodes[i].compute_ms, b->nodes[i].compute_ms, part),
            .wait_ms = between(a->nodes[i].wait_ms, b->nodes[i].wait_ms, part),
            .hop_us = between(a->nodes[i].hop_us, b->nodes[i].hop_us, part),
            .send_us = between(a->nodes[i].send_us, b->nodes[i].send_us, part),
        };
}
