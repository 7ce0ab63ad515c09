// Resident parts, and those that come through the ring: see direct.h.
//
// One lock guards all that changes. It is held while a part that may become resident is turned
// (milliseconds) and while a read that nobody wants any more comes to its end; a thread that waits
// for its own part does not hold it.
#include "weights/direct.h"

#include "base/arena.h"
#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "disk/io.h"
#include "disk/reader.h"
#include "weights/cuts.h"
#include "weights/direct_state.h"
#include "weights/sidecar.h"
#include "weights/unreadable.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// ---- using -------------------------------------------------------------------------------------

static struct part *part_of(const struct direct *d, uint32_t piece)
{
    CHECK(piece >= d->n_pieces && piece - d->n_pieces < d->n_parts);
    return &d->parts[piece - d->n_pieces];
}

// What was dropped is not read if nobody has begun to.
static void cancel_dropped(struct direct *d)
{
    for (int i = 0; i < STREAM_MAX_ENTRIES; i++) {
        const struct stream_entry *entry = &d->stream.entries[i];
        if (entry->state != ENTRY_DROPPED || atomic_load(&d->reads[i].state) != READ_PENDING ||
            !reader_cancel(d->reader, &d->reads[i]))
            continue;
        d->read_bytes -= entry->bytes;
        d->stream.wasted -= entry->bytes;
    }
}

// Starts all reads that there is room for. What was dropped makes room once it is read.
static void pump(struct direct *d)
{
    cancel_dropped(d);
    for (int i; (i = stream_dropped(&d->stream)) >= 0;) {
        if (atomic_load(&d->reads[i].state) == READ_PENDING)
            break;
        stream_free(&d->stream, i);
    }
    for (int i; (i = stream_next(&d->stream)) >= 0;) {
        const struct stream_entry *entry = &d->stream.entries[i];
        const struct part *p = &d->parts[entry->part];
        d->reads[i] = (struct read){.to = d->ring + entry->at,
                                    .offset = p->offset / READER_ALIGN * READER_ALIGN,
                                    .size = entry->bytes,
                                    .file = p->file};
        d->read_bytes += entry->bytes;
        reader_start(d->reader, &d->reads[i]);
    }
}

void direct_read_ahead(struct direct *d)
{
    pthread_mutex_lock(&d->lock);
    pump(d);
    pthread_mutex_unlock(&d->lock);
}

// The entry of a part that is streamed; its read may be under way.
static int take(struct direct *d, uint32_t index)
{
    int entry;
    while ((entry = stream_take(&d->stream, index)) < 0) {
        int dropped = stream_dropped(&d->stream);
        if (dropped >= 0)
            reader_wait(d->reader, &d->reads[dropped]);
        pump(d);
    }
    return entry;
}

static const uint8_t *acquire_part(struct direct *d, struct part *p, enum layout *layout,
                                   struct err *e)
{
    uint32_t index = (uint32_t)(p - d->parts);
    pthread_mutex_lock(&d->lock);
    if (d->resident[index]) {
        p->holders++;
        pthread_mutex_unlock(&d->lock);
        *layout = p->home_layout;
        return d->home + p->home;
    }
    int64_t start = clock_ns();
    int entry = take(d, index);
    struct read *q = &d->reads[entry];
    const uint8_t *at = d->ring + d->stream.entries[entry].at + p->offset % READER_ALIGN;
    pump(d);
    pthread_mutex_unlock(&d->lock);
    enum read_state state = reader_wait(d->reader, q); // it stays: the entry is taken
    pthread_mutex_lock(&d->lock);
    d->wait_ns += clock_ns() - start;
    if (state == READ_FAILED) {
        unreadable(e, d->paths[q->file], q);
        stream_free(&d->stream, entry);
        at = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    *layout = p->file_layout;
    return at;
}

const uint8_t *direct_acquire(struct direct *d, uint32_t piece, enum layout *layout, struct err *e)
{
    if (piece >= d->n_pieces)
        return acquire_part(d, part_of(d, piece), layout, e);
    if (d->demanded[piece]) {
        const struct demanded *x = &d->demand[d->demanded[piece] - 1];
        *layout = x->layout;
        return expert_cache_acquire(d->cache, piece, &x->place, e);
    }
    CHECK(d->whole_at[piece]);
    *layout = LAYOUT_ROWS;
    return d->home + d->whole_at[piece] - 1;
}

// Memory of homes from `from` on goes back to the system.
static void give_back(struct direct *d, size_t from, size_t to)
{
    size_t page = READER_ALIGN, lo = (from + page - 1) / page * page;
    size_t hi = (to + page - 1) / page * page;
    hi = hi < d->home_bytes ? hi : d->home_bytes;
    if (lo >= hi)
        return;
    pages_give_back(d->home + lo, hi - lo, d->locked);
}

// Lets go of all resident parts beyond the limit that nobody holds.
static void shrink(struct direct *d)
{
    bool changed = false;
    while (d->n_resident > d->n_allowed) {
        struct part *p = &d->parts[d->by_rank[d->n_resident - 1]];
        if (d->resident[p - d->parts] && p->holders)
            break; // done() goes on
        if (d->resident[p - d->parts])
            d->resident_bytes -= p->home_bytes;
        d->resident[p - d->parts] = false;
        d->n_resident--;
        changed = true;
    }
    if (!changed)
        return;
    const struct part *last = d->n_resident ? &d->parts[d->by_rank[d->n_resident - 1]] : NULL;
    give_back(d, last ? last->home + last->home_bytes : d->vectors_bytes, d->home_used);
    d->home_used = last ? last->home + last->home_bytes : d->vectors_bytes;
    stream_changed(&d->stream);
    pump(d);
}

// A streamed part that may be resident becomes it while it is at hand.
static void keep(struct direct *d, struct part *p, const uint8_t *at)
{
    uint32_t index = (uint32_t)(p - d->parts);
    if (d->n_resident >= d->n_allowed || d->by_rank[d->n_resident] != index)
        return;
    if (d->locked) { // as it was before its memory was given back
        size_t from = p->home / READER_ALIGN * READER_ALIGN;
        mlock2(d->home + from, p->home + p->home_bytes - from, MLOCK_ONFAULT);
    }
    direct_settle_part(d, p, at, NULL);
    d->resident[index] = true;
    d->resident_bytes += p->home_bytes;
    d->n_resident++;
    d->home_used = p->home + p->home_bytes;
}

void direct_done(struct direct *d, uint32_t piece)
{
    if (piece < d->n_pieces && d->demanded[piece])
        expert_cache_release(d->cache, piece);
    if (piece < d->n_pieces)
        return; // vectors stay
    struct part *p = part_of(d, piece);
    pthread_mutex_lock(&d->lock);
    int entry = stream_taken(&d->stream, (uint32_t)(p - d->parts));
    if (entry >= 0) {
        keep(d, p, d->ring + d->stream.entries[entry].at + p->offset % READER_ALIGN);
        stream_done(&d->stream, entry);
        pump(d);
    } else {
        CHECK(p->holders > 0);
        p->holders--;
        shrink(d);
    }
    pthread_mutex_unlock(&d->lock);
}

int direct_parts(const struct direct *d, uint32_t piece, const struct piece_part **out)
{
    *out = d->named + d->first_part[piece];
    return (int)d->n_parts_of[piece];
}

int direct_at_once(const struct direct *d, uint32_t piece)
{
    return d->demanded[piece] ? expert_cache_at_once(d->cache) : INT_MAX;
}

void direct_want(struct direct *d, uint32_t piece)
{
    if (d->demanded[piece])
        expert_cache_want(d->cache, piece, &d->demand[d->demanded[piece] - 1].place);
}

int direct_most_parts(const struct direct *d)
{
    uint32_t most = 0;
    for (int i = 0; i < d->stream.tour.n_stops; i++) {
        uint32_t n = d->tour_begin[i + 1] - d->tour_begin[i];
        most = n > most ? n : most;
    }
    return (int)most;
}

bool direct_row(struct direct *d, uint32_t piece, uint64_t offset, size_t row_bytes, uint8_t *out)
{
    bool found = false;
    int32_t at = (int32_t)(offset / row_bytes);
    pthread_mutex_lock(&d->lock);
    for (uint32_t n = 0; n < d->n_parts_of[piece] && !found; n++) {
        uint32_t i = d->first_part[piece] + n;
        const struct part *p = &d->parts[i];
        if (!d->resident[i] || at < d->named[i].row_lo || at >= d->named[i].row_hi)
            continue;
        const uint8_t *home = d->home + p->home;
        int32_t k = at - d->named[i].row_lo;
        if (p->home_layout == LAYOUT_LANES)
            lanes_take_row(p->type, out, home, row_bytes, (size_t)k);
        else
            memcpy(out, home + (size_t)k * row_bytes, row_bytes);
        found = true;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

void direct_visit(struct direct *d, int stop, int next, bool again)
{
    pthread_mutex_lock(&d->lock);
    stream_visit(&d->stream, stop, next, again);
    pump(d);
    pthread_mutex_unlock(&d->lock);
}

// Parts come before experts: every token uses them.
void direct_limit(struct direct *d, uint64_t bytes)
{
    uint64_t least = d->cache ? (uint64_t)d->least_slots * d->expert_bytes : 0, taken;
    uint64_t room = bytes > d->vectors_bytes + least ? bytes - d->vectors_bytes - least : 0;
    pthread_mutex_lock(&d->lock);
    d->n_allowed = cuts_fit(d->homes, d->n_parts, room, &taken);
    if (d->n_allowed > d->n_planned) {
        d->n_allowed = d->n_planned;
        taken = d->planned_bytes;
    }
    shrink(d);
    pthread_mutex_unlock(&d->lock);
    if (!d->cache)
        return;
    uint64_t more = (room - taken) / d->expert_bytes, most = d->n_slots - (size_t)d->least_slots;
    expert_cache_limit(d->cache, d->least_slots + (int)(more < most ? more : most));
}

static void add_experts(struct direct *d, struct weights_status *out)
{
    struct expert_cache_status c = expert_cache_status(d->cache);
    out->resident += (uint64_t)c.n_slots * d->expert_bytes;
    out->wanted += (uint64_t)d->n_slots * d->expert_bytes;
    out->read_bytes += c.read_bytes;
    out->wasted_bytes += c.wasted_bytes;
    out->wait_ns += c.wait_ns;
    out->streamed += d->demand_bytes - d->demand_bytes / d->n_demand * (uint64_t)c.n_slots;
    out->governed |= (size_t)c.n_slots < d->n_slots;
}

void direct_status(struct direct *d, struct weights_status *out)
{
    struct reader_report read = reader_report(d->reader);
    pthread_mutex_lock(&d->lock);
    *out = (struct weights_status){
        .residency = RESIDENCY_DIRECT,
        .resident = d->vectors_bytes + d->resident_bytes,
        .wanted = d->vectors_bytes + d->planned_bytes,
        .slots = d->ring_bytes,
        .read_bytes = d->read_bytes,
        .wasted_bytes = d->stream.wasted,
        .wait_ns = d->wait_ns,
        .reader_bytes = read.bytes,
        .reader_cpu_ns = read.cpu_ns,
        .governed = d->n_resident < d->n_planned,
    };
    for (size_t i = 0; i < d->n_parts; i++)
        if (!d->resident[i])
            out->streamed += d->parts[i].file_bytes;
    pthread_mutex_unlock(&d->lock);
    if (d->cache)
        add_experts(d, out);
    reader_describe(d->reader, out->reader, sizeof out->reader);
}

int64_t direct_waited_ns(struct direct *d)
{
    pthread_mutex_lock(&d->lock);
    int64_t ns = d->wait_ns;
    pthread_mutex_unlock(&d->lock);
    return d->cache ? ns + expert_cache_status(d->cache).wait_ns : ns;
}
