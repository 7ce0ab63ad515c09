// Byte pair merging, shared by both kinds of vocabulary: of all neighbouring symbols the pair with
// the lowest rank becomes one, the leftmost first among equals, until no pair can be merged.
//
// Symbols are a linked list in one array. In words of usual length candidate pairs wait in a heap
// and are dropped when they come up stale, which costs O(n log n); in long ones symbols wait in
// buckets by rank (merge_long.c), which costs O(n).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vocab;

struct symbol {
    uint32_t at, size; // bytes of the word; size 0: swallowed by a symbol to the left
    int32_t id;        // -1: no token
    int32_t prev, next;
};

struct merge_candidate {
    uint64_t order; // rank << 32 | index of the left symbol
    uint32_t size;  // of both when found: differs once one of them has changed
    int32_t id;
};

struct merger {
    struct symbol *symbols;
    size_t n, capacity;
    struct merge_candidate *heap;
    size_t n_heap, heap_capacity;
    struct buckets *buckets; // NULL until a long word comes
};

void merger_fini(struct merger *m);
// Forgets the last word and makes room for n symbols; 0 or -1 (no memory).
int merger_begin(struct merger *m, size_t n);
// Appends a symbol behind the last.
void merger_add(struct merger *m, uint32_t at, uint32_t size, int32_t id);

// Whether two neighbours merge: fills rank and id of the result.
typedef bool merge_pair(const struct vocab *v, const char *word, const struct symbol *left,
                        const struct symbol *right, uint32_t *rank, int32_t *id);
// What is left are the symbols from 0 along `next`, -1 at the end. Ranks are below n_ranks. 0 or -1
// (no memory).
int merger_run(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair,
               uint32_t n_ranks);

// The two ways, which do the same; merger_run chooses.
enum { MERGE_MAX_RANKS = 1 << 24 };
int merger_run_short(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair);
int merger_run_long(struct merger *m, const struct vocab *v, const char *word, merge_pair *pair,
                    uint32_t n_ranks); // at most MERGE_MAX_RANKS, in each run the same
void buckets_free(struct buckets *g);
