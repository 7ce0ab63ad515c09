// The key-value cache of a shard: pages of KV_PAGE_TOKENS positions, shared between forked
// sessions.
//
//   session 3:  [page 7][page 2][page 9 ..]     page 7 is full and may be shared (refcount 2);
//   session 5:  [page 7][page 4 ..]             the last, partial page of a fork is copied.
//
// A page holds all layers of the shard: for each layer a chunk of each key-value head
// (kernels/kv_chunk.h). Every node of a ring applies the same operations in the same order and so
// uses the same number of pages; the head alone admits, by kv_pages_free on its own mirror (struct
// kv_map), so no node runs out in the middle of a pass.
#pragma once

#include "base/err.h"
#include "model/batch.h"

#include <stdbool.h>
#include <stdint.h>

// Page bookkeeping without memory behind it: what the head admits by.
struct kv_map;
int kv_map_new(struct kv_map **out, int n_pages, int max_sessions, int max_context, struct err *e);
void kv_map_free(struct kv_map *m);
int kv_pages_free(const struct kv_map *m);
int kv_length(const struct kv_map *m, uint32_t session); // tokens held

// Whether this batch (ops, then tokens) can be applied; `e` says what is missing. Changes nothing.
int kv_admit(const struct kv_map *m, const struct batch *b, struct err *e);

// Pages to copy after a fork (from, to), so that the memory behind follows the bookkeeping.
struct kv_copy {
    int32_t from, to; // page numbers
};

// Applies ops and makes room for the tokens. The batch must be admissible (CHECKed: frames are
// checked against kv_admit before they come here). copies: room for BATCH_MAX_OPS; returns their
// count.
int kv_apply(struct kv_map *m, const struct batch *b, struct kv_copy *copies);

// The page numbers of a session, by pos / KV_PAGE_TOKENS.
const int32_t *kv_pages(const struct kv_map *m, uint32_t session);
