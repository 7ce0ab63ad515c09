// Learning the order of use: see tour.h.
#include "weights/tour.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

int tour_init(struct tour *t, int n_stops, const int *follows, size_t n_pieces, struct err *e)
{
    CHECK(n_stops > 0);
    *t = (struct tour){.n_stops = n_stops, .stop = -1};
    t->begin = calloc((size_t)n_stops + 1, sizeof *t->begin);
    t->pieces = calloc(n_pieces + 1, sizeof *t->pieces);
    t->follows = calloc((size_t)n_stops, sizeof *t->follows);
    t->known = calloc(n_pieces + 1, sizeof *t->known);
    t->on_demand = calloc(n_pieces + 1, sizeof *t->on_demand);
    if (!t->begin || !t->pieces || !t->follows || !t->known || !t->on_demand) {
        tour_fini(t);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    memcpy(t->follows, follows, (size_t)n_stops * sizeof *follows);
    return 0;
}

void tour_fini(struct tour *t)
{
    free(t->begin);
    free(t->pieces);
    free(t->follows);
    free(t->known);
    free(t->on_demand);
    *t = (struct tour){0};
}

void tour_begin_stop(struct tour *t)
{
    CHECK(t->stop + 1 < t->n_stops);
    t->stop++;
    t->begin[t->stop + 1] = t->begin[t->stop];
}

void tour_note(struct tour *t, uint32_t piece)
{
    if (t->stop < 0 || t->known[piece])
        return;
    t->known[piece] = true;
    t->pieces[t->begin[t->stop + 1]++] = piece;
}

void tour_note_stack(struct tour *t, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n && t->stop >= 0; i++)
        t->on_demand[i] = true;
}

void tour_end(struct tour *t)
{
    while (t->stop + 1 < t->n_stops)
        tour_begin_stop(t);
}
