// A binary heap of candidates over a linked list of symbols.
#include "text/merge.h"

#include "base/check.h"

#include <stdlib.h>

enum { LONG_FROM = 2048 }; // symbols

void merger_fini(struct merger *m)
{
    free(m->symbols);
    free(m->heap);
    buckets_free(m->buckets);
    *m = (struct merger){0};
}

int merger_begin(struct merger *m, size_t n)
{
    CHECK(n <= INT32_MAX);
    m->n = m->n_heap = 0;
    if (n <= m->capacity)
        return 0;
    size_t capacity = n < 64 ? 64 : n < 2 * m->capacity ? 2 * m->capacity : n;
    free(m->symbols);
    m->capacity = 0;
    m->symbols = malloc(capacity * sizeof *m->symbols);
    if (!m->symbols)
        return -1;
    m->capacity = capacity;
    return 0;
}

void merger_add(struct merger *m, uint32_t at, uint32_t size, int32_t id)
{
    CHECK(m->n < m->capacity);
    int32_t i = (int32_t)m->n++;
    m->symbols[i] = (struct symbol){.at = at, .size = size, .id = id, .prev = i - 1, .next = -1};
    if (i > 0)
        m->symbols[i - 1].next = i;
}

static void sift_down(struct merger *m, size_t i)
{
    struct merge_candidate c = m->heap[i];
    for (size_t child; (child = 2 * i + 1) < m->n_heap; i = child) {
        if (child + 1 < m->n_heap && m->heap[child + 1].order < m->heap[child].order)
            child++;
        if (m->heap[child].order >= c.order)
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = c;
}

static void sift_up(struct merger *m, size_t i)
{
    struct merge_candidate c = m->heap[i];
    for (size_t parent; i && m->heap[parent = (i - 1) / 2].order > c.order; i = parent)
        m->heap[i] = m->heap[parent];
    m->heap[i] = c;
}

static int reserve(struct merger *m)
{
    if (m->n_heap < m->heap_capacity)
        return 0;
    size_t capacity = m->heap_capacity ? 2 * m->heap_capacity : 128;
    struct merge_candidate *heap = realloc(m->heap, capacity * sizeof *heap);
    if (!heap)
        return -1;
    m->heap = heap;
    m->heap_capacity = capacity;
    return 0;
}

struct merging {
    struct merger *m;
    const struct vocab *vocab;
    const char *word;
    merge_pair *pair;
};

// Appends the pair of symbol `left` and its neighbour to the heap's array; 1: appended.
static int propose(const struct merging *g, int32_t left)
{
    struct merger *m = g->m;
    if (left < 0 || m->symbols[left].next < 0)
        return 0;
    const struct symbol *l = &m->symbols[left], *r = &m->symbols[l->next];
    uint32_t rank;
    int32_t id;
    if (!g->pair(g->vocab, g->word, l, r, &rank, &id))
        return 0;
    if (reserve(m))
        return -1;
    m->heap[m->n_heap++] = (struct merge_candidate){
        .order = (uint64_t)rank << 32 | (uint32_t)left, .size = l->size + r->size, .id = id};
    return 1;
}

static int propose_later(const struct merging *g, int32_t left)
{
    int rc = propose(g, left);
    if (rc == 1)
        sift_up(g->m, g->m->n_heap - 1);
    return rc < 0 ? -1 : 0;
}

int merger_run_short(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair)
{
    struct merging g = {m, v, word, pair};
    for (size_t i = 0; i + 1 < m->n; i++)
        if (propose(&g, (int32_t)i) < 0)
            return -1;
    for (size_t i = m->n_heap / 2; i-- > 0;)
        sift_down(m, i);
    while (m->n_heap) {
        struct merge_candidate c = m->heap[0];
        m->heap[0] = m->heap[--m->n_heap];
        if (m->n_heap)
            sift_down(m, 0);
        int32_t left = (int32_t)(uint32_t)c.order;
        struct symbol *l = &m->symbols[left];
        if (!l->size || l->next < 0)
            continue;
        struct symbol *r = &m->symbols[l->next];
        // Symbols only grow, so an unchanged sum means that both are what they were.
        if (l->size + r->size != c.size)
            continue;
        l->size = c.size;
        l->id = c.id;
        l->next = r->next;
        r->size = 0;
        if (l->next >= 0)
            m->symbols[l->next].prev = left;
        if (propose_later(&g, l->prev) || propose_later(&g, left))
            return -1;
    }
    return 0;
}

int merger_run(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair,
               uint32_t n_ranks)
{
    if (m->n < LONG_FROM)
        return merger_run_short(m, v, word, pair);
    return merger_run_long(m, v, word, pair, n_ranks);
}
