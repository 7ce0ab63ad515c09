// Merging within words of thousands of symbols, in time that grows as they do.
//
// Each symbol that merges with the one behind it waits in the bucket of the pair's rank, a doubly
// linked list of symbols by their places:
//
//     rank     3   17   204            waiting: 3, 17, 204
//     bucket   5   0    2
//              9   4
//                  8
//
// The lowest rank that waits is found in a tree of bits, 64 to a node. A symbol that changes leaves
// its bucket at once, so nothing in a bucket is stale. Symbols mostly come to a bucket in the order
// of their places, or to its beginning; where they do not the bucket is sorted when its turn comes.
#include "base/check.h"
#include "text/merge.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEVELS = 4, // of the tree of bits: 2^24 ranks
    NEAR = 8,   // places from the beginning of a bucket that are looked at to keep its order
    SORT_SMALL = 64,
    DIGIT_BITS = 9, // four digits hold any place, and bring it back to where it was
    NONE = -1,
};
_Static_assert(1 << LEVELS * 6 == MERGE_MAX_RANKS, "levels of the tree");

struct waiting_symbol {
    int32_t rank; // of its pair, NONE: in no bucket
    int32_t id;   // what the pair becomes
    int32_t before, behind;
};

struct bucket {
    int32_t first, last; // NONE: empty
    bool mixed;          // not in order
};

struct buckets { // all empty between words
    struct merger *m;
    const struct vocab *vocab;
    const char *word;
    merge_pair *pair;
    struct waiting_symbol *symbols; // (capacity)
    size_t capacity;
    struct bucket *bucket; // (n_ranks)
    uint32_t n_ranks;
    uint64_t *bits[LEVELS]; // bits[0]: a bit for each rank; bits[k]: for 64 of bits[k - 1]
};

static void set_waiting(struct buckets *g, uint32_t rank)
{
    for (int k = 0; k < LEVELS; k++, rank /= 64)
        g->bits[k][rank / 64] |= (uint64_t)1 << rank % 64;
}

static void clear_waiting(struct buckets *g, uint32_t rank)
{
    for (int k = 0; k < LEVELS; k++, rank /= 64)
        if (g->bits[k][rank / 64] &= ~((uint64_t)1 << rank % 64))
            break;
}

// The lowest rank of which a symbol waits, NONE: there is none.
static int32_t lowest_rank(const struct buckets *g)
{
    uint64_t at = 0;
    if (!g->bits[LEVELS - 1][0])
        return NONE;
    for (int k = LEVELS; k-- > 0;)
        at = at * 64 + (uint64_t)__builtin_ctzll(g->bits[k][at]);
    return (int32_t)at;
}

static void leave(struct buckets *g, int32_t i)
{
    struct waiting_symbol *s = &g->symbols[i];
    if (s->rank == NONE)
        return;
    struct bucket *b = &g->bucket[s->rank];
    *(s->before >= 0 ? &g->symbols[s->before].behind : &b->first) = s->behind;
    *(s->behind >= 0 ? &g->symbols[s->behind].before : &b->last) = s->before;
    if (b->first < 0) {
        b->mixed = false;
        clear_waiting(g, (uint32_t)s->rank);
    }
    s->rank = NONE;
}

// Puts a symbol behind `before` (NONE: in front of all).
static void insert(struct buckets *g, struct bucket *b, int32_t before, int32_t i)
{
    struct waiting_symbol *s = &g->symbols[i];
    s->before = before;
    s->behind = before >= 0 ? g->symbols[before].behind : b->first;
    *(before >= 0 ? &g->symbols[before].behind : &b->first) = i;
    *(s->behind >= 0 ? &g->symbols[s->behind].before : &b->last) = i;
}

// Finds out whether a symbol merges with the one behind it, and makes it wait.
static void enter(struct buckets *g, int32_t i)
{
    const struct symbol *left = &g->m->symbols[i];
    struct waiting_symbol *s = &g->symbols[i];
    uint32_t rank;
    if (left->next < 0 ||
        !g->pair(g->vocab, g->word, left, &g->m->symbols[left->next], &rank, &s->id))
        return;
    s->rank = (int32_t)rank;
    struct bucket *b = &g->bucket[rank];
    int32_t before = b->last;
    if (b->first < 0) {
        set_waiting(g, rank);
    } else if (i < b->last && !b->mixed) {
        int32_t behind = b->first;
        for (int k = 0; k < NEAR && behind < i; k++)
            behind = g->symbols[behind].behind;
        b->mixed = behind < i;
        before = g->symbols[behind].before;
    }
    insert(g, b, before, i);
}

static void sort_small(int32_t *places, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int32_t place = places[i];
        size_t at = i;
        for (; at && places[at - 1] > place; at--)
            places[at] = places[at - 1];
        places[at] = place;
    }
}

// By digits, the lowest first; `other` has room for as many.
static void sort_large(int32_t *places, int32_t *other, size_t n)
{
    for (int shift = 0; shift < 4 * DIGIT_BITS; shift += DIGIT_BITS) {
        size_t begin[1 << DIGIT_BITS] = {0}, at = 0;
        for (size_t i = 0; i < n; i++)
            begin[places[i] >> shift & ((1 << DIGIT_BITS) - 1)]++;
        for (int d = 0; d < 1 << DIGIT_BITS; d++) {
            size_t count = begin[d];
            begin[d] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++)
            other[begin[places[i] >> shift & ((1 << DIGIT_BITS) - 1)]++] = places[i];
        int32_t *swap = places;
        places = other;
        other = swap;
    }
}

static int sort_bucket(struct buckets *g, struct bucket *b)
{
    int32_t small[SORT_SMALL], *places = small;
    size_t n = 0;
    for (int32_t i = b->first; i >= 0; i = g->symbols[i].behind)
        n++;
    if (n > SORT_SMALL && !(places = malloc(2 * n * sizeof *places)))
        return -1;
    size_t k = 0;
    for (int32_t i = b->first; i >= 0; i = g->symbols[i].behind)
        places[k++] = i;
    if (n > SORT_SMALL)
        sort_large(places, places + n, n);
    else
        sort_small(places, n);
    b->first = b->last = NONE;
    for (k = 0; k < n; k++)
        insert(g, b, b->last, places[k]);
    b->mixed = false;
    if (places != small)
        free(places);
    return 0;
}

static void merge(struct buckets *g, int32_t left)
{
    struct symbol *l = &g->m->symbols[left], *r = &g->m->symbols[l->next];
    leave(g, l->next);
    l->size += r->size;
    l->id = g->symbols[left].id;
    l->next = r->next;
    r->size = 0;
    if (l->next >= 0)
        g->m->symbols[l->next].prev = left;
    if (l->prev >= 0) {
        leave(g, l->prev);
        enter(g, l->prev);
    }
    enter(g, left);
}

static int merge_first(struct buckets *g, int32_t rank)
{
    struct bucket *b = &g->bucket[rank];
    if (b->mixed && sort_bucket(g, b))
        return -1;
    int32_t i = b->first, next = g->symbols[i].behind;
    if (next >= 0) {
        __builtin_prefetch(&g->symbols[next]);
        __builtin_prefetch(&g->m->symbols[next]);
    }
    leave(g, i);
    merge(g, i);
    return 0;
}

void buckets_free(struct buckets *g)
{
    if (!g)
        return;
    free(g->symbols);
    free(g->bucket);
    free(g->bits[0]);
    free(g);
}

static struct buckets *buckets_new(uint32_t n_ranks)
{
    struct buckets *g = calloc(1, sizeof *g);
    size_t words = 0, level = n_ranks;
    for (int k = 0; k < LEVELS; k++)
        words += level = level / 64 + 1;
    if (!g)
        return NULL;
    g->n_ranks = n_ranks;
    g->bucket = malloc(((size_t)n_ranks + 1) * sizeof *g->bucket);
    g->bits[0] = calloc(words, sizeof *g->bits[0]);
    if (!g->bucket || !g->bits[0]) {
        buckets_free(g);
        return NULL;
    }
    level = n_ranks;
    for (int k = 1; k < LEVELS; k++)
        g->bits[k] = g->bits[k - 1] + (level = level / 64 + 1);
    for (uint32_t i = 0; i < n_ranks; i++)
        g->bucket[i] = (struct bucket){NONE, NONE, false};
    return g;
}

static int reserve(struct buckets *g, size_t n)
{
    if (n > g->capacity) {
        free(g->symbols);
        g->capacity = 0;
        g->symbols = malloc(n * sizeof *g->symbols);
        if (!g->symbols)
            return -1;
        g->capacity = n;
    }
    for (size_t i = 0; i < n; i++)
        g->symbols[i].rank = NONE;
    return 0;
}

int merger_run_long(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair,
                    uint32_t n_ranks)
{
    struct buckets *g = m->buckets ? m->buckets : buckets_new(n_ranks);
    m->buckets = g;
    if (!g || reserve(g, m->n))
        return -1;
    CHECK(g->n_ranks == n_ranks);
    g->m = m;
    g->vocab = v;
    g->word = word;
    g->pair = pair;
    for (size_t i = 0; i + 1 < m->n; i++)
        enter(g, (int32_t)i);
    int rc = 0;
    for (int32_t rank; !rc && (rank = lowest_rank(g)) >= 0;)
        rc = merge_first(g, rank);
    if (rc) { // what waits is not to be met by the next word
        buckets_free(g);
        m->buckets = NULL;
    }
    return rc;
}
