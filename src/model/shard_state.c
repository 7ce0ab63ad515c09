// Pages of a session's cache, copied out and in: see shard_state.h.
#include "model/shard_state.h"

#include "base/check.h"

static size_t page_at(const struct shard_cache *c, uint32_t session, int page)
{
    CHECK(page >= 0 && page * KV_PAGE_TOKENS < kv_length(c->map, session));
    return (size_t)kv_pages(c->map, session)[page] * c->page_bytes;
}

size_t shard_page_bytes(const struct shard *s)
{
    return shard_cache(s).page_bytes;
}

struct digest shard_page_kind(const struct shard *s)
{
    struct shard_cache c = shard_cache(s);
    struct digest_state *d = digest_begin();
    const uint64_t numbers[] = {SHARD_STATE_VERSION, (uint64_t)c.type, c.page_bytes, c.n_angles};
    digest_add(d, numbers, sizeof numbers);
    digest_add(d, c.angles, c.n_angles * sizeof *c.angles);
    return digest_end(d);
}

void shard_page_read(const struct shard *s, uint32_t session, int page, void *out)
{
    struct shard_cache c = shard_cache(s);
    buf_read(c.pages, page_at(&c, session, page), out, c.page_bytes);
}

void shard_page_write(struct shard *s, uint32_t session, int page, const void *data)
{
    struct shard_cache c = shard_cache(s);
    buf_write(c.pages, page_at(&c, session, page), data, c.page_bytes);
}
