// Quantizing a model: see quantization.h. A stretch of a tensor is encoded by all threads, which
// claim segments of it: each reads its segment of the source, makes floats of it, checks them and
// encodes them into its place in the stretch. Then the stretch is written.
#include "hub/quantization.h"

#include "base/arith.h"
#include "base/check.h"
#include "base/pool.h"
#include "disk/io.h"
#include "gguf/writer.h"
#include "kernels/fit.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT = 1 << 14 }; // weights

_Static_assert(SEGMENT % BLOCK_K == 0, "segments are whole blocks of every format");

struct scratch { // of one thread
    uint8_t raw[SEGMENT * sizeof(float)];
    float x[SEGMENT], weights[SEGMENT];
};

enum trouble { TROUBLE_NONE, TROUBLE_READ, TROUBLE_NOT_FINITE, TROUBLE_TOO_LARGE };

struct job {
    const struct quantize_plan *plan;
    struct gguf_writer *writer;
    struct pool *pool;
    enum isa isa;
    struct scratch *scratch; // (n_threads)
    uint8_t *stretch;        // as it is written

    const struct quantized_tensor *tensor;
    float *columns; // (n_matrices, n_in) what each column counts; NULL: all alike
    uint64_t lo, n; // the stretch: weights of the tensor

    atomic_size_t next; // segment
    pthread_mutex_t lock;
    enum trouble trouble; // of the weight `where`, the first one; under lock, as the next two
    uint64_t where;
    int error; // errno

    uint64_t done;
    bool (*told)(void *arg, uint64_t done);
    void *arg;
};

// ---- a segment ---------------------------------------------------------------------------------

static void note_trouble(struct job *j, enum trouble trouble, uint64_t where)
{
    int error = errno;
    pthread_mutex_lock(&j->lock);
    if (!j->trouble || where < j->where) {
        j->trouble = trouble;
        j->where = where;
        j->error = error;
    }
    pthread_mutex_unlock(&j->lock);
}

static bool check_values(struct job *j, const float *x, size_t n, uint64_t at)
{
    uint32_t type = j->tensor->type;
    float most = type == WT_F32 || type == WT_BF16 ? INFINITY : FIT_MAX;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= most) || isinf(x[i])) {
            note_trouble(j, isfinite(x[i]) ? TROUBLE_TOO_LARGE : TROUBLE_NOT_FINITE, at + i);
            return false;
        }
    return true;
}

// What weights [at, at + n) of the tensor count.
static void spread_columns(const struct job *j, float *out, uint64_t at, size_t n)
{
    const uint64_t *dims = j->tensor->from->dims;
    while (n) {
        uint64_t column = at % dims[0], matrix = at / dims[0] / dims[1];
        size_t now = dims[0] - column < n ? (size_t)(dims[0] - column) : n;
        memcpy(out, j->columns + matrix * dims[0] + column, now * sizeof *out);
        out += now;
        at += now;
        n -= now;
    }
}

// Weights [lo, lo + n) of the stretch.
static void run_segment(struct job *j, struct scratch *s, uint64_t lo, size_t n)
{
    const struct gguf_tensor *t = j->tensor->from;
    const struct wtype_info *from = wtype_info(t->type), *to = wtype_info(j->tensor->type);
    uint64_t at = j->lo + lo, offset = t->offset + at / from->width * from->bytes;
    uint8_t *out = j->stretch + lo / to->width * to->bytes;
    bool same = j->tensor->type == t->type;
    if (disk_read_full(gguf_part_fd(j->plan->g, t->part), same ? out : s->raw,
                       n / from->width * from->bytes, (int64_t)offset)) {
        note_trouble(j, TROUBLE_READ, at);
        return;
    }
    if (same)
        return;
    kernels_for(j->isa)->format[t->type].decode(s->x, s->raw, n);
    if (!check_values(j, s->x, n, at))
        return;
    if (j->columns)
        spread_columns(j, s->weights, at, n);
    CHECK(kernels_fit(j->isa, j->tensor->type, out, s->x, j->columns ? s->weights : NULL, n));
}

static void run_segments(void *arg, int thread)
{
    struct job *j = arg;
    for (;;) {
        uint64_t lo = (uint64_t)atomic_fetch_add(&j->next, 1) * SEGMENT;
        if (lo >= j->n)
            return;
        run_segment(j, &j->scratch[thread], lo,
                    j->n - lo < SEGMENT ? (size_t)(j->n - lo) : SEGMENT);
    }
}

// ---- a tensor ----------------------------------------------------------------------------------

static int tell_trouble(const struct job *j, struct err *e)
{
    const struct gguf_tensor *t = j->tensor->from;
    const char *path = gguf_part_path(j->plan->g, t->part);
    char name[80];
    unsigned long long row = j->where / t->dims[0], column = j->where % t->dims[0];
    err_quote(name, sizeof name, t->name.text, (int)t->name.length);
    switch (j->trouble) {
    case TROUBLE_READ:
        errno = j->error;
        return j->error ? err_errno(e, ERR_FAILED, "%s: %s cannot be read", path, name)
                        : err_set(e, ERR_FAILED, "%s: ended while %s was read; was it changed?",
                                  path, name);
    case TROUBLE_NOT_FINITE:
        return err_set(
            e, ERR_FAILED,
            "%s: %s holds no number in row %llu, column %llu (an infinity or a NaN); the "
            "model is damaged and cannot be quantized",
            path, name, row, column);
    default:
        return err_set(
            e, ERR_FAILED,
            "%s: %s holds a weight beyond %.0f in row %llu, column %llu, which %s cannot "
            "hold; BF16 can",
            path, name, (double)FIT_MAX, row, column, wtype_info(j->tensor->type)->name);
    }
}

static int run_stretch(struct job *j, struct err *e)
{
    const struct wtype_info *from = wtype_info(j->tensor->from->type);
    const struct wtype_info *to = wtype_info(j->tensor->type);
    atomic_store(&j->next, 0);
    j->trouble = TROUBLE_NONE;
    pool_run(j->pool, run_segments, j);
    if (j->trouble)
        return tell_trouble(j, e);
    gguf_write(j->writer, j->stretch, (size_t)(j->n / to->width * to->bytes));
    j->done += j->n / from->width * from->bytes;
    if (j->told && !j->told(j->arg, j->done))
        return err_set(e, ERR_FAILED, "interrupted; nothing is left of the file");
    return gguf_writer_failed(j->writer, e);
}

// j->columns of the tensor, or NULL where they are not known or not wanted.
static int read_columns(struct job *j, struct err *e)
{
    const struct imatrix *m = j->plan->how.importance;
    const struct gguf_tensor *t = j->tensor->from;
    size_t floats;
    j->columns = NULL;
    if (!m || t->type == j->tensor->type || !kernels_fit_can(j->tensor->type) ||
        j->tensor->unweighted == t->n_pieces)
        return 0;
    float *columns = NULL;
    if (size_mul(t->dims[0], t->n_pieces, &floats) && floats <= SIZE_MAX / sizeof *columns)
        columns = malloc(floats * sizeof *columns);
    if (!columns)
        return err_set(e, ERR_NO_MEMORY, "no memory for what the columns of %s count",
                       t->name.text);
    for (uint32_t i = 0; i < t->n_pieces; i++) {
        float *row = columns + i * t->dims[0];
        int rc = imatrix_weights(m, t, i, row, e);
        if (rc < 0) {
            free(columns);
            return rc;
        }
        for (uint64_t k = 0; rc && k < t->dims[0]; k++)
            row[k] = 1;
    }
    j->columns = columns;
    return 0;
}

static int run_tensor(struct job *j, const struct quantized_tensor *t, struct err *e)
{
    const struct wtype_info *from = wtype_info(t->from->type);
    uint64_t n = t->from->size / from->bytes * from->width;
    j->tensor = t;
    int rc = read_columns(j, e);
    for (j->lo = 0; !rc && j->lo < n; j->lo += QUANTIZE_STRETCH_WEIGHTS) {
        j->n = n - j->lo < QUANTIZE_STRETCH_WEIGHTS ? n - j->lo : QUANTIZE_STRETCH_WEIGHTS;
        rc = run_stretch(j, e);
    }
    free(j->columns);
    return rc;
}

// ---- the file ----------------------------------------------------------------------------------

static bool begins(const struct gguf_string *s, const char *with)
{
    return s->length >= strlen(with) && !memcmp(s->text, with, strlen(with));
}

// Keys that say what is no longer so, or are written anew.
static bool is_stale(const struct gguf_key *k)
{
    static const char *const stale[] = {"general.file_type", "general.quantization_version",
                                        "general.alignment", "split.", "quantize.imatrix."};
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++)
        if (begins(&k->name, stale[i]))
            return true;
    return false;
}

static void put_keys(struct gguf_writer *w, const struct quantize_plan *p)
{
    for (size_t i = 0; i < gguf_n_keys(p->g); i++)
        if (!is_stale(gguf_key_at(p->g, i)))
            gguf_put_key(w, gguf_key_at(p->g, i));
    gguf_put_u32(w, "general.quantization_version", 2);
    gguf_put_u32(w, "general.file_type", p->how.recipe->file_type);
    const struct imatrix *m = p->how.importance;
    if (!m)
        return;
    struct gguf_string set = imatrix_dataset(m);
    const char *name = p->how.importance_name;
    gguf_put_string(w, "quantize.imatrix.file", name, strlen(name));
    if (set.length)
        gguf_put_string(w, "quantize.imatrix.dataset", set.text, set.length);
    gguf_put_u32(w, "quantize.imatrix.entries_count", (uint32_t)imatrix_n_entries(m));
    if (imatrix_n_chunks(m) && imatrix_n_chunks(m) <= UINT32_MAX)
        gguf_put_u32(w, "quantize.imatrix.chunks_count", (uint32_t)imatrix_n_chunks(m));
}

static int open_job(struct job *j, struct err *e)
{
    int n = j->plan->how.n_threads ? j->plan->how.n_threads : pool_default_threads();
    j->isa = isa_detect();
    j->pool = pool_new(n);
    j->scratch = malloc((size_t)n * sizeof *j->scratch);
    j->stretch = malloc((size_t)QUANTIZE_STRETCH_WEIGHTS * sizeof(float));
    if (!j->pool || !j->scratch || !j->stretch)
        return err_set(e, ERR_NO_MEMORY, "no memory for %d threads; use fewer with --threads", n);
    return 0;
}

int quantize_write(const struct quantize_plan *p, const char *path,
                   bool (*told)(void *arg, uint64_t done), void *arg, struct err *e)
{
    struct job j = {.plan = p, .told = told, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
    int rc = open_job(&j, e);
    if (!rc)
        rc = gguf_writer_open(&j.writer, path, e);
    if (!rc)
        put_keys(j.writer, p);
    for (size_t i = 0; !rc && i < p->n_tensors; i++) {
        const struct gguf_tensor *t = p->tensors[i].from;
        gguf_declare(j.writer, t->name.text, p->tensors[i].type, t->n_dims, t->dims);
    }
    for (size_t i = 0; !rc && i < p->n_tensors; i++)
        rc = run_tensor(&j, &p->tensors[i], e);
    if (!rc)
        rc = gguf_writer_finish(j.writer, e);
    gguf_writer_free(j.writer);
    pool_free(j.pool);
    free(j.scratch);
    free(j.stretch);
    return rc;
}
