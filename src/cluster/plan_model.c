// From a file's tensors to the planner's numbers: see plan_model.h.
#include "cluster/plan_model.h"

#include "ring/frame.h"
#include "ring/messages.h"

#include <stdio.h>
#include <string.h>

// ---- layers ------------------------------------------------------------------------------------

// Matrices; vectors count as bytes only. Where a layer has more kinds than there is room for, the
// last takes the rest.
static void add_tensor(struct plan_layer *l, const struct gguf_tensor *t, const struct hparams *h)
{
    l->bytes += t->size;
    if (t->n_dims < 2)
        return;
    bool experts = h->experts.n && t->n_dims == 3 && t->dims[2] == (uint64_t)h->experts.n;
    int n = experts ? h->experts.n : 0, i = 0;
    while (i < l->n_stacks && (l->stacks[i].type != t->type || l->stacks[i].n_experts != n))
        i++;
    if (i == PLAN_STACKS)
        i--;
    else if (i == l->n_stacks)
        l->stacks[l->n_stacks++] = (struct plan_stack){
            .type = t->type, .n_experts = n, .n_used = experts ? h->experts.n_used : 0};
    l->stacks[i].bytes += t->size;
}

static void find_layer(struct plan_layer *l, const struct model *m, int layer,
                       const struct plan_model_options *o)
{
    const struct gguf_tensor *tensors[MODEL_LAYER_TENSORS];
    const struct hparams *h = model_hparams(m);
    int n = model_layer_tensors(m, layer, tensors);
    for (int i = 0; i < n; i++)
        add_tensor(l, tensors[i], h);
    l->kv_bytes = hparams_kv_page_bytes(h, 1, o->kv_type) / KV_PAGE_TOKENS;
    l->window = hparams_slides(h, layer) ? h->window : 0;
}

// Of the embedding a pass uses a row for each token, unless it is the output matrix too.
static void find_ends(struct plan_model *out, const struct model *m)
{
    const struct gguf_tensor *tensors[MODEL_LAYER_TENSORS];
    const struct hparams *h = model_hparams(m);
    int n = model_layer_tensors(m, h->n_layers, tensors);
    out->embedding_bytes = tensors[0]->size;
    for (int i = h->tied_output ? 0 : 1; i < n; i++)
        add_tensor(&out->output, tensors[i], h);
}

// Layers that are not there are like those that are.
static int fill_absent(struct plan_model *out, const struct model *m, struct err *e)
{
    const struct plan_layer *like = NULL;
    for (int i = 0; i < out->n_layers; i++)
        if (model_has_layer(m, i))
            like = &out->layers[i];
    if (!like || !model_has_layer(m, out->n_layers))
        return err_set(e, ERR_FAILED,
                       "%s is a slice without %s, from which nothing can be planned; plan with the "
                       "whole file or with the head's slice",
                       gguf_path(model_gguf(m)), like ? "embedding and output" : "layers");
    for (int i = 0; i < out->n_layers; i++)
        if (!model_has_layer(m, i))
            out->layers[i] = *like;
    return 0;
}

// ---- memory ------------------------------------------------------------------------------------

// As duty.c and remote.c reserve it.
static uint64_t frames_bytes(const struct hparams *h, int max_batch)
{
    size_t frame =
        frame_pass_size((uint32_t)max_batch, WIRE_MAX_OPS, (uint32_t)h->n_embd, WIRE_F32);
    size_t row = (size_t)h->n_embd * sizeof(float);
    return (RING_MAX_PASSES + 4) * (uint64_t)frame + (uint64_t)max_batch * row;
}

static uint64_t computing_bytes(const struct model *m, const struct plan_model_options *o,
                                bool ends)
{
    const struct window one = {0, 1};
    struct shard_options s = {
        .windows = &one,
        .n_windows = 1,
        .ends = ends,
        .kv_type = o->kv_type,
        .max_sessions = o->n_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .reserved = frames_bytes(model_hparams(m), o->max_batch),
    };
    return shard_computing(m, &s, o->n_threads);
}

// A ring of slots that still reads megabytes at a time.
static uint64_t least_slots(const struct plan_model *p)
{
    const uint64_t good = 16 << 20;
    uint64_t all = p->output.bytes;
    for (int i = 0; i < p->n_layers; i++)
        all += p->layers[i].bytes;
    return all / 32 < good ? all / 32 : good;
}

int plan_model_of(struct plan_model *out, const struct model *m,
                  const struct plan_model_options *given, struct err *e)
{
    const struct hparams *h = model_hparams(m);
    struct plan_model_options o = *given;
    *out = (struct plan_model){
        .n_layers = h->n_layers, .width = (uint32_t)h->n_embd, .context_length = h->context_length};
    if (h->n_layers > PLAN_MAX_LAYERS)
        return err_set(e, ERR_FAILED, "%s has %d layers; %d can be planned",
                       gguf_path(model_gguf(m)), h->n_layers, PLAN_MAX_LAYERS);
    o.n_threads = o.n_threads > 0 ? o.n_threads : 1;
    o.max_batch = o.max_batch > 0 ? o.max_batch : PLAN_BATCH;
    o.n_sessions = o.n_sessions > 0 ? o.n_sessions : 1;
    o.max_context = o.max_context > 0 ? o.max_context : h->context_length;
    snprintf(out->name, sizeof out->name, "%.63s", h->name);
    for (int i = 0; i < h->n_layers; i++)
        if (model_has_layer(m, i))
            find_layer(&out->layers[i], m, i, &o);
    int rc = fill_absent(out, m, e);
    if (rc)
        return rc;
    find_ends(out, m);
    out->computing = computing_bytes(m, &o, false);
    out->computing_head = computing_bytes(m, &o, true);
    out->slots_least = least_slots(out);
    return profile_check_model(out, e);
}

// ---- what is to be measured --------------------------------------------------------------------

static void add_types(bool there[PLAN_TYPES], const struct plan_layer *l)
{
    for (int i = 0; i < l->n_stacks; i++)
        there[l->stacks[i].type] = true;
}

void plan_model_survey(struct survey_ask *out, uint32_t types[PLAN_TYPES],
                       const struct plan_model *p, const struct hparams *h, enum kv_type kv)
{
    bool there[PLAN_TYPES] = {false};
    for (int i = 0; i < p->n_layers; i++)
        add_types(there, &p->layers[i]);
    add_types(there, &p->output);
    *out = (struct survey_ask){.types = types,
                               .width = h->n_embd,
                               .n_ff = h->n_ff ? h->n_ff : h->experts.n_ff * h->experts.n_used,
                               .n_heads = h->n_heads,
                               .n_kv_heads = h->n_kv_heads,
                               .head_dim = h->head_dim,
                               .kv_type = kv,
                               .fd = -1};
    for (uint32_t t = 0; t < PLAN_TYPES; t++)
        if (there[t] && kernels_can(t))
            types[out->n_types++] = t;
}
