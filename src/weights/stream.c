// Which part is read next, and where in the ring: see stream.h.
#include "weights/stream.h"

#include "base/check.h"

static uint32_t stop_parts(const struct stream_tour *t, int stop)
{
    return t->begin[stop + 1] - t->begin[stop];
}

static uint32_t part_at(const struct stream *s, const struct stream_place *p)
{
    return s->tour.parts[s->tour.begin[p->stop] + p->index];
}

// The place itself if a part is streamed there, or the next one where one is. False: nowhere.
static bool settle(const struct stream *s, struct stream_place *p)
{
    // Twice over all stops, so that each is seen whole, with one more for a detour.
    for (int stops = 0; stops <= 2 * s->tour.n_stops + 1; stops++) {
        for (; p->index < stop_parts(&s->tour, p->stop); p->index++)
            if (!s->tour.resident[part_at(s, p)])
                return true;
        p->stop = p->hop == s->hop ? s->next : s->tour.follows[p->stop];
        p->hop++;
        p->index = 0;
    }
    return false;
}

static int slot_of(const struct stream *s, int i)
{
    return (s->first + i) % STREAM_MAX_ENTRIES;
}

static void drop(struct stream *s, struct stream_entry *e)
{
    e->state = ENTRY_DROPPED;
    s->wasted += e->bytes;
}

void stream_init(struct stream *s, const struct stream_tour *tour, size_t ring_bytes)
{
    *s = (struct stream){.tour = *tour, .size = ring_bytes};
    s->use = s->read = (struct stream_place){.hop = 1}; // the first visit, most probably of stop 0
}

// Drops what was read ahead for another way than the one that is known now, and everything behind.
static void compare(struct stream *s)
{
    struct stream_place p = s->use;
    bool same = true;
    for (int i = 0; i < s->n_entries; i++) {
        struct stream_entry *e = &s->entries[slot_of(s, i)];
        if (e->state != ENTRY_AHEAD)
            continue;
        bool over = e->hop < s->hop || s->tour.resident[e->part];
        if (!over)
            same = same && settle(s, &p) && e->hop == p.hop && e->part == part_at(s, &p);
        if (over || !same)
            drop(s, e);
        else
            p.index++;
    }
    s->read = p;
}

void stream_visit(struct stream *s, int stop, int next)
{
    CHECK(stop >= 0 && stop < s->tour.n_stops && next >= 0 && next < s->tour.n_stops);
    s->hop++;
    s->next = next;
    s->use = (struct stream_place){.hop = s->hop, .stop = stop};
    compare(s);
}

void stream_changed(struct stream *s)
{
    compare(s);
}

// Where `bytes` in one stretch are free behind the newest entry.
static bool find_room(const struct stream *s, size_t bytes, size_t *at)
{
    if (!s->n_entries) {
        *at = 0;
        return bytes <= s->size;
    }
    const struct stream_entry *oldest = &s->entries[slot_of(s, 0)];
    const struct stream_entry *newest = &s->entries[slot_of(s, s->n_entries - 1)];
    size_t end = newest->at + newest->bytes, begin = oldest->at;
    if (end > begin) { // used: [begin, end)
        *at = bytes <= s->size - end ? end : 0;
        return *at || bytes <= begin;
    }
    *at = end; // free: [end, begin)
    return bytes <= begin - end;
}

int stream_next(struct stream *s)
{
    size_t at;
    if (!s->tour.n_stops || s->n_entries == STREAM_MAX_ENTRIES || !settle(s, &s->read))
        return -1;
    uint32_t part = part_at(s, &s->read);
    size_t bytes = s->tour.bytes[part];
    if (!find_room(s, bytes, &at))
        return -1;
    int entry = slot_of(s, s->n_entries++);
    s->entries[entry] = (struct stream_entry){
        .part = part, .hop = s->read.hop, .at = at, .bytes = bytes, .state = ENTRY_AHEAD};
    s->read.index++;
    return entry;
}

// Where in the current stop a part is used, from the present place on, or from the beginning.
static struct stream_place place_of(const struct stream *s, uint32_t part)
{
    struct stream_place p = s->use;
    uint32_t n = stop_parts(&s->tour, p.stop);
    for (uint32_t i = 0; i < n; i++, p.index++) {
        p.index = p.index < n ? p.index : 0;
        if (part_at(s, &p) == part)
            return p;
    }
    CHECK(!"the part belongs to the stop");
    return p;
}

int stream_take(struct stream *s, uint32_t part)
{
    struct stream_place place = place_of(s, part);
    int found = -1;
    for (int i = 0; i < s->n_entries && found < 0; i++) {
        const struct stream_entry *e = &s->entries[slot_of(s, i)];
        if (e->state == ENTRY_AHEAD && e->part == part && e->hop == s->hop)
            found = i;
    }
    for (int i = 0; i < (found < 0 ? s->n_entries : found); i++)
        if (s->entries[slot_of(s, i)].state == ENTRY_AHEAD)
            drop(s, &s->entries[slot_of(s, i)]);
    if (found < 0) {
        s->use = s->read = place;
        return -1;
    }
    int entry = slot_of(s, found);
    s->entries[entry].state = ENTRY_TAKEN;
    s->use = place;
    s->use.index++;
    return entry;
}

int stream_dropped(const struct stream *s)
{
    for (int i = 0; i < s->n_entries; i++)
        if (s->entries[slot_of(s, i)].state == ENTRY_DROPPED)
            return slot_of(s, i);
    return -1;
}

void stream_free(struct stream *s, int entry)
{
    enum entry_state state = s->entries[entry].state;
    CHECK(state == ENTRY_TAKEN || state == ENTRY_DROPPED);
    s->entries[entry].state = ENTRY_FREE;
    while (s->n_entries && s->entries[s->first].state == ENTRY_FREE) {
        s->first = slot_of(s, 1);
        s->n_entries--;
    }
    // What was dropped behind parts in use gives its memory back to the part that is wanted
    // instead.
    while (s->n_entries && s->entries[slot_of(s, s->n_entries - 1)].state == ENTRY_FREE)
        s->n_entries--;
}

int stream_taken(const struct stream *s, uint32_t part)
{
    for (int i = 0; i < s->n_entries; i++)
        if (s->entries[slot_of(s, i)].state == ENTRY_TAKEN &&
            s->entries[slot_of(s, i)].part == part)
            return slot_of(s, i);
    return -1;
}
