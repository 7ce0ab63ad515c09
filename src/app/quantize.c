// rondo quantize: a copy of a model with its matrices in a narrower format.
#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/model_path.h"
#include "app/output.h"
#include "app/place.h"
#include "app/progress.h"
#include "app/sheet.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "hub/quantization.h"
#include "kernels/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct quantizing {
    const char *path; // of the new file
    struct gguf *g;
    struct imatrix *importance;
    struct quantize_plan plan;
    struct progress line;
    int64_t ns;
};

static int choose_recipe(struct quantization *how, const char *name, struct err *e)
{
    char quoted[32];
    how->recipe = recipe_find(name);
    if (how->recipe)
        return 0;
    return err_set(e, ERR_USAGE, "'%s' is no type that Rondo quantizes to; there are " RECIPE_NAMES,
                   err_quote(quoted, sizeof quoted, name, (int)strnlen(name, 64)));
}

// A format for one matrix; -1 where none was said.
static int choose_format(const struct options *o, enum option_id id, int *out, struct err *e)
{
    const char *name = options_text(o, id);
    char quoted[32];
    *out = -1;
    if (!name)
        return 0;
    int type = wtype_from_name(name);
    if (type < 0 || !kernels_encode((uint32_t)type, NULL, NULL, 0))
        return err_set(
            e, ERR_USAGE, "--%s cannot be '%s'; it is a weight format, as Q6_K, Q8_0 or F16",
            option_table[id].name, err_quote(quoted, sizeof quoted, name, (int)strnlen(name, 64)));
    *out = type;
    return 0;
}

static int read_options(struct quantizing *q, struct quantization *how, const struct options *o,
                        struct err *e)
{
    *how = (struct quantization){
        .pure = options_flag(o, OPT_PURE),
        .requantize = options_flag(o, OPT_REQUANTIZE),
        .n_threads = (int)options_int(o, OPT_THREADS),
    };
    int rc = choose_recipe(how, options_arg(o, 2), e);
    if (!rc)
        rc = choose_format(o, OPT_OUTPUT_TYPE, &how->output_type, e);
    if (!rc)
        rc = choose_format(o, OPT_EMBEDDING_TYPE, &how->embedding_type, e);
    const char *importance = options_text(o, OPT_IMATRIX);
    if (!rc && importance) {
        const char *slash = strrchr(importance, '/');
        how->importance_name = slash ? slash + 1 : importance;
        rc = imatrix_open(&q->importance, importance, e);
        how->importance = q->importance;
    }
    return rc;
}

static bool told(void *arg, uint64_t done)
{
    struct quantizing *q = arg;
    progress_set(&q->line, (size_t)(done >> 20), (size_t)(q->plan.from_bytes >> 20));
    return !interrupt_seen();
}

static void warn_unweighted(const struct quantize_plan *p)
{
    if (p->n_unweighted && p->n_unweighted == p->n_matrices)
        log_warn("the importance matrix has nothing of this model's matrices; it is of another "
                 "model, and of no use");
    else if (p->n_unweighted)
        log_warn("the importance matrix has nothing of %zu of %zu matrices: their columns count "
                 "alike (-v names them)",
                 p->n_unweighted, p->n_matrices);
}

// ---- what was done -----------------------------------------------------------------------------

static void shape_of(const struct gguf_tensor *t, char *out, size_t size)
{
    int n = snprintf(out, size, "%llu", (unsigned long long)t->dims[0]);
    for (int i = 1; i < t->n_dims; i++)
        n += snprintf(out + n, size - (size_t)n, " x %llu", (unsigned long long)t->dims[i]);
}

static void print_tensors(const struct quantize_plan *p)
{
    static const char *const titles[] = {"tensor", "shape", "from", "to", "size", ""};
    static const bool right[] = {false, false, false, false, true, false};
    struct sheet s;
    sheet_init(&s, titles, right, 6);
    for (size_t i = 0; i < p->n_tensors; i++) {
        const struct quantized_tensor *t = &p->tensors[i];
        char name[SHEET_CELL_BYTES], shape[96], size[AMOUNT_BYTES];
        shape_of(t->from, shape, sizeof shape);
        amount_size(size, t->bytes);
        sheet_add(&s, "%s",
                  err_quote(name, sizeof name, t->from->name.text, (int)t->from->name.length));
        sheet_add(&s, "%s", shape);
        sheet_add(&s, "%s", wtype_info(t->from->type)->name);
        sheet_add(&s, "%s", t->type == t->from->type ? "as it is" : wtype_info(t->type)->name);
        sheet_add(&s, "%s", size);
        if (t->unweighted)
            sheet_add(&s, "%u of %u without importance", t->unweighted, t->from->n_pieces);
        else
            sheet_add(&s, "%s", "");
    }
    sheet_print_columns(&s);
    sheet_fini(&s);
}

static double bits_each(const struct quantize_plan *p)
{
    return p->weights ? 8.0 * (double)p->bytes / (double)p->weights : 0;
}

static json_t *tensors_json(const struct quantize_plan *p)
{
    json_t *all = json_array();
    for (size_t i = 0; i < p->n_tensors; i++) {
        const struct quantized_tensor *t = &p->tensors[i];
        char name[GGUF_MAX_NAME_BYTES + 1];
        err_quote(name, sizeof name, t->from->name.text, (int)t->from->name.length);
        json_array_append_new(
            all, json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", name, "from",
                           wtype_info(t->from->type)->name, "type", wtype_info(t->type)->name,
                           "bytes", (json_int_t)t->bytes, "unweighted", (json_int_t)t->unweighted));
    }
    return all;
}

static int print_json(const struct quantizing *q, struct err *e)
{
    const struct quantize_plan *p = &q->plan;
    char path[256];
    err_quote(path, sizeof path, q->path, (int)strlen(q->path));
    return output_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:o}", "file", path,
                                 "type", p->how.recipe->name, "bytes", (json_int_t)p->bytes,
                                 "from_bytes", (json_int_t)p->from_bytes, "weights",
                                 (json_int_t)p->weights, "bits_per_weight", bits_each(p), "seconds",
                                 (double)q->ns * 1e-9, "matrices", (json_int_t)p->n_matrices,
                                 "unweighted", (json_int_t)p->n_unweighted, "tensors",
                                 tensors_json(p)),
                       e);
}

static int print_result(const struct quantizing *q, const struct options *o, struct err *e)
{
    const struct quantize_plan *p = &q->plan;
    char weights[AMOUNT_BYTES], from[AMOUNT_BYTES], to[AMOUNT_BYTES];
    double seconds = (double)q->ns * 1e-9;
    if (options_flag(o, OPT_JSON))
        return print_json(q, e);
    if (options_flag(o, OPT_TENSORS))
        print_tensors(p);
    amount_count(weights, p->weights);
    amount_size(from, p->from_bytes);
    amount_size(to, p->bytes);
    printf("%s: %s weights in %s, %s, %.2f bits each (before: %s), written in %.1f s", q->path,
           weights, to, p->how.recipe->name, bits_each(p), from, seconds);
    if (seconds > 0.1)
        printf(" (%.0f MB/s)", (double)p->from_bytes / seconds * 1e-6);
    putchar('\n');
    return 0;
}

// ---- the verb ----------------------------------------------------------------------------------

static int write_file(struct quantizing *q, struct err *e)
{
    int rc = place_check(q->path, q->plan.bytes, "take a smaller type", e);
    if (rc)
        return rc;
    warn_unweighted(&q->plan);
    interrupt_catch();
    int64_t start = clock_ns();
    progress_start(&q->line, "quantizing", "MiB");
    rc = quantize_write(&q->plan, q->path, told, q, e);
    progress_end(&q->line);
    q->ns = clock_ns() - start;
    return rc && interrupt_seen() ? INTERRUPT_EXIT_CODE : rc;
}

static int run(const struct options *o, struct err *e)
{
    char path[MODEL_PATH_BYTES];
    struct quantizing q = {.path = options_arg(o, 1)};
    struct quantization how;
    int rc = read_options(&q, &how, o, e);
    if (!rc)
        rc = model_path_find(options_arg(o, 0), path, sizeof path, e);
    if (!rc)
        rc = gguf_open(&q.g, path, e);
    if (!rc)
        rc = quantize_plan(&q.plan, q.g, &how, e);
    if (!rc)
        rc = write_file(&q, e);
    if (!rc)
        rc = print_result(&q, o, e);
    quantize_plan_free(&q.plan);
    imatrix_free(q.importance);
    gguf_free(q.g);
    return rc;
}

const struct verb verb_quantize = {
    .name = "quantize",
    .summary = "make a smaller copy of a model",
    .usage = "MODEL FILE TYPE",
    .text = "Writes MODEL, whose weights are in F32, F16 or BF16, to FILE with its matrices in a "
            "narrower format. A model split into several files becomes one.\n\n"
            "TYPE, and about how many bits each weight takes:\n"
            "Q8_0 (8.5): as good as the original.\n"
            "Q6_K (6.6): hardly to be told from it.\n"
            "Q5_K_M (5.7), Q4_K_M (4.9): what most people use.\n"
            "Q4_0 (4.6): simple and fast.\n"
            "IQ4_XS (4.3): nearly as good as Q4_K_M, a little slower.\n"
            "Q3_K_M (3.9), Q2_K (3.1): where memory is short; quality suffers.\n"
            "F16, BF16 (16): only converted.\n\n"
            "Matrices that matter more, as the output matrix, get more bits; norms and biases stay "
            "F32. With --imatrix the weights that are used most are kept best: make one with rondo "
            "imatrix. It helps most below five bits.\n\nThe file has its name when it is complete; "
            "Ctrl-C leaves nothing (exit code 130). Memory is bounded, however large the model is.",
    .options = (const struct verb_option[]){{OPT_IMATRIX, NULL},
                                            {OPT_OUTPUT_TYPE, NULL},
                                            {OPT_EMBEDDING_TYPE, NULL},
                                            {OPT_PURE, NULL},
                                            {OPT_REQUANTIZE, NULL},
                                            {OPT_THREADS, "0"},
                                            {OPT_TENSORS, NULL},
                                            {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .min_args = 3,
    .max_args = 3,
    .run = run,
};
