// Building a trie: the keys are sorted, so those below a node are a range, and the ranges of its
// children are next to each other in it. Nodes wait in a queue, which is their own array.
#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

struct building {
    const char *bytes;
    const struct span *keys;
    int32_t *ids; // (n), by their keys
    int32_t n;
};

struct range { // of `ids`, keys that begin alike for `depth` bytes
    int32_t low, high;
    uint32_t depth;
};

static int compare(const void *a, const void *b, void *arg)
{
    const struct building *g = arg;
    const struct span *x = &g->keys[*(const int32_t *)a], *y = &g->keys[*(const int32_t *)b];
    int order = memcmp(g->bytes + x->at, g->bytes + y->at, x->n < y->n ? x->n : y->n);
    if (order)
        return order;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

// Nodes of the trie: the root, and for each key the bytes that it does not share with the one
// before.
static size_t count_nodes(const struct building *g)
{
    size_t n = 1;
    for (int32_t i = 0; i < g->n; i++) {
        const struct span *k = &g->keys[g->ids[i]];
        uint32_t shared = 0;
        if (i) {
            const struct span *p = &g->keys[g->ids[i - 1]];
            while (shared < p->n && shared < k->n &&
                   g->bytes[p->at + shared] == g->bytes[k->at + shared])
                shared++;
        }
        n += k->n - shared;
    }
    return n;
}

// Gives node `at` its token and its children, whose ranges are appended behind `n_nodes`.
static uint32_t expand(const struct building *g, struct trie_node *nodes, struct range *ranges,
                       uint32_t at, uint32_t n_nodes)
{
    struct range r = ranges[at];
    struct trie_node *node = &nodes[at];
    node->id = -1;
    while (r.low < r.high && g->keys[g->ids[r.low]].n == r.depth)
        node->id = g->ids[r.low++];
    node->child = n_nodes;
    while (r.low < r.high) {
        uint8_t byte = (uint8_t)g->bytes[g->keys[g->ids[r.low]].at + r.depth];
        int32_t end = r.low + 1;
        while (end < r.high && (uint8_t)g->bytes[g->keys[g->ids[end]].at + r.depth] == byte)
            end++;
        nodes[n_nodes] = (struct trie_node){.byte = byte};
        ranges[n_nodes++] = (struct range){r.low, end, r.depth + 1};
        node->n++;
        r.low = end;
    }
    return n_nodes;
}

int trie_init(struct trie *t, const char *bytes, const struct span *keys, const bool *member,
              int32_t n)
{
    struct building g = {.bytes = bytes, .keys = keys};
    struct range *ranges = NULL;
    int rc = -1;
    *t = (struct trie){0};
    g.ids = malloc(((size_t)n + 1) * sizeof *g.ids);
    if (!g.ids)
        return -1;
    for (int32_t i = 0; i < n; i++)
        if (member[i] && keys[i].n)
            g.ids[g.n++] = i;
    qsort_r(g.ids, (size_t)g.n, sizeof *g.ids, compare, &g);
    size_t n_nodes = count_nodes(&g); // no more than bytes of keys, which fit 32 bits
    t->nodes = malloc(n_nodes * sizeof *t->nodes);
    ranges = malloc(n_nodes * sizeof *ranges);
    if (t->nodes && ranges) {
        t->nodes[0] = (struct trie_node){0};
        ranges[0] = (struct range){0, g.n, 0};
        uint32_t end = 1;
        for (uint32_t at = 0; at < end; at++)
            end = expand(&g, t->nodes, ranges, at, end);
        rc = 0;
    }
    free(ranges);
    free(g.ids);
    return rc;
}

void trie_fini(struct trie *t)
{
    free(t->nodes);
    t->nodes = NULL;
}
