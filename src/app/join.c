// rondo join: this machine as a worker.
#include "app/interrupt.h"
#include "app/keeping.h"
#include "app/listen.h"
#include "app/model_path.h"
#include "app/verbs.h"
#include "cluster/identity.h"
#include "cluster/worker.h"
#include "model/shard.h"

#include <stdio.h>
#include <string.h>

static void say(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%s\n", line);
}

static bool stop(void *ctx)
{
    (void)ctx;
    return interrupt_seen();
}

// What this machine could never run is said at once and not to a head.
static int try_model(const char *path, struct layer_set *has, struct err *e)
{
    struct gguf *g;
    struct model *m;
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = model_open(&m, g, e);
    for (int i = 0; !rc && i < model_hparams(m)->n_layers; i++)
        if (model_has_layer(m, i))
            layer_set_add(has, i, i + 1);
    if (!rc)
        model_free(m);
    gguf_free(g);
    return rc;
}

static int run(const struct options *o, struct err *e)
{
    char folder[IDENTITY_PATH], path[MODEL_PATH_BYTES], host[128] = "";
    const char *listen = options_text(o, OPT_LISTEN), *text = options_arg(o, 0);
    struct token token;
    struct layer_set has = {{0}};
    int isa = options_enum(o, OPT_ISA);
    struct worker_options w = {
        .folder = folder,
        .name = options_text(o, OPT_NAME),
        .token = &token,
        .model_path = path,
        .layers = &has,
        .n_threads = (int)options_int(o, OPT_THREADS),
        .pin = (enum pin)options_enum(o, OPT_PIN),
        .isa = isa < ISA_COUNT ? (enum isa)isa : ISA_COUNT,
        .say = say,
        .stop = stop,
    };
    int rc = keeping_read(&w.weights, o, e);
    if (!rc)
        rc = token_read(&token, text, strlen(text), e);
    if (!rc)
        rc = model_path_find(options_text(o, OPT_MODEL), path, sizeof path, e);
    if (!rc)
        rc = try_model(path, &has, e);
    if (!rc)
        rc = identity_folder(folder, e);
    if (!rc && listen)
        rc = listen_parse(listen, host, sizeof host, &w.port, e);
    w.host = *host ? host : NULL;
    if (rc)
        return rc;
    interrupt_catch();
    return worker_run(&w, e);
}

const struct verb verb_join = {
    .name = "join",
    .summary = "let this machine work for another one",
    .usage = "TOKEN",
    .text = "TOKEN is what the head printed: rondo run MODEL --workers 2. This machine loads only "
            "the layers that the head gives it, from a file of its own that must be the same "
            "model, or a slice of it (rondo slice). It measures itself when it is first asked what "
            "it can "
            "do, and remembers. When a head ends, the worker waits for the "
            "next one; Ctrl-C ends it.\n\nThe "
            "head remembers this machine: once joined, it may come again when the token has "
            "expired.",
    .options = (const struct verb_option[]){{OPT_MODEL, "demo"},
                                            {OPT_NAME, NULL},
                                            {OPT_LISTEN, NULL},
                                            {OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},
                                            {OPT_ISA, "auto"},
                                            {OPT_LAYOUT, "auto"},
                                            {OPT_MEMORY, "auto"},
                                            {OPT_RESIDENCY, "auto"},
                                            {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
