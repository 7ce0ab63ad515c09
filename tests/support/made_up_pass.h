// A pass round a ring of three nodes that computed nothing: every time of it is made up.
#pragma once

#include "cluster/timings.h"

static const char made_up_names[3][WIRE_NAME] = {"alpha", "beta", "desk"};

// Embedding takes 100 us; in each round each node computes 900 us, of which node 2 (the head) waits
// 300 for the disk; then it sends for 100 us and the frame is 200 us on its way.
static inline void made_up_pass(const struct timings_trace *t, struct timings_pass *p)
{
    double now = 100;
    p->n_tokens = 1;
    p->embedded_us = now;
    p->sent_us = now + 100;
    for (int r = 0; r < t->n_rounds; r++)
        for (int m = 0; m < t->n_nodes; m++) {
            struct timings_stop *s = timings_stop_of(t, p, r, m);
            bool last = r == t->n_rounds - 1 && m == t->n_nodes - 1;
            s->received_us = now + 250;
            s->started_us = now + 300;
            s->waited_us = m == 2 ? 300 : 0;
            s->computed_us = s->started_us + 900;
            s->sent_us = s->computed_us + (last ? 0 : 100);
            now = s->computed_us;
        }
}
