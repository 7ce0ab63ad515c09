// A hash table from byte strings to token ids. The strings themselves lie elsewhere (spans of one
// buffer); the table holds only their hashes and ids. Built once, then read by any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span { // bytes [at, at + n) of the vocabulary's buffer
    uint32_t at, n;
};

struct lookup_slot {
    uint32_t hash;
    int32_t id;      // -1: empty
    struct span key; // keys[id]
};

struct lookup {
    const char *bytes;
    const struct span *keys; // of token id
    struct lookup_slot *slots;
    uint32_t mask;
};

// Room for n keys; 0 or -1 (no memory).
int lookup_init(struct lookup *l, const char *bytes, const struct span *keys, size_t n);
void lookup_fini(struct lookup *l);
// Enters keys[id]; an equal key that is there already loses its place.
void lookup_put(struct lookup *l, int32_t id);
// -1: not there.
int32_t lookup_find(const struct lookup *l, const char *key, size_t n);

// Also used for words and pairs. Not for adversaries: a model file that wants to be slow can.
static inline uint32_t lookup_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
    return (uint32_t)((uint64_t)m ^ (uint64_t)(m >> 64));
}
uint32_t lookup_hash(const char *key, size_t n);
