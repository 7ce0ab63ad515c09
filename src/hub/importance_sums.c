// Collecting importance: sums of squares in double precision for each column of each matrix, by the
// piece that the matrix lies in, and the file of them.
#include "base/arith.h"
#include "base/check.h"
#include "gguf/writer.h"
#include "hub/importance.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct imatrix_sums {
    const struct gguf *g;
    double *sums;     // of all matrices, one after the other
    uint64_t *counts; // (n_pieces) inputs
    uint64_t *at;     // (n_pieces) where a piece's sums begin; NO_MATRIX: it is no matrix
};

#define NO_MATRIX UINT64_MAX

static bool is_matrix(const struct gguf_tensor *t)
{
    return t->dims[1] > 1 && kernels_can(t->type) &&
           t->name.length + sizeof ".in_sum2" <= GGUF_MAX_NAME_BYTES;
}

int imatrix_sums_new(struct imatrix_sums **out, const struct gguf *g, struct err *e)
{
    size_t n = gguf_n_pieces(g), total = 0;
    struct imatrix_sums *s = calloc(1, sizeof *s);
    bool fits = s != NULL;
    if (s) {
        s->g = g;
        s->counts = calloc(n + 1, sizeof *s->counts);
        s->at = calloc(n + 1, sizeof *s->at);
        fits = s->counts && s->at;
    }
    for (uint32_t i = 0; fits && i < n; i++) {
        const struct gguf_tensor *t = gguf_piece_at(g, i).tensor;
        s->at[i] = is_matrix(t) ? total : NO_MATRIX;
        if (is_matrix(t))
            fits = size_add(total, t->dims[0], &total);
    }
    size_t bytes;
    fits = fits && size_mul(total + 1, sizeof *s->sums, &bytes) && (s->sums = calloc(1, bytes));
    if (!fits) {
        imatrix_sums_free(s);
        return err_set(e, ERR_NO_MEMORY, "no memory for the sums of an importance matrix");
    }
    *out = s;
    return 0;
}

void imatrix_sums_free(struct imatrix_sums *s)
{
    if (!s)
        return;
    free(s->sums);
    free(s->counts);
    free(s->at);
    free(s);
}

void imatrix_sums_add(struct imatrix_sums *s, uint32_t piece, const float *x)
{
    if (s->at[piece] == NO_MATRIX)
        return;
    uint64_t n = gguf_piece_at(s->g, piece).tensor->dims[0];
    double *sums = s->sums + s->at[piece];
    for (uint64_t i = 0; i < n; i++)
        sums[i] += (double)x[i] * (double)x[i];
    s->counts[piece]++;
}

void imatrix_sums_count(const struct imatrix_sums *s, size_t *reached, size_t *all)
{
    *reached = *all = 0;
    for (uint32_t i = 0; i < gguf_n_pieces(s->g); i++) {
        *all += s->at[i] != NO_MATRIX;
        *reached += s->counts[i] > 0;
    }
}

// Whether some input reached one of a tensor's matrices.
static bool tensor_reached(const struct imatrix_sums *s, const struct gguf_tensor *t)
{
    bool reached = false;
    for (uint32_t i = 0; i < t->n_pieces; i++)
        reached |= s->counts[t->first_piece + i] > 0;
    return reached;
}

static void declare(const struct imatrix_sums *s, struct gguf_writer *w)
{
    char name[GGUF_MAX_NAME_BYTES + 16];
    for (size_t i = 0; i < gguf_n_tensors(s->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->g, i);
        if (!tensor_reached(s, t))
            continue;
        uint64_t sums[] = {t->dims[0], t->n_pieces}, counts[] = {1, t->n_pieces};
        snprintf(name, sizeof name, "%s.in_sum2", t->name.text);
        gguf_declare(w, name, WT_F32, 2, sums);
        snprintf(name, sizeof name, "%s.counts", t->name.text);
        gguf_declare(w, name, WT_F32, 2, counts);
    }
}

static void write_sums(const struct imatrix_sums *s, const struct gguf_tensor *t,
                       struct gguf_writer *w)
{
    for (uint32_t p = t->first_piece; p < t->first_piece + t->n_pieces; p++)
        for (uint64_t i = 0; i < t->dims[0]; i++) {
            float sum = (float)s->sums[s->at[p] + i];
            gguf_write(w, &sum, sizeof sum);
        }
    for (uint32_t p = t->first_piece; p < t->first_piece + t->n_pieces; p++) {
        float count = (float)s->counts[p];
        gguf_write(w, &count, sizeof count);
    }
}

int imatrix_sums_write(const struct imatrix_sums *s, const char *path, const char *dataset,
                       uint64_t n_chunks, uint64_t chunk_size, struct err *e)
{
    struct gguf_string set = {dataset, strlen(dataset)};
    struct gguf_writer *w;
    int rc = gguf_writer_open(&w, path, e);
    if (rc)
        return rc;
    CHECK(n_chunks <= UINT32_MAX && chunk_size <= UINT32_MAX);
    gguf_put_string(w, "general.type", "imatrix", strlen("imatrix"));
    gguf_put_strings(w, "imatrix.datasets", &set, 1);
    gguf_put_u32(w, "imatrix.chunk_count", (uint32_t)n_chunks);
    gguf_put_u32(w, "imatrix.chunk_size", (uint32_t)chunk_size);
    declare(s, w);
    for (size_t i = 0; i < gguf_n_tensors(s->g); i++)
        if (tensor_reached(s, gguf_tensor_at(s->g, i)))
            write_sums(s, gguf_tensor_at(s->g, i), w);
    rc = gguf_writer_finish(w, e);
    gguf_writer_free(w);
    return rc;
}
