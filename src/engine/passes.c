// The passes of a pipeline: see passes.h.
#include "engine/passes.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"

#include <string.h>

static int allocate(struct passes *p, struct err *e)
{
    const struct hparams *h = p->info->hparams;
    size_t outputs = (size_t)p->max_outputs, total = 0;
    size_t tokens = (size_t)p->info->max_batch * sizeof(struct batch_token);
    size_t logits = outputs * (size_t)h->n_vocab * sizeof(float);
    size_t states = outputs * (size_t)h->n_embd * sizeof(float);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        total = arena_plan(arena_plan(arena_plan(total, tokens), logits), states);
    if (arena_init(&p->arena, total))
        return err_set(e, ERR_NO_MEMORY,
                       "no memory for %zu MiB of tokens and logits; use a smaller --batch",
                       total >> 20);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
        struct pass *s = &p->slots[i];
        s->tokens = arena_take(&p->arena, tokens);
        s->logits = arena_take(&p->arena, logits);
        s->states = arena_take(&p->arena, states);
    }
    return 0;
}

int passes_init(struct passes *p, const struct pipeline_info *info, int max_outputs, struct err *e)
{
    CHECK(info->max_batch >= 1 && info->max_batch <= BATCH_MAX_TOKENS && max_outputs >= 1);
    *p = (struct passes){.info = info, .max_outputs = max_outputs};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->queued, NULL);
    pthread_cond_init(&p->done, NULL);
    int rc = kv_map_new(&p->mirror, info->kv_pages, info->max_sessions, info->max_context, e);
    return rc ? rc : allocate(p, e);
}

void passes_fini(struct passes *p)
{
    if (!p->info)
        return; // never begun
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->queued);
    pthread_mutex_destroy(&p->lock);
    kv_map_free(p->mirror);
    arena_fini(&p->arena);
}

// ---- The caller's thread.

static struct pass *find_handle(struct passes *p, int64_t handle)
{
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        if (p->slots[i].state != PASS_FREE && p->slots[i].handle == handle)
            return &p->slots[i];
    CHECK(!"a handle that was never given out, or is released");
    return NULL;
}

// The oldest that is QUEUED, with the lock held.
static struct pass *oldest(struct passes *p)
{
    struct pass *first = NULL;
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
        struct pass *s = &p->slots[i];
        if (s->state == PASS_QUEUED && (!first || s->handle < first->handle))
            first = s;
    }
    return first;
}

// A place to fill, with the lock held. Waiting helps only while one becomes free by itself: a
// caller that holds all results and asks for more would wait for itself. NULL: all has failed.
static struct pass *claim(struct passes *p)
{
    while (!p->failure.code) {
        bool pending = false;
        for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
            struct pass *s = &p->slots[i];
            if (s->state == PASS_FREE)
                return s;
            pending |= s->released;
        }
        CHECK(pending);
        pthread_cond_wait(&p->done, &p->lock);
    }
    return NULL;
}

static int check_batch(const struct passes *p, const struct batch *b, struct pass_result *counts,
                       struct err *e)
{
    const struct pipeline_info *info = p->info;
    CHECK(b->n_tokens >= 0 && b->n_ops >= 0 && b->n_ops <= BATCH_MAX_OPS);
    CHECK(b->n_tokens <= info->max_batch);
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        if (t->id < 0 || t->id >= info->hparams->n_vocab)
            return err_set(e, ERR_FAILED,
                           "token %d is not one of the model's %d; its vocabulary and its "
                           "embedding do not belong together",
                           t->id, info->hparams->n_vocab);
        counts->n_logits += t->want == WANT_LOGITS;
        counts->n_states += t->want == WANT_HIDDEN;
    }
    CHECK(counts->n_logits <= p->max_outputs && counts->n_states <= p->max_outputs);
    return kv_admit(p->mirror, b, e);
}

static void fill(struct pass *s, const struct batch *b, const struct pass_result *counts)
{
    s->batch = *b;
    if (b->n_tokens)
        memcpy(s->tokens, b->tokens, (size_t)b->n_tokens * sizeof *s->tokens);
    if (b->n_ops)
        memcpy(s->ops, b->ops, (size_t)b->n_ops * sizeof *s->ops);
    s->batch.tokens = s->tokens;
    s->batch.ops = s->ops;
    s->batch.pass = (uint64_t)s->handle;
    s->result = *counts;
    s->result.logits = s->logits;
    s->result.states = s->states;
    s->result.timing.submitted_ns = clock_ns();
    s->rc = 0;
    s->error.code = 0;
    s->cancelled = s->released = false;
}

int64_t passes_submit(struct passes *p, const struct batch *b, struct err *e)
{
    struct kv_copy copies[BATCH_MAX_OPS]; // the shard's own books make them
    struct pass_result counts = {0};
    guard_enter();
    int64_t rc = check_batch(p, b, &counts, e);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        struct pass *s = claim(p);
        if (s) {
            bool company = oldest(p) || p->taken;
            kv_apply(p->mirror, b, copies);
            rc = s->handle = p->next_handle++;
            fill(s, b, &counts);
            s->state = PASS_QUEUED;
            if (company)
                pthread_cond_signal(&p->queued);
        } else {
            rc = err_set(e, p->failure.code, "%s", p->failure.text);
        }
        pthread_mutex_unlock(&p->lock);
    }
    guard_leave();
    return rc;
}

int passes_wait(struct passes *p, int64_t handle, struct pass_result *out, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    struct pass *s = find_handle(p, handle);
    while (s->state != PASS_DONE)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (s->rc)
        return err_set(e, s->rc, "%s", s->error.text);
    *out = s->result;
    return 0;
}

void passes_release(struct passes *p, int64_t handle)
{
    pthread_mutex_lock(&p->lock);
    struct pass *s = find_handle(p, handle);
    s->released = true;
    if (s->state == PASS_DONE)
        s->state = PASS_FREE;
    else
        pthread_cond_signal(&p->queued);
    pthread_mutex_unlock(&p->lock);
}

void passes_cancel(struct passes *p, int64_t handle)
{
    pthread_mutex_lock(&p->lock);
    find_handle(p, handle)->cancelled = true;
    pthread_mutex_unlock(&p->lock);
}

void passes_settle(struct passes *p)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < PIPELINE_MAX_PASSES;) {
        const struct pass *s = &p->slots[i];
        CHECK(s->state == PASS_FREE || s->released);
        if (s->state == PASS_FREE)
            i++;
        else
            pthread_cond_wait(&p->done, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

void passes_forget(struct passes *p)
{
    struct kv_copy copies[BATCH_MAX_OPS];
    for (int i = 0; i < p->info->max_sessions; i++) {
        struct session_op drop = {.kind = SESSION_DROP, .session = (uint32_t)i};
        struct batch b = {.ops = &drop, .n_ops = 1};
        kv_apply(p->mirror, &b, copies);
    }
}

// ---- The computing thread.

// With the lock held.
static struct pass *start_oldest(struct passes *p)
{
    struct pass *s = p->stopped ? NULL : oldest(p);
    if (s)
        s->state = PASS_RUNNING;
    return s;
}

struct pass *passes_next(struct passes *p)
{
    pthread_mutex_lock(&p->lock);
    struct pass *s = start_oldest(p);
    pthread_mutex_unlock(&p->lock);
    return s;
}

struct pass *passes_take(struct passes *p, int64_t handle)
{
    struct pass *s = NULL;
    pthread_mutex_lock(&p->lock);
    while (handle < 0 && !p->stopped && (p->taken || !oldest(p)))
        pthread_cond_wait(&p->queued, &p->lock);
    if (!p->taken && (handle < 0 || find_handle(p, handle)->state == PASS_QUEUED))
        p->taken = s = start_oldest(p);
    pthread_mutex_unlock(&p->lock);
    return s;
}

bool passes_cancelled(struct passes *p, const struct pass *s)
{
    pthread_mutex_lock(&p->lock);
    bool cancelled = s->cancelled;
    pthread_mutex_unlock(&p->lock);
    return cancelled;
}

struct pass *passes_find(struct passes *p, uint64_t number)
{
    struct pass *found = NULL;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        if (p->slots[i].state == PASS_RUNNING && p->slots[i].batch.pass == number)
            found = &p->slots[i];
    pthread_mutex_unlock(&p->lock);
    return found;
}

// With the lock held.
static void end(struct passes *p, struct pass *s, int rc, const struct err *why)
{
    s->rc = rc;
    if (rc)
        s->error = *why;
    s->result.timing.completed_ns = clock_ns();
    s->state = s->released ? PASS_FREE : PASS_DONE;
    pthread_cond_broadcast(&p->done);
}

void passes_complete(struct passes *p, struct pass *s, int64_t compute_ns, int rc,
                     const struct err *why)
{
    pthread_mutex_lock(&p->lock);
    if (p->taken == s) {
        p->taken = NULL;
        if (oldest(p))
            pthread_cond_signal(&p->queued);
    }
    if (s->state == PASS_RUNNING) {
        s->result.timing.compute_ns = compute_ns;
        end(p, s, rc, why);
    }
    pthread_mutex_unlock(&p->lock);
}

// ---- Any thread.

void passes_stop(struct passes *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    pthread_cond_broadcast(&p->queued);
    pthread_mutex_unlock(&p->lock);
}

void passes_fail(struct passes *p, const struct err *why)
{
    CHECK(why->code);
    pthread_mutex_lock(&p->lock);
    if (!p->failure.code)
        p->failure = *why;
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        if (p->slots[i].state == PASS_QUEUED || p->slots[i].state == PASS_RUNNING)
            end(p, &p->slots[i], p->failure.code, &p->failure);
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
}
