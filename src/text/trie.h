// All tokens that a text begins with, found byte by byte.
//
// A node's children lie next to each other in the order of their bytes, level after level, so the
// levels that every text passes through are together in memory:
//
//     node    0: root      1: 'a'   2: 'b'    3: "aa"  4: "ab"  5: "bc" ...
//     child        1           3        5
//     n            2           2        1
#pragma once

#include "text/lookup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie_node {
    uint32_t child; // the first of its children
    int32_t id;     // the token that ends here, -1: none
    uint16_t n;     // children
    uint8_t byte;   // that leads here
};

struct trie {
    struct trie_node *nodes;
};

// Takes keys[id] for all `member` ids below n that are not empty; of equal keys the last counts. 0
// or -1 (no memory).
int trie_init(struct trie *t, const char *bytes, const struct span *keys, const bool *member,
              int32_t n);
void trie_fini(struct trie *t);

// The child of node `at` (0: the root) by `byte`, 0: there is none.
static inline uint32_t trie_step(const struct trie *t, uint32_t at, uint8_t byte)
{
    const struct trie_node *p = &t->nodes[at], *child = t->nodes + p->child;
    uint32_t low = 0, n = p->n;
    while (n > 1) {
        uint32_t half = n / 2;
        low += child[low + half].byte <= byte ? half : 0;
        n -= half;
    }
    return n && child[low].byte == byte ? p->child + low : 0;
}
