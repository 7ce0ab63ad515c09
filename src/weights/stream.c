// Which part is read next, and where in the ring: see stream.h.
#include "weights/stream.h"

#include "base/check.h"

#include <string.h>

// ---- the ring ----------------------------------------------------------------------------------

static const struct stream_entry *nth(const struct stream *s, int i)
{
    return &s->entries[s->order[i]];
}

// Whether a part of the present stop stays for the next visit to it.
static bool held(const struct stream *s, uint32_t part)
{
    return part >= s->tour.begin[s->stop] && part < s->held_end;
}

// Where `bytes` in one stretch are free: behind the newest entry, or beyond held ones and the end
// of the ring. Others are older and will make room.
static bool find_room(const struct stream *s, size_t bytes, size_t *at)
{
    bool front = false;
    int i = 0;
    *at = s->behind;
    while (i < s->n_entries && nth(s, i)->at < *at)
        i++;
    for (;;) {
        size_t end = i < s->n_entries ? nth(s, i)->at : s->size;
        if (end - *at >= bytes)
            return true;
        if (i == s->n_entries ? front : !held(s, nth(s, i)->part))
            return false;
        front |= i == s->n_entries;
        *at = i == s->n_entries ? 0 : nth(s, i)->at + nth(s, i)->bytes;
        i = i == s->n_entries ? 0 : i + 1;
    }
}

static int add_entry(struct stream *s, uint32_t part, size_t at)
{
    int entry = 0, i = 0;
    while (s->entries[entry].state != ENTRY_FREE)
        entry++;
    while (i < s->n_entries && nth(s, i)->at < at)
        i++;
    memmove(s->order + i + 1, s->order + i, (size_t)(s->n_entries++ - i) * sizeof *s->order);
    s->order[i] = entry;
    s->entries[entry] = (struct stream_entry){.part = part,
                                              .number = s->n_read++,
                                              .at = at,
                                              .bytes = s->tour.bytes[part],
                                              .state = ENTRY_AHEAD};
    s->behind = at + s->tour.bytes[part];
    return entry;
}

void stream_free(struct stream *s, int entry)
{
    enum entry_state state = s->entries[entry].state;
    int i = 0;
    CHECK(state == ENTRY_TAKEN || state == ENTRY_DROPPED);
    s->entries[entry].state = ENTRY_FREE;
    while (s->order[i] != entry)
        i++;
    memmove(s->order + i, s->order + i + 1, (size_t)(--s->n_entries - i) * sizeof *s->order);
}

static void drop(struct stream *s, struct stream_entry *e)
{
    e->state = ENTRY_DROPPED;
    s->wasted += e->used ? 0 : e->bytes;
}

// What was dropped behind the newest entry that is left gives its memory to what is read instead.
static void step_back(struct stream *s)
{
    const struct stream_entry *newest = NULL;
    for (int i = 0; i < s->n_entries; i++)
        if (nth(s, i)->state != ENTRY_DROPPED && (!newest || nth(s, i)->number > newest->number))
            newest = nth(s, i);
    s->behind = newest ? newest->at + newest->bytes : 0;
}

// To where the most is free between parts in use, when all others have been dropped.
static void step_aside(struct stream *s)
{
    size_t from = 0, most = 0;
    for (int i = 0; i <= s->n_entries; i++) {
        size_t end = i < s->n_entries ? nth(s, i)->at : s->size;
        if (i < s->n_entries && nth(s, i)->state == ENTRY_DROPPED)
            continue;
        if (end - from > most) {
            s->behind = from;
            most = end - from;
        }
        from = i < s->n_entries ? end + nth(s, i)->bytes : end;
    }
}

static void drop_ahead(struct stream *s, uint32_t from, uint32_t to)
{
    for (int i = 0; i < s->n_entries; i++) {
        struct stream_entry *e = &s->entries[s->order[i]];
        if (e->state == ENTRY_AHEAD && e->part >= from && e->part < to)
            drop(s, e);
    }
}

static int find(const struct stream *s, uint32_t part)
{
    for (int i = 0; i < s->n_entries; i++)
        if (nth(s, i)->part == part &&
            (nth(s, i)->state == ENTRY_AHEAD || nth(s, i)->state == ENTRY_TAKEN))
            return s->order[i];
    return -1;
}

int stream_taken(const struct stream *s, uint32_t part)
{
    int entry = find(s, part);
    return entry >= 0 && s->entries[entry].state == ENTRY_TAKEN ? entry : -1;
}

int stream_dropped(const struct stream *s)
{
    for (int i = 0; i < s->n_entries; i++)
        if (nth(s, i)->state == ENTRY_DROPPED)
            return s->order[i];
    return -1;
}

// ---- the tour ----------------------------------------------------------------------------------

enum standing {
    STANDS_THERE,   // or is on its way
    STANDS_MISSING, // to be read
    STANDS_LATER,   // it is there, and will be used and let go of before
};

static enum standing standing_of(const struct stream *s, const struct stream_place *p, int *entry)
{
    *entry = find(s, p->part);
    if (*entry < 0)
        return STANDS_MISSING;
    bool ours = p->part >= s->tour.begin[s->stop] && p->part < s->tour.begin[s->stop + 1];
    bool used_before = ours && p->hop > 0 &&
                       (p->part >= s->use || s->entries[*entry].state == ENTRY_TAKEN) &&
                       !(p->hop == 1 && held(s, p->part));
    return used_before ? STANDS_LATER : STANDS_THERE;
}

// The place itself if a part is streamed there, or the next one where one is. False: nowhere, once
// round the tour; or up to the next visit to this stop, when reading has to go on with the stop.
static bool settle(const struct stream *s, struct stream_place *p)
{
    for (;;) {
        for (; p->part < s->tour.begin[p->stop + 1]; p->part++)
            if (!s->tour.resident[p->part])
                return true;
        bool comes_in_again = s->again && s->held_end < s->tour.begin[s->stop + 1];
        if (p->hop == (comes_in_again ? 1 : s->tour.n_stops + s->again))
            return false;
        if (p->hop > s->again)
            p->stop = s->tour.follows[p->stop];
        else if (p->hop == s->again)
            p->stop = s->next;
        p->hop++;
        p->part = s->tour.begin[p->stop];
    }
}

static struct stream_place here(const struct stream *s)
{
    return (struct stream_place){.stop = s->stop, .part = s->use};
}

// Which parts of the stop are held: see stream.h.
static void choose_held(struct stream *s)
{
    uint32_t begin = s->tour.begin[s->stop], end = s->tour.begin[s->stop + 1];
    size_t largest = 0, all = 0, n = 0, room, most = STREAM_MAX_ENTRIES - STREAM_MIN_PARTS;
    s->held_end = begin;
    if (!s->again)
        return;
    for (uint32_t i = begin; i < end; i++) {
        size_t bytes = s->tour.resident[i] ? 0 : s->tour.bytes[i];
        largest = bytes > largest ? bytes : largest;
        all += bytes;
        n += bytes > 0;
    }
    bool fit = all + largest <= s->size && n <= most;
    size_t least = STREAM_MIN_PARTS * largest;
    room = fit ? all : s->size > least ? s->size - least : 0;
    n = 0;
    for (uint32_t i = begin; i < end; s->held_end = ++i) {
        size_t bytes = s->tour.resident[i] ? 0 : s->tour.bytes[i];
        if (bytes > room || (bytes && n == most))
            break;
        room -= bytes;
        n += bytes > 0;
    }
}

// Drops what was read ahead for another way than the one that is known now, and everything behind.
static void compare(struct stream *s)
{
    struct stream_place p = here(s);
    bool wanted[STREAM_MAX_ENTRIES] = {false};
    int entry;
    while (settle(s, &p) && standing_of(s, &p, &entry) == STANDS_THERE) {
        wanted[entry] = true;
        p.part++;
    }
    bool dropped = false;
    for (int i = 0; i < s->n_entries; i++)
        if (nth(s, i)->state == ENTRY_AHEAD && !wanted[s->order[i]]) {
            drop(s, &s->entries[s->order[i]]);
            dropped = true;
        }
    if (dropped)
        step_back(s);
    s->read = p;
}

void stream_init(struct stream *s, const struct stream_tour *tour, size_t ring_bytes)
{
    *s = (struct stream){.tour = *tour, .size = ring_bytes}; // most probably it begins at stop 0
    s->next = tour->n_stops ? tour->follows[0] : 0;
}

void stream_visit(struct stream *s, int stop, int next, bool again)
{
    CHECK(stop >= 0 && stop < s->tour.n_stops && next >= 0 && next < s->tour.n_stops);
    s->stop = stop;
    s->next = next;
    s->again = again;
    s->use = s->tour.begin[stop];
    choose_held(s);
    compare(s);
}

void stream_changed(struct stream *s)
{
    if (!s->tour.n_stops)
        return;
    choose_held(s);
    compare(s);
}

int stream_next(struct stream *s)
{
    size_t at;
    int entry;
    enum standing standing = STANDS_THERE;
    if (!s->tour.n_stops || s->n_entries == STREAM_MAX_ENTRIES)
        return -1;
    while (settle(s, &s->read) && (standing = standing_of(s, &s->read, &entry)) == STANDS_THERE)
        s->read.part++;
    if (standing != STANDS_MISSING || !find_room(s, s->tour.bytes[s->read.part], &at))
        return -1;
    return add_entry(s, s->read.part++, at);
}

int stream_take(struct stream *s, uint32_t part)
{
    int entry = find(s, part);
    CHECK(part >= s->tour.begin[s->stop] && part < s->tour.begin[s->stop + 1]);
    CHECK(entry < 0 || s->entries[entry].state == ENTRY_AHEAD);
    if (entry < 0) {
        drop_ahead(s, 0, UINT32_MAX);
        step_aside(s);
        s->use = part;
        s->read = here(s);
        return -1;
    }
    // What was passed over is of no use in this visit.
    drop_ahead(s, s->use > s->held_end ? s->use : s->held_end, part);
    s->entries[entry].state = ENTRY_TAKEN;
    s->use = part < s->use ? s->use : part + 1;
    return entry;
}

void stream_done(struct stream *s, int entry)
{
    struct stream_entry *e = &s->entries[entry];
    CHECK(e->state == ENTRY_TAKEN);
    if (held(s, e->part) && !s->tour.resident[e->part]) {
        e->state = ENTRY_AHEAD;
        e->used = true;
    } else {
        stream_free(s, entry);
    }
}
