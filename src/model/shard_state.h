// The cache of one session as bytes, page by page in the order of positions, so that a conversation
// can be kept and gone on with where it stopped. For a shard that has all layers.
//
// A page is KV_PAGE_TOKENS positions of all layers, as it lies in memory (model/shard.c draws it,
// kernels/kv_chunk.h what is in it); what it holds behind the session's last position means
// nothing. Whoever changes how a page lies counts SHARD_STATE_VERSION up.
//
// Threads: the compute driver's, or another while no pass is under way.
#pragma once

#include "model/kv.h"
#include "model/shard.h"

enum { SHARD_STATE_VERSION = 1 };

struct shard_cache { // shard.c gives it out
    const struct kv_map *map;
    struct buf *pages;
    size_t page_bytes;
    enum kv_type type;
    const float *angles; // (n_angles) by which keys are turned; the context may choose them
    size_t n_angles;
};
struct shard_cache shard_cache(const struct shard *s);

size_t shard_page_bytes(const struct shard *s);
// What makes pages of one shard of use to another with the same model: layout and type, and the
// angles of rotation.
struct digest shard_page_kind(const struct shard *s);
// `page` is one that the session has: page * KV_PAGE_TOKENS < its length.
void shard_page_read(const struct shard *s, uint32_t session, int page, void *out);
void shard_page_write(struct shard *s, uint32_t session, int page, const void *data);
