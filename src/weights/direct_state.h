// The inside of struct direct, for direct.c and direct_open.c.
#pragma once

#include "disk/reader.h"
#include "weights/direct.h"
#include "weights/expert_cache.h"
#include "weights/stream.h"

#include <pthread.h>

struct part {
    uint32_t type;
    size_t row_bytes;
    int file;                // index in fds
    uint64_t offset;         // in the file
    size_t file_bytes;       // there
    enum layout file_layout; // and how it lies
    size_t home, home_bytes; // where it is, or would be, resident
    enum layout home_layout;
    int holders; // while resident
};

// A piece that comes on demand.
struct demanded {
    struct expert_place place;
    enum layout layout; // in the file
};

struct direct {
    const struct gguf *g;
    size_t n_pieces; // of the model
    struct reader *reader;
    int n_files;
    int *fds;
    uint64_t *sizes;
    const char **paths; // (n_files) of the model's and the sidecar's

    size_t n_parts;
    struct part *parts;
    struct piece_part *named; // (n_parts) as backend.h wants them
    uint32_t *first_part;     // (n_pieces) of those that come in parts
    uint32_t *n_parts_of;     // (n_pieces) 0: the piece comes whole, or never
    size_t *whole_at;         // (n_pieces) 1 + where it lies in home; 0: nowhere

    uint8_t *home;
    size_t home_bytes, home_used; // home_used: of what is or was resident
    size_t vectors_bytes;         // of home, for the whole pieces
    bool locked;
    uint8_t *ring;
    size_t ring_bytes;

    struct expert_cache *cache; // NULL: nothing comes on demand
    uint32_t *demanded;         // (n_pieces) 1 + index of those that do; 0: not one of them
    size_t n_demand;
    uint64_t demand_bytes;        // of all of them
    struct demanded *demand;      // (n_demand)
    uint8_t *slots;               // of the cache
    size_t expert_bytes, n_slots; // of a slot
    int least_slots;              // that it never gives up

    pthread_mutex_t lock; // of all that follows
    bool *resident;       // (n_parts)
    uint32_t *by_rank;    // (n_parts) part of each rank
    size_t *homes;        // (n_parts) sizes by rank
    // Ranks below: that are resident; that may be; that were planned to be.
    size_t n_resident, n_allowed, n_planned;
    uint64_t resident_bytes, planned_bytes; // of parts
    struct stream stream;
    size_t *slot_bytes;   // (n_parts) in the ring
    uint32_t *tour_begin; // of stream.tour
    int *follows;
    struct read reads[STREAM_MAX_ENTRIES]; // of stream.entries
    uint64_t read_bytes;
    int64_t wait_ns;
};

// Puts a part that lies at `at` as in the file into its home; b NULL: in this thread alone.
void direct_settle_part(struct direct *d, const struct part *p, const uint8_t *at,
                        struct backend *b);
// Starts all reads that there is room for.
void direct_read_ahead(struct direct *d);

// Where a matrix lies in its file and how, whole.
struct part direct_lies(const struct direct_options *o, uint32_t piece);
// `bytes` of address space at a huge page, whose memory comes when it is touched. NULL: none.
uint8_t *direct_reserve(size_t bytes);

// Slots of the cache: bytes of one, and how many it works with at least. 0: nothing is on demand.
size_t demand_slot_bytes(const struct direct_options *o);
size_t demand_least_slots(const struct direct_options *o);
// d->n_slots and d->expert_bytes are set, and the reader is open.
int demand_open(struct direct *d, const struct direct_options *o, struct err *e);
void demand_close(struct direct *d);
