// Settling: the choice between mapped and direct, and mapped weights: as rows, in lanes of a
// sidecar, or turned into lanes as far as the budget goes.
#include "base/log.h"
#include "disk/io.h"
#include "kernels/lanes.h"
#include "weights/budget.h"
#include "weights/weights_state.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

// Whether lanes are worth it: an instruction set has kernels of its own for them.
static bool turns(const void *arg, uint32_t type)
{
    const struct weights *w = arg;
    const struct format_kernels *f = &w->kernels->format[type];
    if (w->options.form == WEIGHTS_ROWS || !lanes_can(type) || !f->matmul_lanes)
        return false;
    return w->options.form == WEIGHTS_LANES ||
           f->matmul_lanes != kernels_for(ISA_SCALAR)->format[type].matmul_lanes;
}

static void count(struct weights *w)
{
    struct weights_report *r = &w->report;
    int last = -1, last_in_rows = -1;
    *r = (struct weights_report){.short_of_memory = r->short_of_memory};
    for (size_t i = 0; i < w->n_needed; i++) {
        struct gguf_piece p = gguf_piece_at(w->g, w->needed[i]);
        enum weights_place place = w->pieces[w->needed[i]].place;
        if (w->items[i].layer != last)
            r->layers++;
        last = w->items[i].layer;
        if (place == PLACE_ROWS && w->items[i].can && last != last_in_rows) {
            r->layers_in_rows++;
            last_in_rows = last;
        }
        if (p.tensor->n_dims < 2)
            continue;
        struct weights_share *share = place == PLACE_ROWS    ? &r->rows
                                      : place == PLACE_LANES ? &r->lanes
                                                             : &r->sidecar;
        share->matrices++;
        share->bytes += p.size;
    }
}

// Memory for the lanes of item i; without it the piece stays as it is.
static void allocate(struct weights *w, size_t i)
{
    struct piece *p = &w->pieces[w->needed[i]];
    size_t bytes = (size_t)w->items[i].bytes;
    if (arena_init(&p->memory, arena_plan(0, bytes))) {
        log_info("no memory to turn %s; it is used as it lies in the file",
                 gguf_piece_at(w->g, w->needed[i]).tensor->name.text);
        p->place = PLACE_ROWS;
        w->report.short_of_memory = true;
        return;
    }
    p->lanes = arena_take(&p->memory, bytes);
    madvise(p->memory.base, bytes, MADV_HUGEPAGE); // a hint
}

// A sidecar is looked for where lanes may be wanted; one that cannot be used is told of once.
static void look_for_sidecar(struct weights *w)
{
    struct err why = {0};
    if (w->options.form == WEIGHTS_ROWS || w->options.no_sidecar || w->n_settled)
        return;
    w->sidecar = sidecar_open(w->g, &why);
    if (why.code)
        log_warn("%s", why.text);
}

// What an item takes: nothing where a sidecar has it.
static void look_at(struct weights *w, struct layout_item *item, uint32_t piece)
{
    struct turn_matrix m = weights_matrix(w, piece);
    uint64_t bytes = lanes_rows(m.n_rows) * m.row_bytes;
    item->can = m.n_rows > 1 && turns(w, m.type);
    item->bytes = bytes;
    w->pieces[piece].lanes =
        w->sidecar && item->can ? sidecar_find(w->sidecar, piece, bytes) : NULL;
    if (w->pieces[piece].lanes)
        item->bytes = 0;
}

// Bytes that weights may have.
static uint64_t room(const struct weights *w)
{
    uint64_t all = w->options.memory ? w->options.memory : budget_automatic("");
    uint64_t others = w->others.cache + w->others.computing;
    if (w->options.budget)
        return w->options.budget;
    if (all == UINT64_MAX)
        return all; // nobody says what there is
    return all > others ? all - others : 0;
}

// Chooses a place for all that is needed and not settled yet.
static int choose(struct weights *w, struct err *e)
{
    size_t n = w->n_needed - w->n_settled;
    struct layout_item *items = w->items + w->n_settled;
    enum layout *layouts = calloc(n + 1, sizeof *layouts);
    uint64_t budget = 0, all = 0;
    if (!layouts)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    for (size_t i = 0; i < n; i++) {
        look_at(w, &items[i], w->needed[w->n_settled + i]);
        all += items[i].can ? items[i].bytes : 0;
    }
    if (w->options.form == WEIGHTS_AUTO && all)
        budget = room(w);
    uint64_t taken = layouts_choose(layouts, items, n, w->options.form, budget);
    w->report.short_of_memory |= w->options.form == WEIGHTS_AUTO && taken < all;
    for (size_t i = 0; i < n; i++) {
        struct piece *p = &w->pieces[w->needed[w->n_settled + i]];
        p->place = p->lanes ? PLACE_SIDECAR : layouts[i] == LAYOUT_LANES ? PLACE_LANES : PLACE_ROWS;
    }
    free(layouts);
    return 0;
}

int weights_foresee(struct weights *w, const struct kernels *k, struct err *e)
{
    uint64_t all = 0, most = room(w);
    w->kernels = k;
    look_for_sidecar(w);
    int rc = choose(w, e);
    if (rc)
        return rc;
    count(w);
    for (size_t i = 0; i < w->n_needed; i++)
        all += gguf_piece_at(w->g, w->needed[i]).size;
    if (w->options.residency == RESIDENCY_AUTO && all > most) {
        w->report.resident = most;
        w->report.streamed = all - most;
    }
    return 0;
}

// Starts reading the pieces from wherever they will be used, or turned from.
static void read_ahead(const struct weights *w)
{
    for (size_t i = w->n_settled; i < w->n_needed; i++) {
        const struct piece *p = &w->pieces[w->needed[i]];
        size_t size = (size_t)gguf_piece_at(w->g, w->needed[i]).size;
        if (p->place == PLACE_SIDECAR)
            disk_io->advise((void *)(uintptr_t)p->lanes, size, MADV_WILLNEED);
        else
            mapping_advise(w->mapping, w->needed[i], MADV_WILLNEED, false);
    }
}

// What lies in the files is read ahead of its use: all that is needed, in the order of need, which
// is that of use, but for matrices of a stack, which are chosen.
static int begin_prefetch(struct weights *w, struct err *e)
{
    uint32_t *pieces = calloc(w->n_needed + 1, sizeof *pieces);
    size_t n = 0;
    if (!pieces)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    for (size_t i = 0; i < w->n_needed; i++)
        if (w->pieces[w->needed[i]].place == PLACE_ROWS &&
            gguf_piece_at(w->g, w->needed[i]).tensor->n_pieces == 1)
            pieces[n++] = w->needed[i];
    prefetch_free(w->prefetch);
    w->prefetch = NULL;
    int rc = prefetch_new(&w->prefetch, w->g, pieces, n, e);
    free(pieces);
    return rc;
}

static int settle_mapped(struct weights *w, struct backend *b, struct err *e)
{
    struct turn turn = {.progress = w->options.progress, .arg = w->options.arg};
    turn.matrices = calloc(w->n_needed + 1, sizeof *turn.matrices);
    if (!turn.matrices)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    int rc = choose(w, e);
    if (rc) {
        free(turn.matrices);
        return rc;
    }
    read_ahead(w);
    for (size_t i = w->n_settled; i < w->n_needed; i++) {
        struct piece *p = &w->pieces[w->needed[i]];
        if (p->place == PLACE_LANES)
            allocate(w, i);
        if (p->place != PLACE_LANES)
            continue;
        struct turn_matrix *m = &turn.matrices[turn.n_matrices++];
        *m = weights_matrix(w, w->needed[i]);
        m->lanes = p->memory.base;
        w->lanes_bytes += p->memory.size;
    }
    turn_run(&turn, b);
    w->lanes_planned = w->lanes_bytes;
    rc = mapping_check(w->mapping, e); // else zeros may have been turned
    // The rows are not looked at again; their pages are the first that the system may take.
    for (size_t i = w->n_settled; i < w->n_needed; i++)
        if (w->pieces[w->needed[i]].place == PLACE_LANES)
            mapping_advise(w->mapping, w->needed[i], MADV_DONTNEED, true);
    if (!rc && w->options.residency == RESIDENCY_MMAP)
        rc = begin_prefetch(w, e);
    count(w);
    free(turn.matrices);
    return rc;
}

// A small stack, such as the heads of latent attention beside experts, is used whole by every
// token: it is better resident than in turns with experts.
enum { SMALL_STACK = 16 };

static uint64_t largest_stack(const struct weights *w)
{
    uint64_t most = 0;
    for (size_t i = 0; i < w->n_needed; i++) {
        uint64_t size = gguf_piece_at(w->g, w->needed[i]).tensor->size;
        if (w->tour.on_demand[w->needed[i]] && size > most)
            most = size;
    }
    return most;
}

// Beside the matrices of the tour: what comes on demand, and what is whole: vectors, tables.
static struct direct_options direct_options(const struct weights *w, uint32_t *whole,
                                            uint32_t *demand, int *groups)
{
    struct direct_options o = {.g = w->g,
                               .sidecar = w->sidecar,
                               .tour = &w->tour,
                               .whole = whole,
                               .demand = demand,
                               .groups = groups,
                               .turns = turns,
                               .turns_arg = w,
                               .slots = w->options.slots,
                               .rounds = w->options.rounds,
                               .progress = w->options.progress,
                               .arg = w->options.arg};
    uint64_t stack = largest_stack(w);
    for (size_t i = 0; i < w->n_needed; i++) {
        uint32_t piece = w->needed[i];
        bool small = gguf_piece_at(w->g, piece).tensor->size <= stack / SMALL_STACK;
        if (w->tour.on_demand[piece] && !small) {
            groups[o.n_demand] = w->items[i].layer;
            demand[o.n_demand++] = piece;
        } else if (!w->tour.known[piece]) {
            whole[o.n_whole++] = piece;
        }
    }
    return o;
}

static int no_room(const struct weights *w, uint64_t least, struct err *e)
{
    static const char cure[] = "lower --ctx or --batch, take --kv q8_0, or share the model with "
                               "other machines (--workers)";
    const double mib = 1 << 20;
    double cache = (double)w->others.cache / mib, computing = (double)w->others.computing / mib;
    double weights = (double)least / mib, all = cache + computing + weights;
    double given = (double)(w->options.memory ? w->options.memory : budget_automatic("")) / mib;
    const char *who = w->options.memory ? "--memory allows" : "this machine can spare";
    const char *more = w->options.memory ? "allow more" : "end other programs";
    if (!least) // not known yet: nothing may be promised
        return err_set(
            e, ERR_NO_MEMORY,
            "%s %.1f MiB of memory; the cache takes %.1f MiB and computing %.1f MiB, "
            "which is %.1f MiB more and leaves nothing for weights on their way through; "
            "%s, %s",
            who, given, cache, computing, all - given, more, cure);
    return err_set(
        e, ERR_NO_MEMORY,
        "%s %.1f MiB of memory, and the least that does is %.1f, %.1f more: %.1f for the "
        "cache, %.1f for computing, %.1f for weights on their way through; %s, %s",
        who, given, all, all - given, cache, computing, weights, more, cure);
}

int weights_room(const struct weights *w, const struct weights_others *others, struct err *e)
{
    struct weights after = {.options = w->options, .others = *others};
    return w->options.residency == RESIDENCY_MMAP || room(&after) ? 0 : no_room(&after, 0, e);
}

// Nobody asked for it, so it is told.
static void warn_of_streaming(const struct weights *w)
{
    struct weights_status s;
    direct_status(w->direct, &s);
    if (w->options.residency == RESIDENCY_AUTO && !w->options.memory)
        log_warn("%.2f GiB of weights fit into the memory that this machine can spare; %.2f GiB "
                 "do not and are read from disk for each token",
                 (double)s.resident / (1 << 30), (double)s.streamed / (1 << 30));
}

static int settle_direct(struct weights *w, struct backend *b, struct err *e)
{
    uint32_t *pieces = calloc(2 * w->n_needed + 2, sizeof *pieces);
    int *groups = calloc(w->n_needed + 1, sizeof *groups), rc = 0;
    if (pieces && groups) {
        struct direct_options o = direct_options(w, pieces, pieces + w->n_needed + 1, groups);
        uint64_t least, all;
        direct_needs(&o, &least, &all);
        o.budget = room(w);
        if (w->options.residency == RESIDENCY_AUTO && all <= o.budget)
            rc = settle_mapped(w, b, e);
        else if (o.budget < least)
            rc = no_room(w, least, e);
        else
            rc = direct_open(&w->direct, &o, b, e);
        if (!rc && w->direct)
            warn_of_streaming(w);
    } else {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    free(pieces);
    free(groups);
    return rc;
}

int weights_settle(struct weights *w, struct backend *b, const struct weights_others *others,
                   struct err *e)
{
    bool direct = w->learning && w->options.residency != RESIDENCY_MMAP;
    if (others)
        w->others = *others;
    w->kernels = backend_kernels(b);
    if (w->options.residency == RESIDENCY_MMAP && w->options.form == WEIGHTS_AUTO)
        w->options.form = WEIGHTS_ROWS; // no memory but the page cache
    if (w->learning)
        tour_end(&w->tour);
    w->learning = false;
    look_for_sidecar(w);
    int rc = direct ? settle_direct(w, b, e) : settle_mapped(w, b, e);
    w->n_settled = rc ? w->n_settled : w->n_needed;
    return rc;
}
