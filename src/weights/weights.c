// Pieces of weights: read-only mappings of the model's files, and beside them, in lane form, what
// was turned or lies in a sidecar. A piece's address is fixed once settled, so acquiring it never
// blocks and being done with it is nothing to do.
#include "weights/weights.h"

#include "base/arena.h"
#include "base/log.h"
#include "disk/io.h"
#include "kernels/lanes.h"
#include "weights/budget.h"
#include "weights/layouts.h"
#include "weights/mapping.h"
#include "weights/sidecar.h"
#include "weights/turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct weights {
    const struct gguf *g;
    struct weights_options options;
    struct mapping *mapping;
    struct sidecar *sidecar; // NULL: none
    struct piece {
        const uint8_t *lanes; // NULL: rows of the mapping
        struct arena memory;  // of lanes that were turned
        bool needed;
        enum weights_place place;
    } * pieces;       // (gguf_n_pieces)
    uint32_t *needed; // (n_needed) in the order of need
    struct layout_item *items;
    size_t n_needed, n_settled;
    struct weights_report report;
};

// ---- opening -----------------------------------------------------------------------------------

int weights_open(struct weights **out, const struct gguf *g, const struct weights_options *o,
                 struct err *e)
{
    size_t n_pieces = gguf_n_pieces(g) + 1; // never an empty table
    struct weights *w = calloc(1, sizeof *w);
    if (w) {
        w->pieces = calloc(n_pieces, sizeof *w->pieces);
        w->needed = calloc(n_pieces, sizeof *w->needed);
        w->items = calloc(n_pieces, sizeof *w->items);
    }
    if (!w || !w->pieces || !w->needed || !w->items) {
        weights_free(w);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    w->g = g;
    if (o)
        w->options = *o;
    int rc = mapping_open(&w->mapping, g, e);
    if (rc) {
        weights_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void weights_free(struct weights *w)
{
    if (!w)
        return;
    sidecar_close(w->sidecar);
    mapping_free(w->mapping);
    for (size_t i = 0; i < w->n_needed; i++)
        arena_fini(&w->pieces[w->needed[i]].memory);
    free(w->pieces);
    free(w->needed);
    free(w->items);
    free(w);
}

// ---- using -------------------------------------------------------------------------------------

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    const struct weights *w = ctx;
    const uint8_t *lanes = w->pieces[piece].lanes;
    (void)e; // what is mapped is there
    *layout = lanes ? LAYOUT_LANES : LAYOUT_ROWS;
    return lanes ? lanes : mapping_rows(w->mapping, piece);
}

static void done(void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece; // it stays
}

struct piece_source weights_source(struct weights *w)
{
    return (struct piece_source){.ctx = w, .acquire = acquire, .done = done};
}

void weights_need(struct weights *w, uint32_t piece, int layer)
{
    if (w->pieces[piece].needed)
        return;
    w->pieces[piece].needed = true;
    w->items[w->n_needed].layer = layer;
    w->needed[w->n_needed++] = piece;
}

// ---- settling ----------------------------------------------------------------------------------

static struct turn_matrix matrix_of(const struct weights *w, uint32_t piece)
{
    const struct gguf_tensor *t = gguf_piece_at(w->g, piece).tensor;
    struct turn_matrix m = {
        .type = t->type, .rows = mapping_rows(w->mapping, piece), .n_rows = t->dims[1]};
    if (!wtype_row_bytes(t->type, t->dims[0], &m.row_bytes))
        m.n_rows = 0; // no matrix
    return m;
}

// Whether lanes are worth it: an instruction set has kernels of its own for them.
static bool can_turn(const struct weights *w, const struct turn_matrix *m, const struct kernels *k)
{
    const struct format_kernels *f = &k->format[m->type];
    if (m->n_rows < 2 || !lanes_can(m->type) || !f->matmul_lanes)
        return false;
    return w->options.form == WEIGHTS_LANES ||
           f->matmul_lanes != kernels_for(ISA_SCALAR)->format[m->type].matmul_lanes;
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
static void look_at(struct weights *w, struct layout_item *item, uint32_t piece,
                    const struct kernels *k)
{
    struct turn_matrix m = matrix_of(w, piece);
    uint64_t bytes = lanes_rows(m.n_rows) * m.row_bytes;
    item->can = can_turn(w, &m, k);
    item->bytes = bytes;
    w->pieces[piece].lanes =
        w->sidecar && item->can ? sidecar_find(w->sidecar, piece, bytes) : NULL;
    if (w->pieces[piece].lanes)
        item->bytes = 0;
}

// Chooses a place for all that is needed and not settled yet.
static int choose(struct weights *w, const struct kernels *k, uint64_t reserved, struct err *e)
{
    size_t n = w->n_needed - w->n_settled;
    struct layout_item *items = w->items + w->n_settled;
    enum layout *layouts = calloc(n + 1, sizeof *layouts);
    uint64_t budget = w->options.budget, all = 0;
    if (!layouts)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    look_for_sidecar(w);
    for (size_t i = 0; i < n; i++) {
        look_at(w, &items[i], w->needed[w->n_settled + i], k);
        all += items[i].can ? items[i].bytes : 0;
    }
    if (!budget && w->options.form == WEIGHTS_AUTO && all)
        budget = budget_for_weights(budget_available(""), reserved);
    uint64_t taken = layouts_choose(layouts, items, n, w->options.form, budget);
    w->report.short_of_memory |= w->options.form == WEIGHTS_AUTO && taken < all;
    for (size_t i = 0; i < n; i++) {
        struct piece *p = &w->pieces[w->needed[w->n_settled + i]];
        p->place = p->lanes ? PLACE_SIDECAR : layouts[i] == LAYOUT_LANES ? PLACE_LANES : PLACE_ROWS;
    }
    free(layouts);
    return 0;
}

int weights_foresee(struct weights *w, const struct kernels *k, uint64_t reserved, struct err *e)
{
    int rc = choose(w, k, reserved, e);
    if (!rc)
        count(w);
    return rc;
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

int weights_settle(struct weights *w, struct backend *b, uint64_t reserved, struct err *e)
{
    struct turn turn = {.progress = w->options.progress, .arg = w->options.arg};
    turn.matrices = calloc(w->n_needed + 1, sizeof *turn.matrices);
    if (!turn.matrices)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    int rc = choose(w, backend_kernels(b), reserved, e);
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
        *m = matrix_of(w, w->needed[i]);
        m->lanes = p->memory.base;
    }
    turn_run(&turn, b);
    rc = mapping_check(w->mapping, e); // else zeros may have been turned
    // The rows are not looked at again; their pages are the first that the system may take.
    for (size_t i = w->n_settled; i < w->n_needed; i++)
        if (w->pieces[w->needed[i]].place == PLACE_LANES)
            mapping_advise(w->mapping, w->needed[i], MADV_DONTNEED, true);
    w->n_settled = w->n_needed;
    count(w);
    free(turn.matrices);
    return rc;
}

enum weights_place weights_place(const struct weights *w, uint32_t piece)
{
    return w->pieces[piece].place;
}

// ---- sidecars ----------------------------------------------------------------------------------

// What of the needed pieces a sidecar holds; `pieces` and `rows` have room for all of them.
static struct sidecar_plan plan_sidecar(const struct weights *w, uint32_t *pieces,
                                        const uint8_t **rows)
{
    struct sidecar_plan p = {.g = w->g, .pieces = pieces, .rows = rows, .mapping = w->mapping};
    for (size_t i = 0; i < w->n_needed; i++) {
        struct turn_matrix m = matrix_of(w, w->needed[i]);
        if (m.n_rows < 2 || !lanes_can(m.type))
            continue;
        pieces[p.n_pieces] = w->needed[i];
        rows[p.n_pieces++] = m.rows;
    }
    return p;
}

int weights_prepack(const struct weights *w, struct backend *b, const struct prepack *o,
                    struct err *e)
{
    uint32_t *pieces = calloc(w->n_needed + 1, sizeof *pieces);
    const uint8_t **rows = calloc(w->n_needed + 1, sizeof *rows);
    int rc = 0;
    if (pieces && rows) {
        struct sidecar_plan p = plan_sidecar(w, pieces, rows);
        p.told = o->told;
        p.arg = o->arg;
        if (!p.n_pieces)
            rc = err_set(e, ERR_FAILED,
                         "%s: no matrix of these layers has a type that can be turned; there is "
                         "nothing to write",
                         gguf_path(w->g));
        if (!rc)
            rc = o->begin(o->arg, p.n_pieces, sidecar_bytes(&p), e);
        if (!rc)
            rc = sidecar_write(&p, b, o->path, e);
    } else {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    free(pieces);
    free((void *)rows);
    return rc;
}

struct weights_report weights_report(const struct weights *w)
{
    return w->report;
}

void weights_describe(const struct weights *w, char *out, size_t size)
{
    const struct weights_report *r = &w->report;
    int in_lanes = r->lanes.matrices + r->sidecar.matrices;
    const char *from = r->sidecar.matrices ? " from a sidecar" : "";
    const char *why = r->short_of_memory ? " (memory)" : "";
    if (!in_lanes)
        snprintf(out, size, "weights in rows%s", why);
    else if (r->layers_in_rows)
        snprintf(out, size, "weights in lanes%s but for %d of %d layers%s", from, r->layers_in_rows,
                 r->layers, why);
    else
        snprintf(out, size, "weights in lanes%s", from);
}
