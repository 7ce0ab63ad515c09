// One node's share of a pass, round by round: see stage.h.
#include "engine/stage.h"

#include "base/check.h"

static void limit(void *ctx, uint64_t bytes)
{
    weights_limit(ctx, bytes);
}

static void status(void *ctx, uint64_t *resident, uint64_t *wanted)
{
    struct weights_status s = weights_status(ctx);
    *resident = s.resident;
    *wanted = s.wanted;
}

// Memory that the user has set a limit to is not taken back when it was given back in need.
static int govern(struct stage *s, const struct stage_options *o, struct err *e)
{
    struct governor_calls calls = {.ctx = s->weights, .limit = limit, .status = status};
    if (!weights_status(s->weights).wanted)
        return 0;
    return governor_start(&s->governor, "", !o->weights.memory, &calls, e);
}

int stage_open(struct stage *s, const struct model *m, const struct window_table *table, int node,
               const struct stage_options *o, struct err *e)
{
    struct window windows[PLAN_MAX_ROUNDS];
    struct backend_options backend = {
        .n_threads = o->n_threads, .pin = o->pin, .isa = o->isa, .observer = o->observer};
    struct shard_options shard = {
        .windows = windows,
        .n_windows = table->n_rounds,
        .ends = node == table->n_nodes - 1,
        .kv_type = o->kv_type,
        .kv_pages = o->kv_pages,
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .max_outputs = o->max_outputs,
        .reserved = o->reserved,
    };
    CHECK(node >= 0 && node < table->n_nodes);
    CHECK(table->n_layers == model_hparams(m)->n_layers);
    *s = (struct stage){.table = table, .node = node};
    for (int r = 0; r < table->n_rounds; r++)
        windows[r] = (struct window){table->lo[r][node], table->hi[r][node]};
    struct weights_options weights = o->weights;
    weights.rounds = table->n_nodes > 1 ? table->n_rounds : 1;
    int rc = weights_open(&s->weights, model_gguf(m), &weights, e);
    if (!rc)
        rc = backend_open_cpu(&s->backend, &backend, e);
    if (!rc)
        rc = shard_new(&s->shard, m, s->weights, s->backend, &shard, e);
    if (!rc)
        rc = govern(s, o, e);
    return rc;
}

void stage_close(struct stage *s)
{
    governor_stop(s->governor);
    shard_free(s->shard);
    backend_free(s->backend);
    weights_free(s->weights);
    *s = (struct stage){0};
}

int stage_run(struct stage *s, const struct batch *b, int round, float *hidden, struct err *e)
{
    CHECK(round >= 0 && round < s->table->n_rounds);
    int rc = round == 0 ? shard_begin(s->shard, b, e) : 0;
    if (rc)
        return rc;
    struct window w = {s->table->lo[round][s->node], s->table->hi[round][s->node]};
    if (w.lo == w.hi)
        return 0; // the frame goes on unchanged
    return shard_run(s->shard, b, w, hidden, e);
}
