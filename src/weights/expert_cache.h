// Matrices of experts in slots of memory: read when they are wanted, and kept until their slot is
// wanted for another.
//
//     memory | e17 of layer 3 | e2 of layer 0, being read | free | e4 of layer 1, in use | ...
//
// Layers are *groups*. All of them are gone through for each token, so that the least recently used
// piece of all would be the very next one to be used. Therefore groups have equal shares of all
// slots but `least`. What others have beyond their share is taken first, then what the group itself
// used least recently; so a layer's share stays when others are at work, and the slots beyond all
// shares go from layer to layer with the pieces that are in use.
//
// A piece is not let go of while somebody holds it, nor for another that is merely wanted as long
// as its own group is at work and it was wanted and not used yet.
//
// Threads: any. One lock guards everything; nobody waits for the disk under it.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct expert_cache;
struct reader;

struct expert_cache_options {
    struct reader *reader; // outlives the cache
    // n_slots * slot_bytes at a multiple of READER_ALIGN, the caller's. Not registered with the
    // reader: what expert_cache_limit takes away goes back to the system.
    uint8_t *memory;
    size_t slot_bytes; // a multiple of READER_ALIGN
    bool locked;       // the memory is locked as it is touched: unlocked where it is given back
    int n_slots;
    int least; // slots that are never given up: so many pieces may be held at a time; at least 1
    int n_groups;
    size_t n_pieces;
    const char *const *paths; // of the reader's files; they outlive the cache
};

// Where a piece lies.
struct expert_place {
    int group;
    int file;        // of the reader
    uint64_t offset; // at any byte
    size_t size;
};

// Bytes of a slot for a piece that lies there.
size_t expert_cache_slot_bytes(uint64_t offset, size_t size);

int expert_cache_new(struct expert_cache **out, const struct expert_cache_options *o,
                     struct err *e);
void expert_cache_free(struct expert_cache *c); // after the last release; waits for what is read

// The piece will be acquired soon: starts reading it where it is not there and a slot can be had.
void expert_cache_want(struct expert_cache *c, uint32_t piece, const struct expert_place *p);
// The piece's first byte; it stays until it is released as many times as it was acquired. Waits for
// the read, wanted or not. NULL: it cannot be read, `e` says why; it may be asked for again.
const uint8_t *expert_cache_acquire(struct expert_cache *c, uint32_t piece,
                                    const struct expert_place *p, struct err *e);
void expert_cache_release(struct expert_cache *c, uint32_t piece);
int expert_cache_at_once(const struct expert_cache *c); // pieces that may be held: `least`

// From now on at most so many slots, between `least` and n_slots, have memory: others give theirs
// back to the system, those in use or being read as soon as they are not. A higher limit lets them
// have memory again.
void expert_cache_limit(struct expert_cache *c, int n_slots);

struct expert_cache_status {
    int n_slots;           // that have memory, or will when they are used
    int n_filled;          // with a piece
    uint64_t hits, misses; // acquired pieces that were there before, and that were read for it
    uint64_t read_bytes;   // of reads that were started
    uint64_t wasted_bytes; // of those, that nobody acquired
    int64_t wait_ns;       // that somebody waited for a read
};
struct expert_cache_status expert_cache_status(struct expert_cache *c);
