// Operations of the engine against the clock: see survey.h.
//
// Weights are a stretch of memory larger than most caches, cut into matrices of megabytes, which a
// piece source of our own gives out as rows or as lanes; what they hold does not matter to the time
// that they take, only that it is no number that processors are slow with.
#include "measure/survey.h"

#include "base/clock.h"
#include "kernels/blocks.h"
#include "kernels/kv_chunk.h"
#include "kernels/lanes.h"
#include "measure/disk_rate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STRETCH = 64 << 20,     // of weights
    MATRIX = 6 << 20,       // bytes of one, about
    MAX_ROWS = 64,          // tokens
    MATRIX_ROWS = 8192,     // of a matrix, at most
    FEW = 16,               // rows of a matrix whose product costs nothing
    CACHE_LAYERS = 8,       // of keys and values
    CACHE_BYTES = 24 << 20, // of all these layers
    LAYERS = 8,             // of everything else
    LEAST_TRIES = 3,
    TRIES = 9, // at most, of which the median counts
    MATRICES = STRETCH / (256 << 10),
};
static const int64_t slice_ns = 25000000; // of a try, at least: several slices of a processor
static const int64_t usual_ns = 900000000, disk_ns = 200000000;
static const double long_s = 0.03; // that a run may take, where there is a choice

struct survey {
    const struct survey_ask *a;
    struct backend *b;
    struct list *l;
    uint8_t *weights;
    enum layout layout;
    size_t matrix; // bytes: what piece i begins at i of
    struct buf *x, *y, *wide[2], *q, *heads, *k, *v, *cache;
    float freqs[1024];
    int32_t pos[MAX_ROWS];
    const int32_t *tables[MAX_ROWS];
    int32_t *pages;
    int64_t try_ns; // that a try should take
};

// ---- weights -----------------------------------------------------------------------------------

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    struct survey *s = ctx;
    (void)e;
    *layout = s->layout;
    return s->weights + piece * s->matrix;
}

static void done(void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
}

static int32_t multiple(int n, int of)
{
    return (n + of - 1) / of * of;
}

// ---- tries -------------------------------------------------------------------------------------

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Seconds that the recorded list takes: the median of some tries after one that does not count.
static int time_list(struct survey *s, double *out, struct err *e)
{
    double tries[TRIES];
    int n = 0, rc = list_run(s->l, e);
    int64_t end = clock_ns() + s->try_ns;
    do {
        int runs = 0;
        int64_t began = clock_ns(), now = began;
        while (!rc && (runs == 0 || now - began < slice_ns)) {
            rc = list_run(s->l, e);
            runs++;
            now = clock_ns();
        }
        tries[n++] = (double)(now - began) / 1e9 / runs;
    } while (!rc && n < TRIES && (n < LEAST_TRIES || clock_ns() < end));
    qsort(tries, (size_t)n, sizeof *tries, compare);
    *out = tries[n / 2];
    return rc;
}

// ---- products ----------------------------------------------------------------------------------

static int at_least(int x, int least)
{
    return x > least ? x : least;
}

// Matrices for a pass of plan_widths[w] tokens: all for one token, which is limited by memory,
// fewer for more tokens, and no more than a slow machine gets through in time. *rows: of a matrix,
// fewer where one takes too long.
static int matrices_for(const struct survey *s, int w, const double *times, int *rows)
{
    int n = at_least((int)(STRETCH / s->matrix) >> 2 * w, 1);
    if (!w)
        return n;
    double slowest = times[w - 1] * plan_widths[w] / plan_widths[w - 1] * (double)s->matrix;
    double fit = long_s / slowest;
    if (fit < 1)
        *rows = at_least((int)(*rows * fit) / FEW * FEW, FEW);
    return fit < n ? at_least((int)fit, 1) : n;
}

static int survey_product(struct survey *s, struct plan_speed *speed, uint32_t type,
                          enum plan_form form, struct err *e)
{
    size_t row_bytes;
    int n_in = multiple(s->a->width, BLOCK_K);
    if (!wtype_row_bytes(type, (uint64_t)n_in, &row_bytes))
        return err_set(e, ERR_FAILED, "rows of %d weights of type %u cannot be measured", n_in,
                       (unsigned)type);
    int rows = (int)(MATRIX / row_bytes) / FEW * FEW;
    rows = rows < FEW ? FEW : rows > MATRIX_ROWS ? MATRIX_ROWS : rows;
    s->matrix = (size_t)rows * row_bytes;
    s->layout = form == PLAN_LANES ? LAYOUT_LANES : LAYOUT_ROWS;
    for (int w = 0; w < PLAN_WIDTHS; w++) {
        double *times = speed->product[form][type], t;
        int some = rows, n = matrices_for(s, w, times, &some);
        list_reset(s->l);
        for (int i = 0; i < n; i++) {
            struct weight m = {.type = type,
                               .piece = (uint32_t)i,
                               .row_bytes = row_bytes,
                               .n_in = n_in,
                               .n_out = some};
            list_wait(s->l, m.piece, 1);
            op_matmul(s->l, s->y, s->x, &m, plan_widths[w]);
            list_done(s->l, m.piece, 1);
        }
        int rc = time_list(s, &t, e);
        if (rc)
            return rc;
        times[w] = t / ((double)n * some * (double)row_bytes);
    }
    return 0;
}

// As weights/settle.c decides what is turned.
static bool has_lanes(const struct kernels *k, uint32_t type)
{
    return lanes_can(type) && k->format[type].matmul_lanes &&
           k->format[type].matmul_lanes != kernels_for(ISA_SCALAR)->format[type].matmul_lanes;
}

static int survey_products(struct survey *s, struct plan_speed *speed, struct err *e)
{
    const struct survey_ask *a = s->a;
    const struct kernels *k = backend_kernels(s->b);
    int rc = 0;
    s->try_ns = (a->budget_ns ? a->budget_ns : usual_ns) * 2 / 3 /
                (2 * PLAN_WIDTHS * (a->n_types ? a->n_types : 1));
    for (int i = 0; i < a->n_types && !rc; i++) {
        uint32_t type = a->types[i];
        if (type >= PLAN_TYPES || !kernels_can(type))
            return err_set(e, ERR_FAILED, "weights of type %u cannot be multiplied here",
                           (unsigned)type);
        rc = survey_product(s, speed, type, PLAN_ROWS, e);
        if (!rc && has_lanes(k, type))
            rc = survey_product(s, speed, type, PLAN_LANES, e);
    }
    return rc;
}

// ---- attention ---------------------------------------------------------------------------------

static struct kv_layer cache_layer(const struct survey *s, int layer)
{
    const struct survey_ask *a = s->a;
    size_t bytes = kv_layout(a->kv_type, a->head_dim).bytes * (size_t)a->n_kv_heads;
    return (struct kv_layer){.buf = s->cache,
                             .page_bytes = bytes * CACHE_LAYERS,
                             .offset = bytes * (size_t)layer,
                             .n_kv_heads = a->n_kv_heads,
                             .head_dim = a->head_dim,
                             .type = a->kv_type};
}

static int n_pages(const struct survey *s)
{
    size_t page = cache_layer(s, 0).page_bytes, n = CACHE_BYTES / page;
    return n < 2 ? 2 : (int)n;
}

static struct rows rows_at(struct survey *s, int n, int32_t pos)
{
    for (int i = 0; i < n; i++) {
        s->pos[i] = pos;
        s->tables[i] = s->pages;
    }
    return (struct rows){.n = n, .pos = s->pos, .pages = s->tables};
}

static int survey_attention(struct survey *s, struct plan_speed *speed, struct err *e)
{
    const struct survey_ask *a = s->a;
    int positions = n_pages(s) * KV_PAGE_TOKENS;
    struct rows rows = rows_at(s, 1, positions - 1);
    struct attend_how how = {.scale = 0.1f};
    double t;
    list_reset(s->l);
    for (int i = 0; i < CACHE_LAYERS; i++) {
        struct kv_layer kv = cache_layer(s, i);
        op_attend(s->l, s->heads, s->q, &kv, &rows, a->n_heads, &how);
    }
    int rc = time_list(s, &t, e);
    speed->attend = t / ((double)n_pages(s) * (double)cache_layer(s, 0).page_bytes);
    return rc;
}

// ---- all else ----------------------------------------------------------------------------------

static void few(struct survey *s, struct buf *out, struct buf *x, int n_in, int n)
{
    size_t row_bytes = 0;
    uint32_t type = s->a->n_types ? s->a->types[0] : (uint32_t)WT_F32;
    n_in = multiple(n_in, BLOCK_K);
    wtype_row_bytes(type, (uint64_t)n_in, &row_bytes);
    struct weight m = {.type = type, .row_bytes = row_bytes, .n_in = n_in, .n_out = FEW};
    list_wait(s->l, 0, 1);
    op_matmul(s->l, out, x, &m, n);
    list_done(s->l, 0, 1);
}

// A layer of `rows` tokens whose matrices have no rows to speak of, and which sees nothing.
static void record_rest(struct survey *s, const struct rows *rows, int layer)
{
    const struct survey_ask *a = s->a;
    struct list *l = s->l;
    struct kv_layer kv = cache_layer(s, layer);
    struct weight norm = {
        .type = WT_F32, .row_bytes = 4ul * (size_t)a->width, .n_in = a->width, .n_out = 1};
    struct rope rope = {.freqs = s->freqs, .scale = 1, .n_rot = a->head_dim, .layout = ROPE_HALVES};
    struct attend_how how = {.scale = 0.1f, .window = 1};
    int n = rows->n;
    list_wait(l, 0, 1);
    op_rms_norm(l, s->x, s->x, &norm, n, 1e-5f);
    list_done(l, 0, 1);
    for (int i = 0; i < 3; i++)
        few(s, s->y, s->x, a->width, n);
    op_rope(l, s->q, rows, &rope, a->n_heads, a->head_dim);
    op_rope(l, s->k, rows, &rope, a->n_kv_heads, a->head_dim);
    op_kv_store(l, &kv, s->k, s->v, rows);
    op_attend(l, s->heads, s->q, &kv, rows, a->n_heads, &how);
    few(s, s->y, s->heads, a->n_heads * a->head_dim, n);
    op_add(l, s->x, s->x, s->y, a->width, n);
    list_wait(l, 0, 1);
    op_rms_norm(l, s->x, s->x, &norm, n, 1e-5f);
    list_done(l, 0, 1);
    for (int i = 0; i < 2; i++)
        few(s, s->y, s->x, a->width, n);
    op_glu(l, s->wide[0], s->wide[0], s->wide[1], GLU_SILU, a->n_ff, n);
    few(s, s->y, s->wide[0], a->n_ff, n);
    op_add(l, s->x, s->x, s->y, a->width, n);
}

static int time_rest(struct survey *s, int tokens, double *out, struct err *e)
{
    struct rows rows = rows_at(s, tokens, 1);
    list_reset(s->l);
    for (int i = 0; i < LAYERS; i++)
        record_rest(s, &rows, i % CACHE_LAYERS);
    int rc = time_list(s, out, e);
    *out /= LAYERS;
    return rc;
}

static int survey_rest(struct survey *s, struct plan_speed *speed, struct err *e)
{
    double one, many;
    s->layout = LAYOUT_ROWS;
    int rc = time_rest(s, 1, &one, e);
    if (!rc)
        rc = time_rest(s, MAX_ROWS, &many, e);
    if (rc)
        return rc;
    speed->layer = one;
    speed->token = many > one ? (many - one) / (MAX_ROWS - 1) : 0;
    return 0;
}

// Threads that went to sleep meanwhile.
static int survey_launch(struct survey *s, struct plan_speed *speed, struct err *e)
{
    double tries[TRIES];
    list_reset(s->l);
    op_add(s->l, s->x, s->x, s->y, s->a->width, 1);
    for (int i = 0; i < TRIES; i++) {
        usleep(2000);
        int64_t began = clock_ns();
        int rc = list_run(s->l, e);
        if (rc)
            return rc;
        tries[i] = (double)(clock_ns() - began) / 1e9;
    }
    qsort(tries, TRIES, sizeof *tries, compare);
    speed->launch = tries[TRIES / 4];
    return 0;
}

// ---- making and taking down --------------------------------------------------------------------

static int new_rows(struct survey *s, struct buf **out, int width, struct err *e)
{
    size_t bytes = MAX_ROWS * sizeof(float) * (size_t)width;
    return buf_new(out, s->b, bytes, "what is measured", e);
}

static int new_buffers(struct survey *s, struct err *e)
{
    const struct survey_ask *a = s->a;
    int widest = a->width > a->n_ff ? a->width : a->n_ff;
    int n_q = a->n_heads * a->head_dim, n_kv = a->n_kv_heads * a->head_dim;
    widest = multiple(widest > n_q ? widest : n_q, BLOCK_K);
    int wider = widest > MATRIX_ROWS ? widest : MATRIX_ROWS;
    struct {
        struct buf **out;
        int width;
    } all[] = {{&s->x, widest},       {&s->y, wider}, {&s->wide[0], widest},
               {&s->wide[1], widest}, {&s->q, n_q},   {&s->heads, multiple(n_q, BLOCK_K)},
               {&s->k, n_kv},         {&s->v, n_kv}};
    int rc = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && !rc; i++)
        rc = new_rows(s, all[i].out, all[i].width, e);
    if (!rc)
        rc = buf_new(&s->cache, s->b, (size_t)n_pages(s) * cache_layer(s, 0).page_bytes,
                     "what is measured", e);
    if (rc)
        return rc;
    s->pages = calloc((size_t)n_pages(s), sizeof *s->pages);
    if (!s->pages)
        return err_set(e, ERR_NO_MEMORY, "no memory to measure this machine");
    for (int i = 0; i < n_pages(s); i++)
        s->pages[i] = i;
    struct list_limits limits = {.max_rows = MAX_ROWS,
                                 .max_ops = 4 * MATRICES,
                                 .max_pieces = 2 * MATRICES,
                                 .max_width = wider,
                                 .max_heads = a->n_heads,
                                 .max_head_dim = a->head_dim,
                                 .max_context = n_pages(s) * KV_PAGE_TOKENS};
    struct piece_source source = {.ctx = s, .acquire = acquire, .done = done};
    return list_new(&s->l, s->b, &limits, &source, e);
}

static void fill(struct buf *u)
{
    uint8_t *at = buf_host(u);
    if (at) // small numbers, whatever they are read as
        memset(at, 0x11, buf_size(u));
}

static int open_survey(struct survey *s, struct err *e)
{
    int rc = backend_open_cpu(&s->b, &s->a->backend, e);
    if (!rc)
        rc = new_buffers(s, e);
    if (rc)
        return rc;
    void *memory =
        mmap(NULL, STRETCH + MATRIX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return err_set(e, ERR_NO_MEMORY, "no memory to measure this machine");
    madvise(memory, STRETCH + MATRIX, MADV_HUGEPAGE); // a hint
    s->weights = memset(memory, 0x11, STRETCH + MATRIX);
    struct buf *all[] = {s->x, s->y, s->wide[0], s->wide[1], s->q, s->heads, s->k, s->v, s->cache};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        fill(all[i]);
    return 0;
}

static void close_survey(struct survey *s)
{
    list_free(s->l);
    struct buf *all[] = {s->x, s->y, s->wide[0], s->wide[1], s->q, s->heads, s->k, s->v, s->cache};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    if (s->weights)
        munmap(s->weights, STRETCH + MATRIX);
    free(s->pages);
    backend_free(s->b);
    free(s);
}

static int check_ask(const struct survey_ask *a, struct err *e)
{
    bool fine = a->width > 0 && a->n_ff > 0 && a->n_heads > 0 && a->n_kv_heads > 0 &&
                a->head_dim > 0 && a->head_dim <= 1024;
    return fine ? 0 : err_set(e, ERR_FAILED, "a layer without width or heads cannot be measured");
}

int survey_machine(struct plan_machine *out, const struct survey_ask *a, struct err *e)
{
    int rc = check_ask(a, e);
    struct survey *s = rc ? NULL : calloc(1, sizeof *s);
    if (!s)
        return rc ? rc : err_set(e, ERR_NO_MEMORY, "no memory to measure this machine");
    s->a = a;
    out->cpu = (struct plan_speed){0};
    out->disk_group = out->net_group = out->core_group = -1;
    rc = open_survey(s, e);
    if (!rc)
        rc = survey_products(s, &out->cpu, e);
    if (!rc)
        rc = survey_attention(s, &out->cpu, e);
    if (!rc)
        rc = survey_rest(s, &out->cpu, e);
    if (!rc)
        rc = survey_launch(s, &out->cpu, e);
    close_survey(s);
    if (!rc && a->fd >= 0) {
        struct disk_way way;
        rc = disk_rate_of_models(&way, a->fd, a->size, disk_ns, e);
        out->disk = rc || !way.measured ? 0 : way.gbps * 1e9;
    }
    return rc;
}
