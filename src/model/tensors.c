// Tensors by name: see tensors.h.
#include "model/tensors.h"

#include "base/check.h"
#include "kernels/lanes.h"

#include <stdio.h>

enum { NAME_SIZE = 64 };

static void full_name(const struct tensors *t, char full[NAME_SIZE], const char *name)
{
    if (t->layer >= 0)
        snprintf(full, NAME_SIZE, "blk.%d.%s", t->layer, name);
    else
        snprintf(full, NAME_SIZE, "%s", name);
}

static const struct gguf_tensor *find(struct tensors *t, const char *name, enum presence presence)
{
    char full[NAME_SIZE];
    if (t->rc)
        return NULL;
    full_name(t, full, name);
    const struct gguf_tensor *x = gguf_find_tensor(t->g, full);
    if (!x && presence == TENSOR_REQUIRED)
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: the tensor %s is missing; the file is incomplete or no %s model",
                        t->path, full, t->h->arch);
    return x;
}

static void note(struct tensors *t, uint32_t first, int n, bool on_demand)
{
    struct layer *y = t->into;
    if (!y)
        return;
    CHECK(y->n_pieces < LAYER_MAX_TENSORS);
    int i = y->n_pieces++;
    for (; i && y->pieces[i - 1].first > first; i--) // ascending
        y->pieces[i] = y->pieces[i - 1];
    y->pieces[i] = (struct layer_pieces){.first = first, .n = n, .on_demand = on_demand};
}

// Checks the shape (n matrices of n_out rows of n_in; n_out 1: a vector) and fills `out`.
static void describe(struct tensors *t, struct weight *out, const struct gguf_tensor *x, int n_in,
                     int n_out, int n)
{
    const uint64_t *d = x->dims;
    size_t row_bytes;
    if (d[0] != (uint64_t)n_in || d[1] != (uint64_t)n_out || d[2] != (uint64_t)n || d[3] != 1) {
        char wanted[48];
        snprintf(wanted, sizeof wanted, n > 1 ? "%d x %d x %d" : "%d x %d", n_in, n_out, n);
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: the tensor %s has the shape %llu x %llu x %llu x %llu where %s is "
                        "needed; the file is damaged",
                        t->path, x->name.text, (unsigned long long)d[0], (unsigned long long)d[1],
                        (unsigned long long)d[2], (unsigned long long)d[3], wanted);
        return;
    }
    bool whole = wtype_row_bytes(x->type, (uint64_t)n_in, &row_bytes);
    CHECK(whole && x->size / row_bytes == (uint64_t)n_out * (uint64_t)n); // gguf/ checked it
    *out = (struct weight){
        .type = x->type,
        .piece = gguf_tensor_piece(t->g, x),
        .row_bytes = row_bytes,
        .n_in = n_in,
        .n_out = n_out,
    };
}

static bool can_multiply(struct tensors *t, const struct gguf_tensor *x)
{
    if (!kernels_can(x->type))
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: the tensor %s is of type %s, which cannot be multiplied yet; use a "
                        "file in Q4_K_M, Q8_0 or another supported type",
                        t->path, x->name.text, wtype_info(x->type)->name);
    return !t->rc;
}

void tensors_matrix(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out)
{
    const struct gguf_tensor *x = find(t, name, TENSOR_REQUIRED);
    if (!x || !can_multiply(t, x))
        return;
    describe(t, out, x, n_in, n_out, 1);
    if (!t->rc)
        note(t, out->piece, 1, false);
}

void tensors_stack(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out,
                   int n)
{
    const struct gguf_tensor *x = find(t, name, TENSOR_REQUIRED);
    if (!x || !can_multiply(t, x))
        return;
    describe(t, out, x, n_in, n_out, n);
    if (!t->rc)
        note(t, out->piece, n, true);
}

static void floats(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out,
                   enum presence presence)
{
    const struct gguf_tensor *x = find(t, name, presence);
    if (!x)
        return;
    if (x->type != WT_F32)
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: the tensor %s is of type %s where F32 is needed; convert the model "
                        "again",
                        t->path, x->name.text, wtype_info(x->type)->name);
    else if (x->offset % sizeof(float))
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: the tensor %s does not lie at a multiple of 4 bytes; the file is "
                        "damaged",
                        t->path, x->name.text);
    else
        describe(t, out, x, n_in, n_out, 1);
    if (!t->rc)
        note(t, out->piece, 1, false);
}

void tensors_vector(struct tensors *t, struct weight *out, const char *name, int n,
                    enum presence presence)
{
    floats(t, out, name, n, 1, presence);
}

void tensors_table(struct tensors *t, struct weight *out, const char *name, int n_in, int n_out,
                   enum presence presence)
{
    floats(t, out, name, n_in, n_out, presence);
}

struct weight tensors_rows(struct tensors *t, const struct weight *whole, int first, int n)
{
    struct weight part = *whole;
    if (!t->rc && first % LANE_ROWS)
        t->rc = err_set(t->e, ERR_FAILED,
                        "%s: a matrix of layer %d would have to be cut at row %d, which is no "
                        "multiple of %d; use a file with separate matrices",
                        t->path, t->layer, first, LANE_ROWS);
    part.offset += (uint64_t)first * whole->row_bytes;
    part.n_out = n;
    return part;
}
