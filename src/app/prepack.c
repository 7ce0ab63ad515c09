// rondo prepack: writes the lane form of a model's matrices beside it.
#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/model_path.h"
#include "app/options.h"
#include "app/place.h"
#include "app/progress.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "model/shard.h"
#include "weights/sidecar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct prepacking {
    const char *path;
    struct gguf *g;
    struct model *model;
    struct weights *weights;
    struct backend *backend;
    struct progress line;
    bool drawing;
    size_t n_matrices;
    uint64_t bytes;
};

static int begin(void *arg, size_t n_matrices, uint64_t bytes, struct err *e)
{
    struct prepacking *p = arg;
    p->n_matrices = n_matrices;
    p->bytes = bytes;
    if (!bytes)
        return err_set(e, ERR_FAILED, "%s: would be larger than a file can be", p->path);
    int rc = place_check(p->path, bytes, "write fewer layers with --window", e);
    if (rc)
        return rc;
    progress_start(&p->line, "turning matrices", "MiB");
    p->drawing = true;
    return 0;
}

static bool told(void *arg, uint64_t done)
{
    struct prepacking *p = arg;
    progress_set(&p->line, (size_t)(done >> 20), (size_t)(p->bytes >> 20));
    return !interrupt_seen();
}

// "8-15": layers 8 to 15, the last of the model's among them or not.
static int read_window(const char *text, int n_layers, struct window *out, struct err *e)
{
    char *end;
    *out = (struct window){0, n_layers};
    if (!text)
        return 0;
    long lo = strtol(text, &end, 10), hi = lo;
    if (end != text && *end == '-')
        hi = strtol(end + 1, &end, 10);
    if (end == text || *end || lo < 0 || hi < lo || hi >= n_layers)
        return err_set(e, ERR_USAGE,
                       "--window wants the first and the last layer, as in 8-15; this model has "
                       "layers 0 to %d; '%s' is something else",
                       n_layers - 1, text);
    *out = (struct window){(int)lo, (int)hi + 1};
    return 0;
}

// A sidecar of this model that is there already: intact, or to be removed by whoever wants another.
static int check_present(struct prepacking *p, bool *there, struct err *e)
{
    struct err why = {0};
    *there = access(p->path, F_OK) == 0;
    struct sidecar *s = *there ? sidecar_open(p->g, &why) : NULL;
    if (*there && !s)
        return err_set(e, ERR_FAILED, "%s", why.code ? why.text : "no memory for the sidecar");
    int rc = s ? sidecar_verify(s, e) : 0;
    sidecar_close(s);
    return rc;
}

static int open_all(struct prepacking *p, const struct options *o, const char *path, struct err *e)
{
    struct weights_options form = {.form = WEIGHTS_ROWS};
    struct backend_options device = {.n_threads = (int)options_int(o, OPT_THREADS),
                                     .isa = ISA_COUNT};
    int rc = gguf_open(&p->g, path, e);
    if (!rc)
        rc = model_open(&p->model, p->g, e);
    if (!rc)
        rc = weights_open(&p->weights, p->g, &form, e);
    if (!rc)
        rc = backend_open_cpu(&p->backend, &device, e);
    return rc;
}

static void close_all(struct prepacking *p)
{
    backend_free(p->backend);
    weights_free(p->weights);
    model_free(p->model);
    gguf_free(p->g);
}

static void print_result(const struct prepacking *p, int64_t ns)
{
    char size[AMOUNT_BYTES];
    double seconds = (double)ns * 1e-9;
    amount_size(size, p->bytes);
    printf("%s: %zu matrices in lane form, %s, written in %.1f s", p->path, p->n_matrices, size,
           seconds);
    if (seconds > 0.1)
        printf(" (%.2f GB/s)", (double)p->bytes / seconds * 1e-9);
    putchar('\n');
}

static int write_sidecar(struct prepacking *p, const struct options *o, struct err *e)
{
    const struct hparams *h = model_hparams(p->model);
    struct prepack what = {.path = p->path, .begin = begin, .told = told, .arg = p};
    struct window window;
    int rc = read_window(options_text(o, OPT_WINDOW), h->n_layers, &window, e);
    if (rc)
        return rc;
    shard_need(p->model, p->weights, &window, 1, window.hi == h->n_layers);
    interrupt_catch();
    int64_t start = clock_ns();
    rc = weights_prepack(p->weights, p->backend, &what, e);
    if (p->drawing)
        progress_end(&p->line);
    if (rc && interrupt_seen())
        return INTERRUPT_EXIT_CODE;
    if (!rc)
        print_result(p, clock_ns() - start);
    return rc;
}

static int run(const struct options *o, struct err *e)
{
    char path[MODEL_PATH_BYTES], sidecar[SIDECAR_PATH_BYTES];
    struct prepacking p = {.path = sidecar};
    bool there = false;
    int rc = model_path_find(options_arg(o, 0), path, sizeof path, e);
    if (!rc)
        rc = open_all(&p, o, path, e);
    if (!rc)
        rc = sidecar_path(sidecar, p.g, e);
    if (!rc)
        rc = check_present(&p, &there, e);
    if (!rc && there)
        printf("%s: is there already, of this model, and intact\n", sidecar);
    else if (!rc)
        rc = write_sidecar(&p, o, e);
    close_all(&p);
    return rc;
}

const struct verb verb_prepack = {
    .name = "prepack",
    .summary = "turn a model's matrices once and keep them on disk",
    .usage = "MODEL",
    .text = "Rondo multiplies faster when weights lie in lane form: sixteen rows side by side. It "
            "turns them at each start, into memory of its own. prepack writes that form to "
            "MODEL.lanes, beside the model and about as large: from then on a start takes it from "
            "there, as fast as the disk reads, and its memory is page cache that the system can "
            "take back. The model file stays as it is and is still needed.\n\nThe file belongs to "
            "this one model; after a change of the model it is not used, and Rondo says so. Remove "
            "it at any time. It has its name when it is complete; Ctrl-C leaves nothing (exit code "
            "130).",
    .options =
        (const struct verb_option[]){{OPT_WINDOW, NULL}, {OPT_THREADS, "0"}, {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
