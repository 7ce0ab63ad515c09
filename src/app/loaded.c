// Opening a model for computing: see loaded.h.
#include "app/loaded.h"

#include "app/keeping.h"
#include "app/progress.h"
#include "base/log.h"
#include "engine/local.h"

#include <string.h>

enum {
    DEFAULT_CONTEXT = 4096,     // when the model was trained for more
    MAX_LOGITS_BYTES = 1 << 28, // of all passes in flight, when every token wants logits
};

// The one place that decides where a model runs.
static int open_pipeline(struct loaded *l, const struct options *o,
                         const struct local_options *local, bool ring, struct err *e)
{
    struct err usage = {0};
    if (!ring || !head_wanted(o, &usage))
        return usage.code ? err_set(e, usage.code, "%s", usage.text)
                          : local_open(&l->pipeline, l->model, local, e);
    int rc = head_open(&l->head, l->model, local, o, e);
    if (!rc)
        l->pipeline = head_pipeline(l->head);
    return rc;
}

static int choose_context(const struct hparams *h, const struct options *o)
{
    int trained = h->context_length, ctx = (int)options_int(o, OPT_CTX);
    if (!ctx)
        return trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
    if (ctx > trained)
        log_warn("the model was trained for %d tokens; with --ctx %d long texts may go wrong",
                 trained, ctx);
    return ctx;
}

static void show_turning(void *arg, uint64_t done, uint64_t total)
{
    progress_set(arg, (size_t)(done >> 20), (size_t)(total >> 20));
}

static int choose(struct local_options *local, const struct hparams *h, const struct options *o,
                  const struct loaded_wants *w, struct progress *progress, struct err *e)
{
    int isa = options_enum(o, OPT_ISA);
    *local = (struct local_options){
        .n_threads = (int)options_int(o, OPT_THREADS),
        .pin = (enum pin)options_enum(o, OPT_PIN),
        .isa = isa < ISA_COUNT ? (enum isa)isa : ISA_COUNT,
        .kv_type = (enum kv_type)options_enum(o, OPT_KV),
        .max_sessions = w->max_sessions,
        .max_context = w->max_context ? w->max_context : choose_context(h, o),
        .max_batch = (int)options_int(o, OPT_BATCH),
        .max_outputs = w->max_outputs ? w->max_outputs : w->max_sessions,
        .kv_pages = w->kv_pages,
        .stop = w->stop,
        .observer = w->observer,
        .weights = {.progress = show_turning, .arg = progress},
    };
    if (w->every_logits) {
        int fit = MAX_LOGITS_BYTES / PIPELINE_MAX_PASSES / (int)sizeof(float) / h->n_vocab;
        if (local->max_batch > fit)
            local->max_batch = fit > 0 ? fit : 1;
        local->max_outputs = local->max_batch;
    }
    return keeping_read(&local->weights, o, e);
}

static int load(struct loaded *l, const struct options *o, const struct loaded_wants *w,
                struct progress *progress, struct err *e)
{
    struct local_options local;
    int rc = gguf_open(&l->gguf, l->path, e);
    if (!rc)
        rc = vocab_open(&l->vocab, l->gguf, e);
    if (!rc)
        rc = model_open(&l->model, l->gguf, e);
    if (rc)
        return rc;
    const struct hparams *h = model_hparams(l->model);
    if (vocab_size(l->vocab) > h->n_vocab)
        return err_set(e, ERR_FAILED,
                       "%s: %d tokens in the vocabulary but only %d in the embedding; the file is "
                       "damaged",
                       l->path, vocab_size(l->vocab), h->n_vocab);
    rc = choose(&local, h, o, w, progress, e);
    if (!rc)
        rc = open_pipeline(l, o, &local, w->ring, e);
    if (!rc)
        log_info("%s on %s, %d tokens of context", l->path, l->pipeline->info.description,
                 l->pipeline->info.max_context);
    return rc;
}

int loaded_open(struct loaded *l, const char *model, const struct options *o,
                const struct loaded_wants *w, struct err *e)
{
    struct progress progress;
    *l = (struct loaded){0};
    int rc = model_path_find(model, l->path, sizeof l->path, e);
    if (rc)
        return rc;
    progress_start(&progress, "opening the model", "MiB");
    rc = load(l, o, w, &progress, e);
    progress_end(&progress);
    if (rc)
        loaded_close(l);
    return rc;
}

int loaded_gather(struct loaded *l, struct err *e)
{
    return l->head ? head_gather(l->head, e) : 0;
}

void loaded_close(struct loaded *l)
{
    if (l->head)
        head_close(l->head);
    else if (l->pipeline)
        l->pipeline->ops->free(l->pipeline);
    model_free(l->model);
    vocab_free(l->vocab);
    gguf_free(l->gguf);
    *l = (struct loaded){0};
}
