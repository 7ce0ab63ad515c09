// Sessions: see session.h.
//
//   ids:   [ computed ............ | in flight ..... | fed, not yet sent ]
//            0                 n_done            n_sent               n_fed
//
// n_cached is how far the pipeline's cache goes, in the order of submission: n_sent, or more after
// a cancellation or a truncation; then the next pass begins with a truncation.
#include "engine/session.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/guard.h"

#include <stdlib.h>
#include <string.h>

struct flight {
    int64_t handle;
    size_t first, n;
};

struct session {
    struct pipeline *pipeline;
    struct session_options o;
    struct arena arena;
    int32_t *ids; // (max_context)
    size_t n_done, n_sent, n_fed, n_cached, n_reused;
    struct flight flights[PIPELINE_MAX_PASSES]; // oldest first
    int n_flights;
    uint32_t generation;              // of the pipeline's cache, when this session was last in it
    uint32_t n_prompts, group, chunk; // what passes say about the prompt they belong to
    struct batch_token *tokens;       // (max_batch), or (o.chunk)
    float *logits;                    // (n_vocab)
    bool has_logits;                  // of token n_done - 1
};

int session_new(struct session **out, struct pipeline *p, const struct session_options *o,
                struct err *e)
{
    const struct pipeline_info *info = &p->info;
    struct session *s = calloc(1, sizeof *s);
    *out = NULL;
    CHECK(o->id < (uint32_t)info->max_sessions && o->depth <= PIPELINE_MAX_PASSES);
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory for a conversation");
    s->pipeline = p;
    s->o = *o;
    s->generation = info->generation;
    if (s->o.chunk < 0 || s->o.chunk > info->max_batch)
        s->o.chunk = info->max_batch;
    if (s->o.depth <= 0)
        s->o.depth = PIPELINE_MAX_PASSES;
    size_t ids = (size_t)info->max_context * sizeof *s->ids;
    size_t most = (size_t)(s->o.chunk ? s->o.chunk : info->max_batch);
    size_t tokens = most * sizeof *s->tokens;
    size_t logits = (size_t)info->hparams->n_vocab * sizeof *s->logits;
    if (arena_init(&s->arena, arena_plan(arena_plan(arena_plan(0, ids), tokens), logits))) {
        free(s);
        return err_set(e, ERR_NO_MEMORY, "no memory for a conversation; use a smaller --ctx");
    }
    s->ids = arena_take(&s->arena, ids);
    s->tokens = arena_take(&s->arena, tokens);
    s->logits = arena_take(&s->arena, logits);
    *out = s;
    return 0;
}

// Tokens that are computed together, which may change with the plan of a ring.
static size_t chunk_tokens(const struct session *s)
{
    const struct pipeline_info *info = &s->pipeline->info;
    int chunk = s->o.chunk ? s->o.chunk : info->chunk;
    return (size_t)(chunk > 0 && chunk < info->max_batch ? chunk : info->max_batch);
}

// When the pipeline has lost what it had of everybody, the tokens are here still, to be computed
// again.
static void notice_loss(struct session *s)
{
    if (s->generation == s->pipeline->info.generation)
        return;
    CHECK(!s->n_flights);
    s->generation = s->pipeline->info.generation;
    s->n_done = s->n_sent = s->n_fed = s->n_cached = 0;
    s->has_logits = false;
}

// An empty pass that carries one operation.
static int64_t submit_op(struct session *s, const struct session_op *op, struct err *e)
{
    struct batch b = {.ops = op, .n_ops = 1};
    return s->pipeline->ops->submit(s->pipeline, &b, e);
}

void session_free(struct session *s)
{
    if (!s)
        return;
    session_cancel(s);
    notice_loss(s);
    if (s->n_cached) {
        struct session_op drop = {.kind = SESSION_DROP, .session = s->o.id};
        int64_t handle = submit_op(s, &drop, NULL);
        if (handle >= 0)
            s->pipeline->ops->release(s->pipeline, handle);
    }
    arena_fini(&s->arena);
    free(s);
}

int session_n_vocab(const struct session *s)
{
    return s->pipeline->info.hparams->n_vocab;
}

size_t session_length(const struct session *s)
{
    return s->n_done;
}

const int32_t *session_tokens(const struct session *s)
{
    return s->ids;
}

size_t session_room(const struct session *s)
{
    return (size_t)s->pipeline->info.max_context - s->n_done;
}

float *session_logits(struct session *s)
{
    return s->has_logits ? s->logits : NULL;
}

size_t session_reused(const struct session *s)
{
    return s->n_reused;
}

// A larger context is advice only where the model was trained for it, with room for an answer.
int session_fits(const struct pipeline *p, size_t n, struct err *e)
{
    size_t room = (size_t)p->info.max_context;
    int trained = p->info.hparams->context_length;
    if (n <= room)
        return 0;
    if (n < (size_t)trained)
        return err_set(e, ERR_NO_MEMORY,
                       "the text has %zu tokens but the context holds %zu; shorten it or use a "
                       "--ctx of more than %zu",
                       n, room, n);
    return err_set(e, ERR_NO_MEMORY,
                   "the text has %zu tokens but the context holds %zu and the model was trained "
                   "for %d; shorten it",
                   n, room, trained);
}

int session_feed(struct session *s, const int32_t *ids, size_t n, struct err *e)
{
    size_t common = 0;
    int rc = session_fits(s->pipeline, n, e);
    CHECK(n >= 1 && !s->n_flights);
    if (rc)
        return rc;
    notice_loss(s);
    while (common < n && common < s->n_done && s->ids[common] == ids[common])
        common++;
    bool nothing_new = common == n && s->n_done == n && s->has_logits;
    if (common == n && !nothing_new)
        common--; // its logits are wanted again
    memmove(s->ids, ids, n * sizeof *ids);
    s->n_done = s->n_sent = s->n_reused = common;
    s->n_fed = n;
    s->has_logits = nothing_new;
    s->group = s->o.id << 16 | (s->n_prompts++ % UINT16_MAX + 1);
    s->chunk = 0;
    return 0;
}

// Of the next chunk, when so many are to be sent with it: those that are in flight at a time go
// round together, each round in the same order, and others go in when those come out. With one
// round that makes no difference.
static uint32_t chunks_behind(const struct session *s, size_t chunks)
{
    size_t depth = (size_t)s->o.depth, together = depth - s->chunk % depth;
    if (s->pipeline->info.rounds > 1 && chunks > together)
        chunks = together;
    return (uint32_t)chunks - 1;
}

static int submit_chunk(struct session *s, size_t n, uint32_t behind, struct err *e)
{
    struct session_op cut = {.kind = SESSION_TRUNCATE, .session = s->o.id};
    struct batch b = {.n_tokens = (int)n,
                      .tokens = s->tokens,
                      .group = s->group,
                      .chunk = s->chunk,
                      .behind = behind};
    for (size_t i = 0; i < n; i++) {
        size_t at = s->n_sent + i;
        bool wants = s->o.rows || at + 1 == s->n_fed;
        s->tokens[i] = (struct batch_token){
            .id = s->ids[at],
            .session = s->o.id,
            .pos = (uint32_t)at,
            .want = wants ? WANT_LOGITS : WANT_NOTHING,
        };
    }
    if (s->n_cached > s->n_sent) {
        cut.pos = (uint32_t)s->n_sent;
        b.ops = &cut;
        b.n_ops = 1;
    }
    int64_t handle = s->pipeline->ops->submit(s->pipeline, &b, e);
    if (handle < 0)
        return (int)handle;
    s->flights[s->n_flights++] = (struct flight){handle, s->n_sent, n};
    s->n_cached = s->n_sent += n;
    s->chunk++;
    return 1;
}

int session_submit(struct session *s, struct err *e)
{
    size_t left = s->n_fed - s->n_sent;
    if (!left || s->n_flights == s->o.depth)
        return 0;
    guard_enter();
    size_t chunks = (left + chunk_tokens(s) - 1) / chunk_tokens(s);
    int rc = submit_chunk(s, (left + chunks - 1) / chunks, chunks_behind(s, chunks), e);
    guard_leave();
    if (rc < 0) // what was refused is not part of the conversation
        s->n_fed = s->n_sent;
    return rc;
}

static void land(struct session *s)
{
    s->pipeline->ops->release(s->pipeline, s->flights[0].handle);
    memmove(s->flights, s->flights + 1, (size_t)--s->n_flights * sizeof *s->flights);
}

int session_collect(struct session *s, struct err *e)
{
    struct pass_result result;
    size_t n_vocab = (size_t)s->pipeline->info.hparams->n_vocab;
    if (!s->n_flights)
        return 0;
    struct flight f = s->flights[0];
    int rc = s->pipeline->ops->wait(s->pipeline, f.handle, &result, e);
    if (rc) {
        session_cancel(s);
        return rc;
    }
    for (int i = 0; s->o.rows && i < result.n_logits; i++)
        s->o.rows(s->o.rows_arg, f.first + (size_t)i, result.logits + (size_t)i * n_vocab);
    s->n_done = f.first + f.n;
    s->has_logits = result.n_logits > 0;
    if (s->has_logits)
        memcpy(s->logits, result.logits + (size_t)(result.n_logits - 1) * n_vocab,
               n_vocab * sizeof *s->logits);
    land(s);
    return 1;
}

int session_prompt(struct session *s, const int32_t *ids, size_t n, session_progress *progress,
                   void *arg, struct err *e)
{
    int rc = session_feed(s, ids, n, e);
    if (rc)
        return rc;
    for (;;) {
        while ((rc = session_submit(s, e)) > 0)
            ;
        if (rc < 0) {
            session_cancel(s);
            return rc;
        }
        rc = session_collect(s, e);
        if (rc <= 0)
            return rc;
        if (progress && !progress(arg, s->n_done, s->n_fed) && s->n_done < s->n_fed) {
            session_cancel(s);
            return SESSION_CANCELLED;
        }
    }
}

int session_append(struct session *s, int32_t id, struct err *e)
{
    CHECK(!s->n_flights && s->generation == s->pipeline->info.generation);
    if (!session_room(s))
        return err_set(e, ERR_NO_MEMORY,
                       "the context of %d tokens is full; use a larger --ctx for longer answers",
                       s->pipeline->info.max_context);
    s->ids[s->n_done] = id;
    s->n_sent = s->n_done;
    s->n_fed = s->n_done + 1;
    s->group = s->chunk = 0;
    int rc = session_submit(s, e);
    if (rc > 0)
        rc = session_collect(s, e);
    return rc < 0 ? rc : 0;
}

void session_cancel(struct session *s)
{
    for (int i = 0; i < s->n_flights; i++)
        s->pipeline->ops->cancel(s->pipeline, s->flights[i].handle);
    while (s->n_flights)
        land(s);
    s->has_logits = s->has_logits && s->n_sent == s->n_done;
    s->n_sent = s->n_fed = s->n_done;
}

void session_truncate(struct session *s, size_t n)
{
    session_cancel(s);
    if (n >= s->n_done)
        return;
    s->n_done = s->n_sent = s->n_fed = n;
    s->has_logits = false;
}

int session_fork(struct session *s, const struct session *from, size_t n, struct err *e)
{
    struct session_op fork = {
        .kind = SESSION_FORK, .session = s->o.id, .other = from->o.id, .pos = (uint32_t)n};
    CHECK(s != from && s->pipeline == from->pipeline && !s->n_flights && !from->n_flights);
    CHECK(n <= from->n_done && from->generation == s->pipeline->info.generation);
    notice_loss(s);
    int64_t handle = submit_op(s, &fork, e);
    if (handle < 0)
        return (int)handle;
    s->flights[s->n_flights++] = (struct flight){handle, n, 0};
    memcpy(s->ids, from->ids, n * sizeof *s->ids);
    s->n_done = s->n_sent = s->n_fed = s->n_cached = n;
    s->has_logits = false;
    int rc = session_collect(s, e);
    return rc < 0 ? rc : 0;
}

// ---- Keeping a session.

size_t session_page_bytes(const struct session *s)
{
    struct pipeline *p = s->pipeline;
    return p->ops->page_bytes ? p->ops->page_bytes(p) : 0;
}

struct digest session_page_kind(const struct session *s)
{
    return s->pipeline->ops->page_kind(s->pipeline);
}

void session_read_page(const struct session *s, size_t page, void *out)
{
    CHECK(!s->n_flights && page * KV_PAGE_TOKENS < s->n_done);
    s->pipeline->ops->page_read(s->pipeline, s->o.id, (int)page, out);
}

// Makes room for the fed tokens without computing them: the positions of a cancelled pass are
// without contents until somebody writes them.
static int reserve(struct session *s, struct err *e)
{
    int rc;
    while ((rc = session_submit(s, e)) > 0) {
        struct pass_result result;
        int64_t handle = s->flights[0].handle;
        s->pipeline->ops->cancel(s->pipeline, handle);
        s->pipeline->ops->wait(s->pipeline, handle, &result, NULL);
        land(s);
    }
    return rc;
}

int session_restore(struct session *s, const int32_t *ids, size_t n, session_load *load, void *arg,
                    void *page, struct err *e)
{
    CHECK(session_page_bytes(s));
    session_truncate(s, 0);
    int rc = session_feed(s, ids, n, e);
    if (!rc)
        rc = reserve(s, e);
    for (size_t i = 0; i * KV_PAGE_TOKENS < n && !rc; i++) {
        rc = load(arg, i, page, e);
        if (!rc)
            s->pipeline->ops->page_write(s->pipeline, s->o.id, (int)i, page);
    }
    s->n_done = rc ? 0 : n;
    s->n_sent = s->n_fed = s->n_done;
    return rc;
}
