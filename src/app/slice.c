// rondo slice: a part of a model's layers in a file of their own.
#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/model_path.h"
#include "app/place.h"
#include "app/progress.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "hub/slicing.h"
#include "model/shard.h"
#include "plan/layer_set.h"

#include <stdio.h>
#include <stdlib.h>

struct job {
    struct gguf *g;
    struct model *model;
    bool *layers;
    struct digest *digests;
    struct progress line;
    uint64_t total;
};

static bool told(void *arg, uint64_t done)
{
    struct job *j = arg;
    progress_set(&j->line, (size_t)(done >> 20), (size_t)(j->total >> 20));
    return !interrupt_seen();
}

// Which layers, all of which the model must have; and the digests of all.
static int choose(struct job *j, const struct layer_set *wanted, bool ends, struct err *e)
{
    int n = model_hparams(j->model)->n_layers, rc = 0;
    j->layers = calloc((size_t)n, sizeof *j->layers);
    j->digests = calloc((size_t)n, sizeof *j->digests);
    if (!j->layers || !j->digests)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of layers");
    for (int i = 0; i < n && !rc; i++) {
        j->layers[i] = layer_set_has(wanted, i);
        if (j->layers[i] && !model_has_layer(j->model, i))
            rc = err_set(e, ERR_USAGE,
                         "%s is a slice itself, without layer %d; take it from the "
                         "whole file",
                         gguf_path(j->g), i);
        else
            rc = model_layer_digest(j->model, i, &j->digests[i], e);
    }
    if (!rc && ends && !model_has_layer(j->model, n))
        rc = err_set(e, ERR_USAGE,
                     "%s is a slice itself, without embedding and output; take them "
                     "from the whole file",
                     gguf_path(j->g));
    return rc;
}

static int write_slice(struct job *j, const struct layer_set *wanted, bool ends, const char *path,
                       struct err *e)
{
    struct slicing s = {.g = j->g,
                        .n_layers = model_hparams(j->model)->n_layers,
                        .layers = j->layers,
                        .ends = ends,
                        .digests = j->digests,
                        .told = told,
                        .arg = j};
    char text[LAYER_SET_TEXT], size[AMOUNT_BYTES];
    j->total = slicing_bytes(&s);
    int rc = place_check(path, j->total, "take fewer layers", e);
    if (rc)
        return rc;
    interrupt_catch();
    progress_start(&j->line, "copying layers", "MiB");
    rc = slicing_write(&s, path, e);
    progress_end(&j->line);
    if (rc)
        return interrupt_seen() ? INTERRUPT_EXIT_CODE : rc;
    layer_set_text(wanted, text);
    amount_size(size, j->total);
    printf("%s: layers %s of %d%s, %s\n", path, text, s.n_layers,
           ends ? ", embedding and output" : "", size);
    return 0;
}

static int run(const struct options *o, struct err *e)
{
    char path[MODEL_PATH_BYTES];
    struct job j = {0};
    struct layer_set wanted;
    const char *text = options_text(o, OPT_SLICE_LAYERS);
    bool ends = options_flag(o, OPT_ENDS);
    if (!text)
        return err_set(e, ERR_USAGE, "rondo slice wants --layers, as in --layers 8-15");
    int rc = model_path_find(options_arg(o, 0), path, sizeof path, e);
    if (!rc)
        rc = gguf_open(&j.g, path, e);
    if (!rc)
        rc = model_open(&j.model, j.g, e);
    if (!rc)
        rc = layer_set_parse(&wanted, text, model_hparams(j.model)->n_layers, e);
    if (!rc)
        rc = choose(&j, &wanted, ends, e);
    if (!rc)
        rc = write_slice(&j, &wanted, ends, options_arg(o, 1), e);
    free(j.layers);
    free(j.digests);
    model_free(j.model);
    gguf_free(j.g);
    return rc;
}

const struct verb verb_slice = {
    .name = "slice",
    .summary = "write some of a model's layers into a file of their own",
    .usage = "MODEL FILE",
    .text = "A worker needs only the layers that it runs. A slice holds them, with everything else "
            "that tells one model from another: copy it to the worker and start it there with "
            "rondo join --model FILE. Workers may join in any order: the head gives each the "
            "layers that it has.\n\nThree machines for a model of 32 layers, the head with the "
            "last twelve:\n  rondo slice model.gguf first.gguf --layers 0-9\n  rondo slice "
            "model.gguf second.gguf --layers 10-19\n  rondo run model.gguf --workers 2 --layers "
            "10,10,12\n\nWith --ends the slice has the embedding and the output matrix, too, and "
            "can serve as the head's file. It has its name when it is complete; Ctrl-C leaves "
            "nothing (exit code 130).",
    .options =
        (const struct verb_option[]){{OPT_SLICE_LAYERS, NULL}, {OPT_ENDS, NULL}, {OPT_END, NULL}},
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
