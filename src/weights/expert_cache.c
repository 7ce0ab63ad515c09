// Which slot a piece comes into, and whose it was: see expert_cache.h.
//
// A slot is in one list: its group's, the least recently used first; of those that are free; or of
// those that are gone, whose memory was given back. Lists are of indices, -1 at their ends.
#include "weights/expert_cache.h"

#include "base/arena.h"
#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "disk/reader.h"
#include "weights/unreadable.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

struct expert_slot {
    struct read read;
    uint32_t piece, at; // where in the slot the piece begins
    int group;          // -1: free or gone
    int holders;
    bool unused;    // nobody acquired what was read
    uint64_t ahead; // wanted in this turn, and not acquired yet
    int older, newer;
};

struct slot_list {
    int oldest, newest, n;
};

struct expert_cache {
    struct expert_cache_options o;
    pthread_mutex_t lock; // of all that follows
    struct expert_slot *slots;
    int *slot_of; // (n_pieces) -1: nowhere
    struct slot_list *groups, free, gone;
    int limit;
    int speaker;   // the group at work
    uint64_t turn; // goes up when another group is
    struct expert_cache_status counts;
};

// ---- lists -------------------------------------------------------------------------------------

static void list_add(struct expert_cache *c, struct slot_list *list, int i)
{
    struct expert_slot *s = &c->slots[i];
    s->older = list->newest;
    s->newer = -1;
    if (list->newest >= 0)
        c->slots[list->newest].newer = i;
    else
        list->oldest = i;
    list->newest = i;
    list->n++;
}

static void list_remove(struct expert_cache *c, struct slot_list *list, int i)
{
    const struct expert_slot *s = &c->slots[i];
    if (s->older >= 0)
        c->slots[s->older].newer = s->newer;
    else
        list->oldest = s->newer;
    if (s->newer >= 0)
        c->slots[s->newer].older = s->older;
    else
        list->newest = s->older;
    list->n--;
}

static const struct slot_list nothing = {-1, -1, 0};

// ---- lifetime ----------------------------------------------------------------------------------

size_t expert_cache_slot_bytes(uint64_t offset, size_t size)
{
    size_t bytes;
    bool fits = size_add(size, (size_t)(offset % READER_ALIGN), &bytes) &&
                size_align(bytes, READER_ALIGN, &bytes);
    return fits ? bytes : SIZE_MAX / READER_ALIGN * READER_ALIGN;
}

int expert_cache_new(struct expert_cache **out, const struct expert_cache_options *o, struct err *e)
{
    CHECK(o->least >= 1 && o->least <= o->n_slots && o->n_groups > 0);
    CHECK((uintptr_t)o->memory % READER_ALIGN == 0 && o->slot_bytes % READER_ALIGN == 0);
    struct expert_cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of experts");
    c->o = *o;
    pthread_mutex_init(&c->lock, NULL);
    c->slots = calloc((size_t)o->n_slots, sizeof *c->slots);
    c->slot_of = calloc(o->n_pieces + 1, sizeof *c->slot_of);
    c->groups = calloc((size_t)o->n_groups, sizeof *c->groups);
    if (!c->slots || !c->slot_of || !c->groups) {
        expert_cache_free(c);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of experts");
    }
    for (size_t i = 0; i < o->n_pieces; i++)
        c->slot_of[i] = -1;
    for (int i = 0; i < o->n_groups; i++)
        c->groups[i] = nothing;
    c->free = c->gone = nothing;
    c->limit = o->n_slots;
    c->speaker = -1;
    for (int i = 0; i < o->n_slots; i++) {
        c->slots[i].group = -1;
        list_add(c, &c->free, i);
    }
    *out = c;
    return 0;
}

static bool pending(const struct expert_slot *s)
{
    return atomic_load(&s->read.state) == READ_PENDING;
}

void expert_cache_free(struct expert_cache *c)
{
    if (!c)
        return;
    for (int i = 0; c->slots && i < c->o.n_slots; i++) {
        CHECK(!c->slots[i].holders);
        if (pending(&c->slots[i]))
            reader_wait(c->o.reader, &c->slots[i].read);
    }
    pthread_mutex_destroy(&c->lock);
    free(c->slots);
    free(c->slot_of);
    free(c->groups);
    free(c);
}

// ---- slots -------------------------------------------------------------------------------------

// What is not to be let go of, besides pieces that are held.
enum sparing { SPARE_WANTED, SPARE_PENDING, SPARE_NOTHING };

// The slot of a group that goes first, or -1.
static int oldest_of(const struct expert_cache *c, int group, enum sparing sparing)
{
    int i = c->groups[group].oldest;
    for (; i >= 0; i = c->slots[i].newer) {
        const struct expert_slot *s = &c->slots[i];
        if (s->holders || (sparing == SPARE_WANTED && s->ahead == c->turn) ||
            (sparing != SPARE_NOTHING && pending(s)))
            continue;
        break;
    }
    return i;
}

// The slot that goes first of the groups that have more than `share`, but for `group`: of the one
// that has most.
static int oldest_beyond(const struct expert_cache *c, int share, int group, enum sparing sparing)
{
    int best = -1, most = share;
    for (int i = 0; i < c->o.n_groups; i++) {
        int slot = c->groups[i].n > most && i != group ? oldest_of(c, i, sparing) : -1;
        best = slot >= 0 ? slot : best;
        most = slot >= 0 ? c->groups[i].n : most;
    }
    return best;
}

// The slot that goes first, to `group` if it is one (-1: to nobody): what others have beyond their
// share, then of its own, then of anybody's.
static int choose_victim(const struct expert_cache *c, int group, enum sparing sparing)
{
    int i = oldest_beyond(c, (c->limit - c->o.least) / c->o.n_groups, group, sparing);
    if (i < 0 && group >= 0)
        i = oldest_of(c, group, sparing);
    return i >= 0 ? i : oldest_beyond(c, 0, group, sparing);
}

// Takes the piece out of its slot, which is in no list then.
static void forget(struct expert_cache *c, int i)
{
    struct expert_slot *s = &c->slots[i];
    list_remove(c, &c->groups[s->group], i);
    c->slot_of[s->piece] = -1;
    if (s->unused)
        c->counts.wasted_bytes += s->read.size;
    s->group = -1;
}

// A slot for a new piece, which is in no list; -1: none can be had.
static int take(struct expert_cache *c, int group, enum sparing sparing)
{
    int i = c->free.newest; // its memory is more likely there
    if (i >= 0) {
        list_remove(c, &c->free, i);
        return i;
    }
    i = choose_victim(c, group, sparing);
    if (i >= 0)
        forget(c, i);
    return i;
}

static uint8_t *memory_of(const struct expert_cache *c, int i)
{
    return c->o.memory + (size_t)i * c->o.slot_bytes;
}

// Puts a piece into a slot that is in no list.
static void fill(struct expert_cache *c, int i, uint32_t piece, const struct expert_place *p)
{
    struct expert_slot *s = &c->slots[i];
    size_t bytes = expert_cache_slot_bytes(p->offset, p->size);
    CHECK(bytes <= c->o.slot_bytes);
    *s = (struct expert_slot){
        .read = {.to = memory_of(c, i),
                 .offset = p->offset / READER_ALIGN * READER_ALIGN,
                 .size = bytes,
                 .file = p->file},
        .piece = piece,
        .at = (uint32_t)(p->offset % READER_ALIGN),
        .group = p->group,
        .unused = true,
    };
    c->slot_of[piece] = i;
    list_add(c, &c->groups[p->group], i);
    c->counts.read_bytes += bytes;
    reader_start(c->o.reader, &s->read);
}

// ---- the limit ---------------------------------------------------------------------------------

static void give_back(struct expert_cache *c, int i)
{
    pages_give_back(memory_of(c, i), c->o.slot_bytes, c->o.locked);
    list_add(c, &c->gone, i);
}

// Gives up slots beyond the limit, as far as that can be.
static void shed(struct expert_cache *c)
{
    while (c->o.n_slots - c->gone.n > c->limit) {
        int i = take(c, -1, SPARE_WANTED);
        if (i < 0)
            i = take(c, -1, SPARE_PENDING);
        if (i < 0)
            return; // goes on when something is released
        give_back(c, i);
    }
}

void expert_cache_limit(struct expert_cache *c, int n_slots)
{
    pthread_mutex_lock(&c->lock);
    c->limit = n_slots < c->o.least ? c->o.least : n_slots > c->o.n_slots ? c->o.n_slots : n_slots;
    while (c->gone.n && c->o.n_slots - c->gone.n < c->limit) {
        int i = c->gone.newest;
        list_remove(c, &c->gone, i);
        list_add(c, &c->free, i);
        if (c->o.locked)
            mlock2(memory_of(c, i), c->o.slot_bytes, MLOCK_ONFAULT); // as far as it is allowed
    }
    shed(c);
    pthread_mutex_unlock(&c->lock);
}

// ---- using -------------------------------------------------------------------------------------

// A piece of this group is asked for. Where it is another group than before, what was wanted for
// that one is no longer ahead.
static void hear(struct expert_cache *c, uint32_t piece, const struct expert_place *p)
{
    CHECK(piece < c->o.n_pieces && p->group >= 0 && p->group < c->o.n_groups);
    if (c->speaker != p->group)
        c->turn++;
    c->speaker = p->group;
}

// The piece's slot, or -1. A read that failed and that nobody holds is tried once more.
static int find(struct expert_cache *c, uint32_t piece)
{
    int i = c->slot_of[piece];
    if (i >= 0 && !c->slots[i].holders && atomic_load(&c->slots[i].read.state) == READ_FAILED)
        reader_start(c->o.reader, &c->slots[i].read);
    return i;
}

static void touch(struct expert_cache *c, int i)
{
    struct slot_list *group = &c->groups[c->slots[i].group];
    list_remove(c, group, i);
    list_add(c, group, i);
}

void expert_cache_want(struct expert_cache *c, uint32_t piece, const struct expert_place *p)
{
    pthread_mutex_lock(&c->lock);
    hear(c, piece, p);
    int i = find(c, piece);
    if (i >= 0) {
        touch(c, i);
    } else {
        i = take(c, p->group, SPARE_WANTED);
        if (i >= 0)
            fill(c, i, piece, p);
    }
    if (i >= 0)
        c->slots[i].ahead = c->turn;
    shed(c);
    pthread_mutex_unlock(&c->lock);
}

// The piece's slot, which may be being read. When nothing else is left, waits until a slot that
// nobody wants any more has been read.
static int find_or_fill(struct expert_cache *c, uint32_t piece, const struct expert_place *p)
{
    int i;
    while ((i = find(c, piece)) < 0) {
        if ((i = take(c, p->group, SPARE_WANTED)) < 0)
            i = take(c, p->group, SPARE_PENDING);
        if (i >= 0) {
            fill(c, i, piece, p);
            break;
        }
        i = choose_victim(c, p->group, SPARE_NOTHING);
        CHECK(i >= 0); // no more than `least` are held
        struct expert_slot *s = &c->slots[i];
        s->holders++;
        pthread_mutex_unlock(&c->lock);
        reader_wait(c->o.reader, &s->read);
        pthread_mutex_lock(&c->lock);
        s->holders--;
    }
    return i;
}

const uint8_t *expert_cache_acquire(struct expert_cache *c, uint32_t piece,
                                    const struct expert_place *p, struct err *e)
{
    int64_t start = clock_ns();
    pthread_mutex_lock(&c->lock);
    hear(c, piece, p);
    int i = find_or_fill(c, piece, p);
    struct expert_slot *s = &c->slots[i];
    const uint8_t *at = s->read.to + s->at;
    s->holders++;
    if (pending(s)) {
        pthread_mutex_unlock(&c->lock);
        reader_wait(c->o.reader, &s->read);
        pthread_mutex_lock(&c->lock);
    }
    c->counts.wait_ns += clock_ns() - start;
    if (atomic_load(&s->read.state) == READ_FAILED) {
        unreadable(e, c->o.paths[s->read.file], &s->read);
        at = NULL;
        if (!--s->holders) {
            forget(c, i);
            list_add(c, &c->free, i);
        }
    } else {
        c->counts.hits += !s->unused;
        c->counts.misses += s->unused;
        s->unused = false;
        s->ahead = 0;
        touch(c, i);
    }
    shed(c);
    pthread_mutex_unlock(&c->lock);
    return at;
}

void expert_cache_release(struct expert_cache *c, uint32_t piece)
{
    pthread_mutex_lock(&c->lock);
    CHECK(piece < c->o.n_pieces && c->slot_of[piece] >= 0);
    struct expert_slot *s = &c->slots[c->slot_of[piece]];
    CHECK(s->holders > 0);
    s->holders--;
    shed(c);
    pthread_mutex_unlock(&c->lock);
}

int expert_cache_at_once(const struct expert_cache *c)
{
    return c->o.least;
}

struct expert_cache_status expert_cache_status(struct expert_cache *c)
{
    pthread_mutex_lock(&c->lock);
    struct expert_cache_status s = c->counts;
    s.n_slots = c->o.n_slots - c->gone.n;
    s.n_filled = s.n_slots - c->free.n;
    pthread_mutex_unlock(&c->lock);
    return s;
}
