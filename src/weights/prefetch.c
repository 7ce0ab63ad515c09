// Reading ahead of the use of mapped weights: see prefetch.h.
//
// The pieces lie one behind the other on a circle; `ahead` bytes behind the end of the one that was
// used last have been asked for. A use further on takes away from them what lies between, and a
// jump back is a long way forward.
#include "weights/prefetch.h"

#include <stdbool.h>
#include <stdlib.h>

struct prefetch {
    size_t n, last;  // last: position of the piece that was used last
    uint64_t total;  // bytes of the circle
    uint64_t ahead;  // asked for behind the end of `last`
    uint64_t reads;  // when the round began
    bool rests;      // in this round
    uint32_t *place; // (gguf_n_pieces) 1 + position, 0: not on the circle
    struct prefetch_piece {
        uint32_t piece;
        uint64_t end, size; // end: on the circle
    } pieces[];             // (n)
};

int prefetch_new(struct prefetch **out, const struct gguf *g, const uint32_t *pieces, size_t n,
                 struct err *e)
{
    struct prefetch *p = calloc(1, sizeof *p + n * sizeof *p->pieces); // n: at most GGUF_MAX_PIECES
    if (p)
        p->place = calloc(gguf_n_pieces(g) + 1, sizeof *p->place);
    if (!p || !p->place) {
        prefetch_free(p);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of what to read ahead");
    }
    p->n = n;
    for (size_t i = 0; i < n; i++) {
        uint64_t size = gguf_piece_at(g, pieces[i]).size;
        p->total += size; // of disjoint stretches of files
        p->pieces[i] = (struct prefetch_piece){pieces[i], p->total, size};
        p->place[pieces[i]] = (uint32_t)i + 1;
    }
    *out = p;
    return 0;
}

void prefetch_free(struct prefetch *p)
{
    if (!p)
        return;
    free(p->place);
    free(p);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Asks for what lies behind piece `at` up to `most` and was not asked for.
static void ask(struct prefetch *p, size_t at, uint64_t most, const struct prefetch_calls *calls)
{
    uint64_t begin = 0; // of piece i, behind the end of the one in use
    for (size_t i = (at + 1) % p->n; begin < most; i = (i + 1) % p->n) {
        const struct prefetch_piece *next = &p->pieces[i];
        uint64_t from = p->ahead > begin ? p->ahead - begin : 0;
        uint64_t to = least(next->size, most - begin);
        if (from < to)
            calls->ask(calls->arg, next->piece, from, to - from);
        begin += next->size;
    }
    p->ahead = most;
}

void prefetch_use(struct prefetch *p, uint32_t piece, const struct prefetch_calls *calls)
{
    if (!p->place[piece])
        return;
    size_t at = p->place[piece] - 1;
    uint64_t way = (p->pieces[at].end + p->total - p->pieces[p->last].end) % p->total;
    uint64_t most = least(PREFETCH_MOST, p->total - p->pieces[at].size);
    p->ahead = p->ahead > way ? p->ahead - way : 0;
    if (at < p->last) {
        uint64_t reads = calls->reads(calls->arg);
        p->rests = reads == p->reads;
        p->reads = reads;
    }
    p->last = at;
    if (!p->rests && p->ahead < least(PREFETCH_LEAST, most))
        ask(p, at, most, calls);
}
