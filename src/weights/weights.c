// Weights at work: what a piece_source is asked, mapped ones and direct ones, limits, and what came
// of it. Settling is in settle.c. The address of mapped rows is fixed, so acquiring them never
// blocks; lanes that were turned may be let go of and come back.
#include "weights/weights.h"

#include "disk/io.h"
#include "kernels/lanes.h"
#include "weights/weights_state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BRING_BACK_MOST = 128 << 20 }; // bytes turned at once: tenths of a second

// ---- opening -----------------------------------------------------------------------------------

int weights_open(struct weights **out, const struct gguf *g, const struct weights_options *o,
                 struct err *e)
{
    size_t n_pieces = gguf_n_pieces(g) + 1; // never an empty table
    struct weights *w = calloc(1, sizeof *w);
    if (w) {
        pthread_mutex_init(&w->lock, NULL);
        w->pieces = calloc(n_pieces, sizeof *w->pieces);
        w->needed = calloc(n_pieces, sizeof *w->needed);
        w->items = calloc(n_pieces, sizeof *w->items);
    }
    if (!w || !w->pieces || !w->needed || !w->items) {
        weights_free(w);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    w->g = g;
    w->limit = UINT64_MAX;
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
    direct_close(w->direct);
    tour_fini(&w->tour);
    sidecar_close(w->sidecar);
    prefetch_free(w->prefetch);
    mapping_free(w->mapping);
    for (size_t i = 0; i < w->n_needed; i++)
        arena_fini(&w->pieces[w->needed[i]].memory);
    free(w->pieces);
    free(w->needed);
    free(w->items);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

// ---- using -------------------------------------------------------------------------------------

// Lets go of lanes beyond the limit that nobody holds, the last ones first: their matrices are used
// as rows of the mapped files from now on. Under lock.
static void give_back(struct weights *w)
{
    for (size_t i = w->n_needed; i-- && w->lanes_bytes > w->limit;) {
        struct piece *p = &w->pieces[w->needed[i]];
        if (!p->memory.base || p->holders)
            continue;
        w->lanes_bytes -= p->memory.size;
        p->lanes = NULL;
        arena_fini(&p->memory);
    }
}

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    struct weights *w = ctx;
    if (w->direct)
        return direct_acquire(w->direct, piece, layout, e);
    if (w->prefetch)
        mapping_prefetch(w->mapping, w->prefetch, piece);
    struct piece *p = &w->pieces[piece]; // what is mapped is there
    pthread_mutex_lock(&w->lock);
    const uint8_t *lanes = p->lanes;
    p->holders += p->memory.base ? 1 : 0;
    pthread_mutex_unlock(&w->lock);
    *layout = lanes ? LAYOUT_LANES : LAYOUT_ROWS;
    return lanes ? lanes : mapping_rows(w->mapping, piece);
}

static void done(void *ctx, uint32_t piece)
{
    struct weights *w = ctx;
    struct piece *p = &w->pieces[piece];
    if (w->direct) {
        direct_done(w->direct, piece);
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (p->holders && !--p->holders)
        give_back(w);
    pthread_mutex_unlock(&w->lock);
}

static int parts(void *ctx, uint32_t piece, const struct piece_part **out)
{
    struct weights *w = ctx;
    if (w->learning)
        tour_note(&w->tour, piece);
    return w->direct ? direct_parts(w->direct, piece, out) : 0;
}

static int at_once(void *ctx, uint32_t piece)
{
    struct weights *w = ctx;
    const struct gguf_tensor *t = gguf_piece_at(w->g, piece).tensor;
    if (w->learning)
        tour_note_stack(&w->tour, t->first_piece, t->n_pieces);
    return w->direct ? direct_at_once(w->direct, piece) : INT_MAX;
}

static void want(void *ctx, uint32_t piece)
{
    struct weights *w = ctx;
    if (w->direct)
        direct_want(w->direct, piece);
}

// A row that lies in lanes.
static bool row_in_lanes(struct weights *w, const struct weight *of, uint64_t at, uint8_t *out)
{
    pthread_mutex_lock(&w->lock);
    const uint8_t *lanes = w->pieces[of->piece].lanes;
    if (lanes)
        lanes_take_row(of->type, out, lanes, of->row_bytes, (size_t)(at / of->row_bytes));
    pthread_mutex_unlock(&w->lock);
    return lanes;
}

static bool row(void *ctx, const struct weight *of, int32_t id, uint8_t *out, struct err *e)
{
    struct weights *w = ctx;
    uint64_t at = of->offset + (uint64_t)id * of->row_bytes;
    if (w->direct ? direct_row(w->direct, of->piece, at, of->row_bytes, out)
                  : row_in_lanes(w, of, at, out))
        return true;
    if (!w->direct) {
        memcpy(out, mapping_rows(w->mapping, of->piece) + at, of->row_bytes);
        return true;
    }
    struct gguf_piece p = gguf_piece_at(w->g, of->piece);
    if (!disk_read_full(gguf_part_fd(w->g, p.tensor->part), out, of->row_bytes,
                        (int64_t)(p.offset + at)))
        return true;
    int why = errno;
    if (weights_check(w, e)) // the file was cut short
        return false;
    errno = why;
    err_errno(e, ERR_FAILED, "%s: the row of a token cannot be read; look after the disk",
              gguf_part_path(w->g, p.tensor->part));
    return false;
}

struct piece_source weights_source(struct weights *w)
{
    return (struct piece_source){.ctx = w,
                                 .acquire = acquire,
                                 .done = done,
                                 .parts = parts,
                                 .row = row,
                                 .at_once = at_once,
                                 .want = want};
}

void weights_need(struct weights *w, uint32_t piece, int layer)
{
    if (w->pieces[piece].needed)
        return;
    w->pieces[piece].needed = true;
    w->items[w->n_needed].layer = layer;
    w->needed[w->n_needed++] = piece;
}

struct turn_matrix weights_matrix(const struct weights *w, uint32_t piece)
{
    const struct gguf_tensor *t = gguf_piece_at(w->g, piece).tensor;
    struct turn_matrix m = {
        .type = t->type, .rows = mapping_rows(w->mapping, piece), .n_rows = t->dims[1]};
    if (!wtype_row_bytes(t->type, t->dims[0], &m.row_bytes))
        m.n_rows = 0; // no matrix
    return m;
}

// ---- the tour ----------------------------------------------------------------------------------

int weights_tour_begin(struct weights *w, int n_stops, const int *follows, struct err *e)
{
    tour_fini(&w->tour);
    int rc = tour_init(&w->tour, n_stops, follows, gguf_n_pieces(w->g), e);
    w->learning = !rc;
    return rc;
}

void weights_tour_stop(struct weights *w)
{
    tour_begin_stop(&w->tour);
}

bool weights_whole(const struct weights *w, uint32_t piece)
{
    const struct piece_part *some;
    return !w->direct || !direct_parts(w->direct, piece, &some);
}

int weights_most_parts(const struct weights *w)
{
    return w->direct ? direct_most_parts(w->direct) : 0;
}

int weights_check(struct weights *w, struct err *e)
{
    int rc = mapping_check(w->mapping, e); // of the files; what is not mapped may have changed too
    return rc || !w->sidecar ? rc : sidecar_check(w->sidecar, e);
}

void weights_visit(struct weights *w, int stop, int next, bool again)
{
    if (w->direct)
        direct_visit(w->direct, stop, next, again);
}

// A matrix whose lanes were let go of, that the limit has room for and that is turned in less time
// than the caller can wait. n_rows 0: none.
static struct turn_matrix find_absent(struct weights *w, struct piece **piece, size_t *bytes)
{
    struct turn_matrix m = {0};
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->n_needed && !m.n_rows; i++) {
        *piece = &w->pieces[w->needed[i]];
        if ((*piece)->place != PLACE_LANES || (*piece)->lanes)
            continue;
        m = weights_matrix(w, w->needed[i]);
        *bytes = arena_plan(0, lanes_rows((size_t)m.n_rows) * m.row_bytes);
        if (*bytes > BRING_BACK_MOST)
            m.n_rows = 0;
    }
    if (m.n_rows && (w->lanes_bytes > w->limit || *bytes > w->limit - w->lanes_bytes))
        m.n_rows = 0;
    pthread_mutex_unlock(&w->lock);
    return m;
}

// Turns it again.
static void bring_back(struct weights *w)
{
    struct piece *p;
    size_t bytes;
    struct arena memory;
    struct turn_matrix m = find_absent(w, &p, &bytes);
    if (!m.n_rows || arena_init(&memory, bytes))
        return;
    m.lanes = memory.base;
    turn_run(&(struct turn){.matrices = &m, .n_matrices = 1}, NULL);
    pthread_mutex_lock(&w->lock);
    p->memory = memory;
    p->lanes = m.lanes;
    w->lanes_bytes += memory.size;
    pthread_mutex_unlock(&w->lock);
}

void weights_limit(struct weights *w, uint64_t bytes)
{
    if (w->direct) {
        direct_limit(w->direct, bytes);
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->limit = bytes;
    give_back(w);
    pthread_mutex_unlock(&w->lock);
    bring_back(w);
}

struct weights_status weights_status(struct weights *w)
{
    struct weights_status s;
    if (w->direct) {
        direct_status(w->direct, &s);
        return s;
    }
    pthread_mutex_lock(&w->lock);
    s = (struct weights_status){.residency = RESIDENCY_MMAP,
                                .resident = w->lanes_bytes,
                                .wanted = w->lanes_planned,
                                .governed = w->lanes_bytes < w->lanes_planned};
    pthread_mutex_unlock(&w->lock);
    return s;
}

int64_t weights_waited_ns(struct weights *w)
{
    return w->direct ? direct_waited_ns(w->direct) : 0;
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
        struct turn_matrix m = weights_matrix(w, w->needed[i]);
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
    if (w->direct) {
        struct weights_status s;
        direct_status(w->direct, &s);
        if (!s.streamed) {
            snprintf(out, size, "all %.0f MiB of weights resident", (double)s.resident / (1 << 20));
            return;
        }
        snprintf(out, size, "%.0f MiB of weights resident, %.0f MiB streamed by %s",
                 (double)s.resident / (1 << 20), (double)s.streamed / (1 << 20), s.reader);
        return;
    }
    if (r->streamed) {
        snprintf(out, size, "%.0f MiB of weights resident, %.0f MiB read for each token",
                 (double)r->resident / (1 << 20), (double)r->streamed / (1 << 20));
        return;
    }
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
