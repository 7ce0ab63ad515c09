// Matrices turned in shares of a few groups of rows: whoever is free takes the next one.
#include "weights/turn.h"

#include "kernels/lanes.h"

#include <stdatomic.h>

enum { SHARE_BYTES = 1 << 20 };

struct job {
    const struct turn *turn;
    uint64_t total;
    atomic_uint_fast64_t next; // share
    atomic_uint_fast64_t done; // bytes
};

static uint64_t groups_of(const struct turn_matrix *m)
{
    return lanes_rows(m->n_rows) / LANE_ROWS;
}

static uint64_t share_groups(const struct turn_matrix *m)
{
    uint64_t n = SHARE_BYTES / (LANE_ROWS * m->row_bytes);
    return n ? n : 1;
}

static uint64_t shares_of(const struct turn_matrix *m)
{
    return (groups_of(m) + share_groups(m) - 1) / share_groups(m);
}

static void turn_share(struct job *j, const struct turn_matrix *m, uint64_t share)
{
    uint64_t group = share * share_groups(m), end = group + share_groups(m);
    end = end < groups_of(m) ? end : groups_of(m);
    for (; group < end; group++) {
        uint64_t row = group * LANE_ROWS, left = m->n_rows - row;
        lanes_pack(m->type, m->lanes + row * m->row_bytes, m->rows + row * m->row_bytes,
                   m->row_bytes, left < LANE_ROWS ? (int)left : LANE_ROWS);
        atomic_fetch_add_explicit(&j->done, LANE_ROWS * m->row_bytes, memory_order_relaxed);
    }
}

static void turn_thread(void *arg, int thread)
{
    struct job *j = arg;
    const struct turn *t = j->turn;
    uint64_t first = 0; // share of matrix i
    size_t i = 0;
    for (uint64_t share; i < t->n_matrices;) {
        share = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        for (; i < t->n_matrices && share >= first + shares_of(&t->matrices[i]); i++)
            first += shares_of(&t->matrices[i]);
        if (i == t->n_matrices)
            return;
        turn_share(j, &t->matrices[i], share - first);
        if (!thread && t->progress)
            t->progress(t->arg, atomic_load_explicit(&j->done, memory_order_relaxed), j->total);
    }
}

void turn_run(const struct turn *t, struct backend *b)
{
    struct job j = {.turn = t};
    for (size_t i = 0; i < t->n_matrices; i++)
        j.total += groups_of(&t->matrices[i]) * LANE_ROWS * t->matrices[i].row_bytes;
    if (j.total && b)
        backend_share(b, turn_thread, &j);
    else if (j.total)
        turn_thread(&j, 0);
}
