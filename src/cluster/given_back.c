// What a worker says of the governor: see given_back.h.
#include "cluster/given_back.h"

#include <stdio.h>

enum {
    LOOK_MS = 1000,
    CLEARLY = 16, // more by this share of what was planned
};

void given_back_init(struct given_back *g, int64_t now_ns)
{
    *g = (struct given_back){.next_ns = now_ns};
}

bool given_back_due(struct given_back *g, int64_t now_ns)
{
    if (now_ns < g->next_ns)
        return false;
    g->next_ns = now_ns + LOOK_MS * INT64_C(1000000);
    return true;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

bool given_back_news(struct given_back *g, const struct weights_status *s,
                     char out[GIVEN_BACK_TEXT])
{
    uint64_t gone = s->governed && s->resident < s->wanted ? s->wanted - s->resident : 0;
    if (!gone && g->said) {
        g->said = 0;
        snprintf(out, GIVEN_BACK_TEXT,
                 "memory is free again: all %.1f MiB of weights that were planned are resident",
                 mib(s->resident));
        return true;
    }
    if (gone <= g->said || (g->said && gone - g->said < s->wanted / CLEARLY))
        return false;
    g->said = gone;
    snprintf(out, GIVEN_BACK_TEXT,
             "memory is short: gave back %.1f MiB of weights, %.1f MiB stay resident; the rest is "
             "read from the file as it is needed",
             mib(gone), mib(s->resident));
    return true;
}
