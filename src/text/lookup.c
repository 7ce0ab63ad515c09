// Open addressing with linear probing, at most two thirds full.
#include "text/lookup.h"

#include "base/bytes.h"
#include "base/check.h"

#include <stdlib.h>

uint32_t lookup_hash(const char *key, size_t n)
{
    uint64_t a, h = n;
    for (; n > 8; key += 8, n -= 8)
        h = lookup_mix(h ^ load_u64(key), h + n) | h << 32;
    if (n >= 4) { // the two words may overlap
        a = load_u32(key) | (uint64_t)load_u32(key + n - 4) << 32;
    } else {
        a = 0;
        for (size_t i = 0; i < n; i++)
            a = a << 8 | (uint8_t)key[i];
    }
    return lookup_mix(a ^ h, h + n);
}

int lookup_init(struct lookup *l, const char *bytes, const struct span *keys, size_t n)
{
    uint64_t size = 16;
    while (size < (uint64_t)n + n / 2 + 1)
        size *= 2;
    CHECK(size <= UINT32_MAX);
    *l = (struct lookup){.bytes = bytes, .keys = keys, .mask = (uint32_t)size - 1};
    l->slots = malloc(size * sizeof *l->slots);
    if (!l->slots)
        return -1;
    for (uint64_t i = 0; i < size; i++)
        l->slots[i].id = -1;
    return 0;
}

void lookup_fini(struct lookup *l)
{
    free(l->slots);
    l->slots = NULL;
}

static struct lookup_slot *slot_of(const struct lookup *l, uint32_t hash, const char *key, size_t n)
{
    for (uint32_t i = hash & l->mask;; i = (i + 1) & l->mask) {
        struct lookup_slot *s = &l->slots[i];
        if (s->id < 0)
            return s;
        if (s->hash == hash && s->key.n == n && !memcmp(l->bytes + s->key.at, key, n))
            return s;
    }
}

void lookup_put(struct lookup *l, int32_t id)
{
    const char *key = l->bytes + l->keys[id].at;
    uint32_t hash = lookup_hash(key, l->keys[id].n);
    *slot_of(l, hash, key, l->keys[id].n) =
        (struct lookup_slot){.hash = hash, .id = id, .key = l->keys[id]};
}

int32_t lookup_find(const struct lookup *l, const char *key, size_t n)
{
    return slot_of(l, lookup_hash(key, n), key, n)->id;
}
