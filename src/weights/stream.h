// What is read next, and where to: the decisions of streaming, without files and threads.
//
// A *tour* is the order in which parts of weights are used: *stops* (a node's windows, then the
// output), each with its parts. Those that are resident are passed over. The others come into a
// ring of memory in the order of use and go out in the same order:
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
// A stop may be visited several times in a row, as by the chunks of a prompt. Parts that were used
// are then *held* for the next visit, the first ones of the stop, as many as the ring has room for:
//
//     | held | held | held | held | taken | ready | reading | free     |
//       the stop's first parts      the others come through what is left
//
// All of them where they fit with one more (for what is lost at the end of the ring), else what
// leaves room for STREAM_MIN_PARTS of the largest. The bytes read for n visits in a row to a stop,
// of which s are streamed and h held, are therefore s + (n - 1) * (s - h): with h = s one reading
// serves all. The last visit lets go of them one by one, and the next stop comes in behind.
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
    ENTRY_FREE,
    ENTRY_AHEAD,   // read, or being read, and not used yet in the visit that it is for
    ENTRY_TAKEN,   // in use
    ENTRY_DROPPED, // not wanted any more, perhaps still being read
};

struct stream_entry {
    uint32_t part;   // at most one entry that is AHEAD or TAKEN has it
    uint64_t number; // ascending as they are read
    size_t at, bytes;
    enum entry_state state;
    bool used; // in an earlier visit
};

// A place in the tour.
struct stream_place {
    int hop; // visits from the one under way; those to come to the same stop count as one
    int stop;
    uint32_t part; // of the stop, or the end of its parts
};

struct stream_tour {
    int n_stops;
    const uint32_t *begin; // (n_stops + 1) the first part of each; they are in the order of use
    const int *follows;    // (n_stops) which stop comes after each, as far as is known
    const size_t *bytes;   // (parts) in the ring
    const bool *resident;  // (parts) changes as it goes
};

struct stream {
    struct stream_tour tour;
    size_t size; // of the ring
    int stop, next;
    bool again;               // the stop is visited again before the next one
    uint32_t use;             // the part that the tour has come to
    uint32_t held_end;        // parts of the stop before this one are held
    struct stream_place read; // what is read next
    struct stream_entry entries[STREAM_MAX_ENTRIES];
    int order[STREAM_MAX_ENTRIES]; // (n_entries) those that are not FREE, as they lie in the ring
    int n_entries;
    uint64_t n_read;
    size_t behind;   // where the newest entry ends
    uint64_t wasted; // bytes that were dropped and had never been used
};

void stream_init(struct stream *s, const struct stream_tour *tour, size_t ring_bytes);
// The tour has come to `stop`. `again`: the visit after this one is to the same stop; `next` will
// follow the last of them.
void stream_visit(struct stream *s, int stop, int next, bool again);
// Other parts are resident than before.
void stream_changed(struct stream *s);

// The entry that is to be read now, or -1: the ring is full or nothing is streamed.
int stream_next(struct stream *s);

// Takes the part of this stop, which is streamed; the entry, whose read may be under way. -1: it is
// not on its way; everything ahead was dropped and the part is what stream_next tells next, as soon
// as dropped entries have been freed.
int stream_take(struct stream *s, uint32_t part);
// Done with a TAKEN one, whose read went well: it is held, or freed.
void stream_done(struct stream *s, int entry);
// An entry that is DROPPED, or -1.
int stream_dropped(const struct stream *s);
// Frees a TAKEN entry, or one that was DROPPED and is no longer being read.
void stream_free(struct stream *s, int entry);
// The entry of a part that is TAKEN, or -1.
int stream_taken(const struct stream *s, uint32_t part);
