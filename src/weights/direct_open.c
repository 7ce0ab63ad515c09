// Cutting a model into parts, finding room for them and filling it: see direct.h.
#include "base/arith.h"
#include "base/check.h"
#include "base/log.h"
#include "disk/io.h"
#include "weights/cuts.h"
#include "weights/direct_state.h"
#include "weights/sidecar.h"
#include "weights/turn.h"
#include "weights/unreadable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LINE = 64, // what lies in memory begins at a cache line
    SLOT_PARTS = 8,
    LOAD_AHEAD = 8, // parts that are read while one is turned
};
static const size_t huge_page = 2 << 20;
static const uint64_t slots_share = 8; // the ring takes this part of a small budget
static const uint64_t ring_most = 3;   // and this part of any

// ---- sizes -------------------------------------------------------------------------------------

struct sizes {
    uint64_t whole, parts;               // bytes at home, all resident
    size_t n_parts, part_bytes, largest; // largest: in the ring
    uint64_t slots;
};

static size_t align(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct part direct_lies(const struct direct_options *o, uint32_t piece)
{
    struct part p = {0};
    struct gguf_piece g = gguf_piece_at(o->g, piece);
    bool known = wtype_row_bytes(g.tensor->type, g.tensor->dims[0], &p.row_bytes);
    CHECK(known && g.tensor->dims[1] <= INT32_MAX);
    bool turns = g.tensor->dims[1] > 1 && o->turns(o->turns_arg, g.tensor->type);
    p.type = g.tensor->type;
    p.file = g.tensor->part;
    p.offset = g.offset;
    p.file_bytes = (size_t)g.size;
    p.home_layout = turns ? LAYOUT_LANES : LAYOUT_ROWS;
    p.file_layout = LAYOUT_ROWS;
    uint64_t bytes = lanes_rows((size_t)g.tensor->dims[1]) * p.row_bytes, at;
    if (turns && o->sidecar && sidecar_offset(o->sidecar, piece, bytes, &at)) {
        p.file = gguf_n_parts(o->g);
        p.offset = at;
        p.file_bytes = (size_t)bytes;
        p.file_layout = LAYOUT_LANES;
    }
    return p;
}

// Rows [lo, hi) of a piece that lies as `of` says.
static struct part cut(const struct part *of, int32_t lo, int32_t hi)
{
    struct part p = *of;
    size_t rows = (size_t)(hi - lo), padded = lanes_rows(rows);
    p.offset += (uint64_t)lo * p.row_bytes;
    p.file_bytes = (p.file_layout == LAYOUT_LANES ? padded : rows) * p.row_bytes;
    p.home_bytes = align((p.home_layout == LAYOUT_LANES ? padded : rows) * p.row_bytes, LINE);
    return p;
}

static size_t in_ring(const struct part *p)
{
    uint64_t from = p->offset / READER_ALIGN * READER_ALIGN;
    return align((size_t)(p->offset - from) + p->file_bytes, READER_ALIGN);
}

// Goes through all parts in the order of use.
static void walk(const struct direct_options *o, size_t part_bytes,
                 void (*see)(void *arg, uint32_t piece, int32_t lo, int32_t hi,
                             const struct part *p),
                 void *arg)
{
    const struct tour *t = o->tour;
    for (uint32_t i = 0; i < t->begin[t->n_stops]; i++) {
        uint32_t piece = t->pieces[i];
        struct part whole = direct_lies(o, piece);
        int32_t n = (int32_t)gguf_piece_at(o->g, piece).tensor->dims[1];
        int32_t step = cuts_rows((uint64_t)n, whole.row_bytes, part_bytes);
        for (int32_t lo = 0; lo < n; lo += step) {
            int32_t hi = n - lo < step ? n : lo + step;
            struct part p = cut(&whole, lo, hi);
            see(arg, piece, lo, hi, &p);
        }
    }
}

static void add_size(void *arg, uint32_t piece, int32_t lo, int32_t hi, const struct part *p)
{
    struct sizes *s = arg;
    (void)piece, (void)lo, (void)hi;
    s->n_parts++;
    s->parts += p->home_bytes;
    s->largest = in_ring(p) > s->largest ? in_ring(p) : s->largest;
}

// With parts for a ring of so many bytes, which may turn out to have to be larger.
static void measure_parts(struct sizes *s, const struct direct_options *o, uint64_t slots)
{
    uint64_t total = 0;
    *s = (struct sizes){0};
    for (size_t i = 0; i < o->n_whole; i++)
        s->whole += align((size_t)gguf_piece_at(o->g, o->whole[i]).size, LINE);
    for (uint32_t i = 0; i < o->tour->begin[o->tour->n_stops]; i++)
        total += gguf_piece_at(o->g, o->tour->pieces[i]).size;
    s->part_bytes = cuts_part_bytes(total, slots);
    walk(o, s->part_bytes, add_size, s);
    uint64_t least = (uint64_t)STREAM_MIN_PARTS * s->largest;
    s->slots = slots < least ? least : slots;
}

// The ring of a budget: an eighth of a small one.
// A node alone computes all the time, so that the ring has to even out no more than the pace. Where
// others compute in between, the disk goes on meanwhile as far as the ring goes: with k rounds it
// should hold what one of them streams, (all - budget) / (k - 1). With one round each byte of it is
// one more to be streamed, and gains nothing.
static void choose_sizes(struct sizes *s, const struct direct_options *o, uint64_t budget)
{
    if (o->slots) {
        measure_parts(s, o, align((size_t)o->slots, READER_ALIGN));
        return;
    }
    measure_parts(s, o, UINT64_MAX);
    uint64_t wanted = (uint64_t)SLOT_PARTS * s->part_bytes, all = s->whole + s->parts;
    uint64_t round = o->rounds > 1 && all > budget ? (all - budget) / (uint64_t)(o->rounds - 1) : 0;
    uint64_t slots = at_most(wanted, budget / slots_share);
    round = at_most(round, budget / ring_most);
    slots = slots > round ? slots : round;
    // No more than there is, and than can be in use.
    uint64_t fixed = s->whole + demand_least_slots(o) * demand_slot_bytes(o);
    uint64_t room = budget > fixed ? (budget - fixed) / READER_ALIGN * READER_ALIGN : 0;
    slots = at_most(slots, (uint64_t)STREAM_MAX_ENTRIES * s->part_bytes);
    slots = at_most(slots, room);
    measure_parts(s, o, align((size_t)slots, READER_ALIGN));
    if (s->slots > room)
        measure_parts(s, o, 0);
}

void direct_needs(const struct direct_options *o, uint64_t *least, uint64_t *all)
{
    struct sizes small, s;
    measure_parts(&small, o, 0);
    choose_sizes(&s, o, UINT64_MAX);
    uint64_t slot = demand_slot_bytes(o);
    *least = small.whole + small.slots + demand_least_slots(o) * slot;
    *all = s.whole + s.parts + s.slots + o->n_demand * slot;
}

// ---- tables ------------------------------------------------------------------------------------

struct filling {
    struct direct *d;
    size_t n;
};

static void add_part(void *arg, uint32_t piece, int32_t lo, int32_t hi, const struct part *p)
{
    struct filling *f = arg;
    struct direct *d = f->d;
    d->parts[f->n] = *p;
    d->named[f->n] = (struct piece_part){(uint32_t)(d->n_pieces + f->n), lo, hi};
    d->slot_bytes[f->n] = in_ring(p);
    if (!lo)
        d->first_part[piece] = (uint32_t)f->n;
    f->n++;
}

static int fill_tables(struct direct *d, const struct direct_options *o, const struct sizes *s,
                       struct err *e)
{
    size_t n = s->n_parts + 1;
    const struct tour *t = o->tour;
    d->parts = calloc(n, sizeof *d->parts);
    d->named = calloc(n, sizeof *d->named);
    d->first_part = calloc(d->n_pieces + 1, sizeof *d->first_part);
    d->n_parts_of = calloc(d->n_pieces + 1, sizeof *d->n_parts_of);
    d->whole_at = calloc(d->n_pieces + 1, sizeof *d->whole_at);
    d->resident = calloc(n, sizeof *d->resident);
    d->by_rank = calloc(n, sizeof *d->by_rank);
    d->homes = calloc(n, sizeof *d->homes);
    d->slot_bytes = calloc(n, sizeof *d->slot_bytes);
    d->tour_begin = calloc((size_t)t->n_stops + 1, sizeof *d->tour_begin);
    d->follows = calloc((size_t)t->n_stops + 1, sizeof *d->follows);
    if (!d->parts || !d->named || !d->first_part || !d->n_parts_of || !d->whole_at ||
        !d->resident || !d->by_rank || !d->homes || !d->slot_bytes || !d->tour_begin || !d->follows)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    d->n_parts = s->n_parts;
    walk(o, s->part_bytes, add_part, &(struct filling){.d = d});
    for (int i = 0; i < t->n_stops; i++)
        d->follows[i] = t->follows[i];
    return 0;
}

// Where each stop's parts begin, and how many parts a piece has.
static void mark_stops(struct direct *d, const struct tour *t)
{
    uint32_t part = 0;
    for (int i = 0; i < t->n_stops; i++) {
        d->tour_begin[i] = part;
        for (uint32_t k = t->begin[i]; k < t->begin[i + 1]; k++) {
            uint32_t piece = t->pieces[k];
            while (part < d->n_parts && (part == d->first_part[piece] || d->named[part].row_lo)) {
                d->n_parts_of[piece]++;
                part++;
            }
        }
    }
    d->tour_begin[t->n_stops] = part;
    CHECK(part == d->n_parts);
}

// Ranks, homes, and how many are resident within `room` bytes.
static int place_parts(struct direct *d, uint64_t room, struct err *e)
{
    uint32_t *rank = calloc(d->n_parts + 1, sizeof *rank);
    uint64_t *scratch = calloc(d->n_parts + 1, sizeof *scratch);
    int rc = 0;
    if (rank && scratch) {
        size_t at = d->vectors_bytes;
        cuts_rank(rank, d->n_parts, scratch);
        for (size_t i = 0; i < d->n_parts; i++)
            d->by_rank[rank[i]] = (uint32_t)i;
        for (size_t r = 0; r < d->n_parts; r++) {
            struct part *p = &d->parts[d->by_rank[r]];
            p->home = at;
            d->homes[r] = p->home_bytes;
            at += p->home_bytes;
        }
        d->home_bytes = align(at, huge_page);
        d->n_planned = d->n_allowed = cuts_fit(d->homes, d->n_parts, room, &d->planned_bytes);
    } else {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    free(rank);
    free(scratch);
    return rc;
}

// ---- memory and files --------------------------------------------------------------------------

uint8_t *direct_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes + huge_page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uint8_t *at = p, *aligned = at + (huge_page - (uintptr_t)at % huge_page) % huge_page;
    if (aligned > at)
        munmap(at, (size_t)(aligned - at));
    if (at + huge_page > aligned)
        munmap(aligned + bytes, (size_t)(at + huge_page - aligned));
    return aligned;
}

static int find_memory(struct direct *d, struct err *e)
{
    d->home = direct_reserve(d->home_bytes);
    d->ring = direct_reserve(d->ring_bytes);
    if (!d->home || !d->ring)
        return err_set(e, ERR_NO_MEMORY, "the system refuses %.1f MiB for weights",
                       (double)(d->home_bytes + d->ring_bytes) / (1 << 20));
    madvise(d->home, d->home_bytes, MADV_HUGEPAGE); // a hint
    // Where the user's limits allow: what is resident is not to be swapped out. Pages are locked
    // when they are touched, so that what is not resident costs nothing.
    d->locked = !mlock2(d->home, d->home_bytes, MLOCK_ONFAULT);
    if (!d->locked)
        log_debug("weights are not locked in memory: the user's limits do not allow it");
    return 0;
}

static int open_files(struct direct *d, const struct direct_options *o, struct err *e)
{
    int n = gguf_n_parts(o->g), side = o->sidecar ? 1 : 0;
    d->fds = calloc((size_t)n + 1, sizeof *d->fds);
    d->sizes = calloc((size_t)n + 1, sizeof *d->sizes);
    d->paths = calloc((size_t)n + 1, sizeof *d->paths);
    if (!d->fds || !d->sizes || !d->paths)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    for (int i = 0; i < n; i++) {
        d->fds[i] = gguf_part_fd(o->g, i);
        d->sizes[i] = gguf_part_size(o->g, i);
        d->paths[i] = gguf_part_path(o->g, i);
    }
    if (side) {
        d->fds[n] = sidecar_fd(o->sidecar, &d->sizes[n]);
        d->paths[n] = sidecar_name(o->sidecar);
    }
    d->n_files = n + side;
    struct reader_options r = {.fds = d->fds,
                               .sizes = d->sizes,
                               .n_files = d->n_files,
                               .memory = d->ring,
                               .memory_bytes = d->ring_bytes};
    return reader_open(&d->reader, &r, e);
}

static int read_whole(struct direct *d, const struct direct_options *o, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < o->n_whole; i++) {
        struct gguf_piece p = gguf_piece_at(o->g, o->whole[i]);
        if (disk_read_full(d->fds[p.tensor->part], d->home + at, (size_t)p.size,
                           (int64_t)p.offset)) {
            struct read failed = {.file = p.tensor->part, .offset = p.offset, .error = errno};
            return unreadable(e, d->paths[failed.file], &failed);
        }
        d->whole_at[o->whole[i]] = at + 1;
        at += align((size_t)p.size, LINE);
    }
    return 0;
}

// ---- filling -----------------------------------------------------------------------------------

void direct_settle_part(struct direct *d, const struct part *p, const uint8_t *at,
                        struct backend *b)
{
    uint8_t *home = d->home + p->home;
    if (p->home_layout == p->file_layout) {
        memcpy(home, at, p->file_bytes);
        return;
    }
    struct turn_matrix m = {.type = p->type,
                            .rows = at,
                            .lanes = home,
                            .n_rows = p->file_bytes / p->row_bytes,
                            .row_bytes = p->row_bytes};
    turn_run(&(struct turn){.matrices = &m, .n_matrices = 1}, b);
}

// The resident parts in the order of the file, `next` being the one after part i; n_parts: none.
static size_t next_resident(const struct direct *d, const uint32_t *rank_of, size_t i)
{
    while (i < d->n_parts && rank_of[i] >= d->n_planned)
        i++;
    return i;
}

// Reads what is resident through the ring, which has equal slots meanwhile.
static int fill(struct direct *d, const struct direct_options *o, struct backend *b,
                const uint32_t *rank_of, size_t slot, struct err *e)
{
    size_t n_slots = d->ring_bytes / slot < LOAD_AHEAD ? d->ring_bytes / slot : LOAD_AHEAD;
    size_t ahead = next_resident(d, rank_of, 0), n_started = 0, n_done = 0;
    uint64_t bytes = 0;
    int rc = 0;
    for (size_t i = ahead; i < d->n_parts && !rc; i = next_resident(d, rank_of, i + 1)) {
        for (; ahead < d->n_parts && n_started - n_done < n_slots; n_started++) {
            const struct part *p = &d->parts[ahead];
            struct read *q = &d->reads[n_started % n_slots];
            *q = (struct read){.to = d->ring + n_started % n_slots * slot,
                               .offset = p->offset / READER_ALIGN * READER_ALIGN,
                               .size = d->slot_bytes[ahead],
                               .file = p->file};
            reader_start(d->reader, q);
            ahead = next_resident(d, rank_of, ahead + 1);
        }
        struct part *p = &d->parts[i];
        struct read *q = &d->reads[n_done++ % n_slots];
        if (reader_wait(d->reader, q) == READ_FAILED) {
            rc = unreadable(e, d->paths[q->file], q);
            break;
        }
        direct_settle_part(d, p, q->to + p->offset % READER_ALIGN, b);
        d->resident[i] = true;
        bytes += p->home_bytes;
        if (o->progress)
            o->progress(o->arg, bytes, d->planned_bytes);
    }
    for (; n_done < n_started; n_done++)
        reader_wait(d->reader, &d->reads[n_done % n_slots]);
    return rc;
}

static int load(struct direct *d, const struct direct_options *o, const struct sizes *s,
                struct backend *b, struct err *e)
{
    uint32_t *rank_of = calloc(d->n_parts + 1, sizeof *rank_of);
    if (!rank_of)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    for (size_t r = 0; r < d->n_parts; r++)
        rank_of[d->by_rank[r]] = (uint32_t)r;
    int rc = fill(d, o, b, rank_of, s->largest ? s->largest : READER_ALIGN, e);
    free(rank_of);
    d->n_resident = d->n_planned;
    d->resident_bytes = d->planned_bytes;
    d->home_used = d->vectors_bytes + d->planned_bytes;
    return rc;
}

static void begin_stream(struct direct *d, const struct tour *t)
{
    struct stream_tour tour = {.n_stops = t->n_stops,
                               .begin = d->tour_begin,
                               .follows = d->follows,
                               .bytes = d->slot_bytes,
                               .resident = d->resident};
    stream_init(&d->stream, &tour, d->ring_bytes);
}

// What is left beyond the least is for parts first, which every token uses, then for experts.
// Returns what parts may have.
static uint64_t share_room(struct direct *d, const struct direct_options *o, const struct sizes *s,
                           uint64_t room)
{
    uint64_t slot = demand_slot_bytes(o), least = demand_least_slots(o);
    uint64_t rest = room > s->parts ? room - s->parts : 0;
    uint64_t more = slot ? rest / slot : 0, most = o->n_demand - least;
    d->expert_bytes = (size_t)slot;
    d->n_slots = (size_t)(least + (more < most ? more : most));
    return room - (d->n_slots - least) * slot;
}

int direct_open(struct direct **out, const struct direct_options *o, struct backend *b,
                struct err *e)
{
    struct sizes s;
    choose_sizes(&s, o, o->budget);
    uint64_t fixed = s.whole + s.slots + demand_least_slots(o) * demand_slot_bytes(o);
    if (fixed > o->budget)
        return err_set(e, ERR_NO_MEMORY, "weights need %.1f MiB of memory, and %.1f are left",
                       (double)fixed / (1 << 20), (double)o->budget / (1 << 20));
    struct direct *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    d->g = o->g;
    d->n_pieces = gguf_n_pieces(o->g);
    d->vectors_bytes = (size_t)s.whole;
    d->ring_bytes = (size_t)s.slots;
    uint64_t room = share_room(d, o, &s, o->budget - fixed);
    pthread_mutex_init(&d->lock, NULL);
    int rc = fill_tables(d, o, &s, e);
    if (!rc)
        mark_stops(d, o->tour);
    if (!rc)
        rc = place_parts(d, room, e);
    if (!rc)
        rc = find_memory(d, e);
    if (!rc)
        rc = open_files(d, o, e);
    if (!rc)
        rc = demand_open(d, o, e);
    if (!rc)
        rc = read_whole(d, o, e);
    if (!rc)
        rc = load(d, o, &s, b, e);
    if (rc) {
        direct_close(d);
        return rc;
    }
    begin_stream(d, o->tour);
    direct_read_ahead(d);
    *out = d;
    return 0;
}

void direct_close(struct direct *d)
{
    if (!d)
        return;
    demand_close(d);
    for (int i = 0; d->reader && i < STREAM_MAX_ENTRIES; i++)
        reader_cancel(d->reader, &d->reads[i]); // nobody waits for what is ahead
    reader_close(d->reader);
    if (d->home)
        munmap(d->home, d->home_bytes);
    if (d->ring)
        munmap(d->ring, d->ring_bytes);
    pthread_mutex_destroy(&d->lock);
    free(d->fds);
    free(d->sizes);
    free((void *)d->paths);
    free(d->parts);
    free(d->named);
    free(d->first_part);
    free(d->n_parts_of);
    free(d->whole_at);
    free(d->resident);
    free(d->by_rank);
    free(d->homes);
    free(d->slot_bytes);
    free(d->tour_begin);
    free(d->follows);
    free(d);
}
