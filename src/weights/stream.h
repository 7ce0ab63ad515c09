// What is read next, and where to: the decisions of streaming, without files and threads.
//
// A *tour* is the order in which parts of weights are used: *stops* (a node's windows, then the
// output), each with its parts. Those that are resident are passed over. Parts come into a ring of
// memory in the order of use and go out in the same order, so that the ring is never more than what
// lies between the oldest in use and the last that is read ahead:
//
//     | free | taken | taken | ready | reading | reading | free      |
//              oldest          ahead of the tour -->    | next read
//
// A part lies in one stretch: what does not fit before the end begins at the front. Reading runs
// ahead over the end of a stop into the one that was said to come next, and on from there as the
// tour goes on, so the disk works while others compute and over the end of a token. When the tour
// goes another way than was thought, or a part is streamed of which nobody knew, what was read
// ahead for nothing is dropped, which costs the reading of it and nothing else.
//
// Reads are the caller's: he starts what stream_next tells, and lets go of an entry (stream_free)
// only when its read is through.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STREAM_MAX_ENTRIES = 256 }; // parts in the ring: a large one is to be of use, too
// The ring is so many times the largest part, at least. While a part is waited for, one is in use;
// on one of its two sides there is room then, and some to read ahead.
enum { STREAM_MIN_PARTS = 5 };

enum entry_state {
    ENTRY_AHEAD,   // read, or being read, and not used yet
    ENTRY_TAKEN,   // in use
    ENTRY_DROPPED, // not wanted any more, perhaps still being read
    ENTRY_FREE,    // done with, behind one that is not
};

struct stream_entry {
    uint32_t part;
    uint64_t hop; // the visit that it is read for
    size_t at, bytes;
    enum entry_state state;
};

// A place in the tour.
struct stream_place {
    uint64_t hop;
    int stop;
    uint32_t index; // in the stop's parts
};

struct stream_tour {
    int n_stops;
    const uint32_t *begin; // (n_stops + 1) where the parts of each begin in `parts`
    const uint32_t *parts; // in the order of use
    const int *follows;    // (n_stops) which stop comes after each, as far as is known
    const size_t *bytes;   // (parts) in the ring
    const bool *resident;  // (parts) changes as it goes
};

struct stream {
    struct stream_tour tour;
    size_t size; // of the ring
    uint64_t hop;
    int next;                 // the stop after this one
    struct stream_place use;  // where the tour has come to
    struct stream_place read; // what is read next
    struct stream_entry entries[STREAM_MAX_ENTRIES];
    int first, n_entries; // oldest first
    uint64_t wasted;      // bytes that were dropped
};

void stream_init(struct stream *s, const struct stream_tour *tour, size_t ring_bytes);
// The tour has come to `stop`, and `next` will follow.
void stream_visit(struct stream *s, int stop, int next);
// Other parts are resident than before.
void stream_changed(struct stream *s);

// The entry that is to be read now, or -1: the ring is full or nothing is streamed.
int stream_next(struct stream *s);

// Takes the part of this stop, which is streamed; the entry, whose read may be under way. -1: it is
// not on its way; everything ahead was dropped and the part is what stream_next tells next, as soon
// as dropped entries have been freed.
int stream_take(struct stream *s, uint32_t part);
// The oldest entry that is DROPPED, or -1.
int stream_dropped(const struct stream *s);
// Done with a TAKEN one, or with one that was DROPPED and is no longer being read.
void stream_free(struct stream *s, int entry);
// The entry of a part that is TAKEN, or -1.
int stream_taken(const struct stream *s, uint32_t part);
