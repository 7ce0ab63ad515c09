// What a head offers its workers: see offer.h.
#include "cluster/offer.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct offer {
    struct wire_offer head; // without digests
    struct wire_layer layers[WIRE_MAX_LAYERS];
};

_Static_assert((int)WIRE_KV_F32 == (int)KV_F32 && (int)WIRE_KV_F16 == (int)KV_F16 &&
                   (int)WIRE_KV_Q8_0 == (int)KV_Q8_0 && (int)WIRE_KV_COUNT == (int)KV_TYPE_COUNT,
               "types of the KV cache");
_Static_assert((int)PLAN_MAX_NODES == (int)WIRE_MAX_NODES &&
                   (int)PLAN_MAX_ROUNDS == (int)WIRE_MAX_ROUNDS &&
                   (int)MODEL_MAX_LAYERS == (int)WIRE_MAX_LAYERS,
               "limits of a plan");

// The file's name without folders: enough for people to tell models apart.
static const char *model_file(const struct model *m)
{
    const char *path = gguf_path(model_gguf(m)), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int offer_new(struct offer **out, const struct model *m, const struct pipeline_info *info,
              enum kv_type kv_type, struct err *e)
{
    struct offer *o = calloc(1, sizeof *o);
    struct digest digest = model_digest(m);
    *out = NULL;
    if (!o)
        return err_set(e, ERR_NO_MEMORY, "no memory for the digests of a model");
    o->head = (struct wire_offer){
        .n_layers = (uint32_t)info->hparams->n_layers,
        .kv = (uint32_t)kv_type,
        .max_batch = (uint32_t)info->max_batch,
        .max_sessions = (uint32_t)info->max_sessions,
        .max_context = (uint32_t)info->max_context,
        .kv_pages = (uint32_t)info->kv_pages,
    };
    frame_name(o->head.model, sizeof o->head.model, model_file(m));
    memcpy(o->head.digest, digest.bytes, sizeof digest.bytes);
    for (int i = 0; i < info->hparams->n_layers; i++) {
        int rc = model_layer_digest(m, i, &digest, e);
        if (rc) {
            offer_free(o);
            return rc;
        }
        o->layers[i].layer = (uint32_t)i;
        memcpy(o->layers[i].digest, digest.bytes, sizeof digest.bytes);
    }
    *out = o;
    return 0;
}

void offer_free(struct offer *o)
{
    free(o);
}

void offer_write(const struct offer *o, struct frame *f, uint32_t epoch,
                 const struct window_table *table, int node)
{
    struct wire_offer head = o->head;
    struct wire_layer own[WIRE_MAX_LAYERS];
    for (int r = 0; r < table->n_rounds; r++)
        for (int i = table->lo[r][node]; i < table->hi[r][node]; i++)
            own[head.n_digests++] = o->layers[i];
    frame_write_offer(f, epoch, &head, own);
}

void offer_write_plan(struct frame *f, uint32_t epoch, const struct window_table *table, int node,
                      enum wire_activation activation, const struct offer_share *share)
{
    struct wire_window windows[WIRE_MAX_ROUNDS * WIRE_MAX_NODES];
    struct wire_plan plan = {
        .n_nodes = (uint32_t)table->n_nodes,
        .n_rounds = (uint32_t)table->n_rounds,
        .n_layers = (uint32_t)table->n_layers,
        .node = (uint32_t)node,
        .activation = activation,
        .slots = share->slots,
        .memory = share->memory,
    };
    for (int r = 0; r < table->n_rounds; r++)
        for (int i = 0; i < table->n_nodes; i++)
            windows[r * table->n_nodes + i] =
                (struct wire_window){table->lo[r][i], table->hi[r][i]};
    frame_write_plan(f, epoch, &plan, windows);
}

void offer_ask(const struct offer *o, struct wire_survey *out)
{
    *out = (struct wire_survey){
        .n_layers = o->head.n_layers,
        .kv = o->head.kv,
        .max_batch = o->head.max_batch,
        .max_sessions = o->head.max_sessions,
        .max_context = o->head.max_context,
    };
    memcpy(out->model, o->head.model, sizeof out->model);
    memcpy(out->digest, o->head.digest, sizeof out->digest);
}

int offer_read_plan(struct window_table *table, const struct wire_plan *plan,
                    const struct wire_window *windows, struct err *e)
{
    memset(table, 0, sizeof *table);
    table->n_nodes = (int)plan->n_nodes;
    table->n_rounds = (int)plan->n_rounds;
    table->n_layers = (int)plan->n_layers;
    CHECK(plan->n_nodes <= PLAN_MAX_NODES && plan->n_rounds <= PLAN_MAX_ROUNDS);
    for (int r = 0; r < table->n_rounds; r++) {
        for (int i = 0; i < table->n_nodes; i++) {
            table->lo[r][i] = windows[r * table->n_nodes + i].lo;
            table->hi[r][i] = windows[r * table->n_nodes + i].hi;
        }
    }
    return windows_check(table, e);
}

static int other_model(const char *wanted, const struct model *m, const char *how, struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "the head runs %s, this worker has %s, which is another model (%s); start the "
                   "worker with --model and the same file",
                   wanted, model_file(m), how);
}

int offer_check_asked(const struct wire_survey *asked, const struct model *m, struct err *e)
{
    struct digest digest = model_digest(m);
    if (memcmp(asked->digest, digest.bytes, sizeof digest.bytes) ||
        asked->n_layers != (uint32_t)model_hparams(m)->n_layers)
        return other_model(asked->model, m, "its parameters or vocabulary differ", e);
    return 0;
}

int offer_check(const struct wire_offer *offer, const struct wire_layer *layers,
                const struct model *m, const struct window_table *table, int node, struct err *e)
{
    struct digest digest = model_digest(m);
    const struct wire_layer *next = layers, *end = layers + offer->n_digests;
    if (memcmp(offer->digest, digest.bytes, sizeof digest.bytes) ||
        offer->n_layers != (uint32_t)model_hparams(m)->n_layers)
        return other_model(offer->model, m, "its parameters or vocabulary differ", e);
    if (table->n_layers != model_hparams(m)->n_layers)
        return err_set(e, ERR_FAILED, "the head's plan is for %d layers, its model has %d",
                       table->n_layers, model_hparams(m)->n_layers);
    for (int r = 0; r < table->n_rounds; r++) {
        for (int i = table->lo[r][node]; i < table->hi[r][node]; i++, next++) {
            char how[64];
            int rc = model_layer_digest(m, i, &digest, e);
            if (rc)
                return rc;
            if (next == end || next->layer != (uint32_t)i)
                return err_set(e, ERR_FAILED, "the head's offer has no digest of layer %d", i);
            if (!model_has_layer(m, i))
                return err_set(e, ERR_FAILED, "%s is a slice without layer %d", model_file(m), i);
            snprintf(how, sizeof how, "the weights of layer %d differ", i);
            if (memcmp(next->digest, digest.bytes, sizeof digest.bytes))
                return other_model(offer->model, m, how, e);
        }
    }
    return 0;
}
