// What becomes of each tensor: see quantization.h.
#include "base/arith.h"
#include "hub/mix.h"
#include "hub/quantization.h"
#include "kernels/fit.h"

#include <stdlib.h>
#include <string.h>

static bool is_float(uint32_t type)
{
    return type == WT_F32 || type == WT_F16 || type == WT_BF16;
}

// The format of a tensor that is a matrix to be quantized.
static uint32_t matrix_type(const struct quantization *how, const struct recipe_model *m,
                            const struct gguf_tensor *t)
{
    bool output = recipe_is_output(m, t), embedding = recipe_is_embedding(t);
    int type = -1;
    if (output && how->output_type >= 0)
        type = how->output_type;
    else if (embedding && how->embedding_type >= 0)
        type = how->embedding_type;
    else if (how->pure)
        type = (int)how->recipe->base;
    if (type < 0)
        return recipe_type(how->recipe, m, t);
    return mix_fallback((uint32_t)type, t->dims[0], t->type);
}

static int choose_type(struct quantize_plan *p, const struct recipe_model *m,
                       struct quantized_tensor *out, struct err *e)
{
    const struct gguf_tensor *t = out->from;
    char quoted[80];
    out->type = t->type;
    if (!kernels_can(t->type)) // integers: they are no weights
        return 0;
    if (recipe_takes(t))
        out->type = matrix_type(&p->how, m, t);
    else if (is_float(t->type))
        out->type = WT_F32;
    if (is_float(t->type) || out->type == t->type || p->how.requantize)
        return 0;
    return err_set(e, ERR_FAILED,
                   "%s: %s is in %s already, and to quantize it again costs more than the format "
                   "itself; take a source in F32, F16 or BF16, or say --requantize",
                   gguf_path(p->g),
                   err_quote(quoted, sizeof quoted, t->name.text, (int)t->name.length),
                   wtype_info(t->type)->name);
}

// Matrices of a tensor that have no importance; looks at all of it, so that what is wrong with the
// file is told before anything is written.
static int check_importance(struct quantize_plan *p, struct quantized_tensor *t, struct err *e)
{
    const struct imatrix *m = p->how.importance;
    uint64_t n = t->from->dims[2] * t->from->dims[3];
    size_t bytes;
    float *weights = size_mul(t->from->dims[0], sizeof *weights, &bytes) ? malloc(bytes) : NULL;
    int rc = weights ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the weights of columns");
    for (uint64_t i = 0; rc >= 0 && i < n; i++) {
        rc = imatrix_weights(m, t->from, i, weights, e);
        t->unweighted += rc == 1;
    }
    free(weights);
    return rc < 0 ? rc : 0;
}

static int plan_tensor(struct quantize_plan *p, const struct recipe_model *m,
                       struct quantized_tensor *out, struct err *e)
{
    const struct gguf_tensor *t = out->from;
    size_t bytes = 0, weights = 0;
    int rc = choose_type(p, m, out, e);
    if (rc)
        return rc;
    bool fits = wtype_row_bytes(out->type, t->dims[0], &bytes) &&
                size_mul(bytes, t->dims[1], &bytes) && size_mul(bytes, t->dims[2], &bytes) &&
                size_mul(bytes, t->dims[3], &bytes) && size_add(p->bytes, bytes, &p->bytes);
    if (!fits) // of a source that is narrower still: the parser checked its own sizes
        return err_set(e, ERR_FAILED, "%s: would be larger than a file can be", gguf_path(p->g));
    out->bytes = bytes;
    weights = (size_t)(t->size / wtype_info(t->type)->bytes * wtype_info(t->type)->width);
    p->from_bytes += t->size;
    p->weights += weights;
    if (out->type == t->type || !kernels_fit_can(out->type))
        return 0;
    if (p->how.importance)
        rc = check_importance(p, out, e);
    p->n_matrices += t->n_pieces;
    p->n_unweighted += out->unweighted;
    return rc;
}

int quantize_plan(struct quantize_plan *out, const struct gguf *g, const struct quantization *how,
                  struct err *e)
{
    struct recipe_model m = recipe_model_of(g);
    int rc = 0;
    m.importance = how->importance != NULL;
    *out = (struct quantize_plan){.g = g, .how = *how, .n_tensors = gguf_n_tensors(g)};
    out->tensors = calloc(out->n_tensors + 1, sizeof *out->tensors);
    if (!out->tensors)
        return err_set(e, ERR_NO_MEMORY, "no memory for a list of %zu tensors", out->n_tensors);
    for (size_t i = 0; !rc && i < out->n_tensors; i++) {
        out->tensors[i].from = gguf_tensor_at(g, i);
        rc = plan_tensor(out, &m, &out->tensors[i], e);
    }
    if (!rc && out->bytes > INT64_MAX)
        rc = err_set(e, ERR_FAILED, "%s: would be larger than a file can be", gguf_path(g));
    if (!rc && !out->n_tensors)
        rc = err_set(e, ERR_FAILED, "%s: has no weights to quantize", gguf_path(g));
    if (rc)
        quantize_plan_free(out);
    return rc;
}

void quantize_plan_free(struct quantize_plan *p)
{
    free(p->tensors);
    p->tensors = NULL;
}
