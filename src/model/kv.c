// Pages and sessions: the bookkeeping of the key-value cache, without the memory behind it.
//
// Invariant: the page in which a session's next token will lie is its own, unless the session ends
// at a page boundary. A fork shares full pages and copies the last partial one; a truncation that
// ends inside a shared page copies that page. So appending never copies, and an operation copies at
// most one page.
//
// All numbers lie in one block of int32, so that a shadow of the whole state is one memcpy:
// kv_admit plays the batch on the shadow and looks whether it worked.
#include "model/kv.h"

#include "backend/backend.h"
#include "base/arith.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct kv_map {
    int n_pages, max_sessions, max_context, session_pages;
    size_t state_ints;
    int32_t *state, *shadow; // blocks of state_ints
};

// The parts of a state block.
struct timeline {
    const struct kv_map *m;
    int32_t *n_free, *free; // stack of free pages (n_pages)
    int32_t *refs;          // (n_pages)
    int32_t *length;        // (max_sessions)
    int32_t *pages;         // (max_sessions, session_pages)
};

static struct timeline view_of(const struct kv_map *m, int32_t *state)
{
    struct timeline v = {.m = m, .n_free = state, .free = state + 1};
    v.refs = v.free + m->n_pages;
    v.length = v.refs + m->n_pages;
    v.pages = v.length + m->max_sessions;
    return v;
}

static int pages_for(int length)
{
    return (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

int kv_map_new(struct kv_map **out, int n_pages, int max_sessions, int max_context, struct err *e)
{
    *out = NULL;
    if (n_pages < 1 || max_sessions < 1 || max_sessions > BATCH_MAX_SESSIONS || max_context < 1 ||
        max_context > INT32_MAX - KV_PAGE_TOKENS)
        return err_set(e, ERR_USAGE,
                       "a cache of %d pages for %d sessions of %d tokens is impossible; use a "
                       "context of 1 or more and 1 to %d sessions",
                       n_pages, max_sessions, max_context, BATCH_MAX_SESSIONS);
    int per_session = pages_for(max_context);
    size_t ints = 1 + 2 * (size_t)n_pages + (size_t)max_sessions, table, bytes;
    struct kv_map *m = calloc(1, sizeof *m);
    if (m && size_mul((size_t)max_sessions, (size_t)per_session, &table) &&
        size_add(ints, table, &ints) && size_mul(ints, 2 * sizeof(int32_t), &bytes))
        m->state = calloc(1, bytes);
    if (!m || !m->state) {
        free(m);
        return err_set(e, ERR_NO_MEMORY,
                       "no memory to keep track of %d sessions of %d tokens; use a smaller --ctx",
                       max_sessions, max_context);
    }
    m->n_pages = n_pages;
    m->max_sessions = max_sessions;
    m->max_context = max_context;
    m->session_pages = per_session;
    m->state_ints = ints;
    m->shadow = m->state + ints;
    struct timeline v = view_of(m, m->state);
    *v.n_free = n_pages;
    for (int i = 0; i < n_pages; i++)
        v.free[i] = n_pages - 1 - i;
    *out = m;
    return 0;
}

void kv_map_free(struct kv_map *m)
{
    if (!m)
        return;
    free(m->state);
    free(m);
}

int kv_pages_free(const struct kv_map *m)
{
    return m->state[0];
}

int kv_length(const struct kv_map *m, uint32_t session)
{
    return session < (uint32_t)m->max_sessions ? view_of(m, m->state).length[session] : 0;
}

const int32_t *kv_pages(const struct kv_map *m, uint32_t session)
{
    CHECK(session < (uint32_t)m->max_sessions);
    return view_of(m, m->state).pages + (size_t)session * (size_t)m->session_pages;
}

static int no_pages(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY,
                   "the key-value cache is full; end a conversation or start with a larger --ctx");
}

static int32_t page_take(struct timeline *v)
{
    if (!*v->n_free)
        return -1;
    int32_t page = v->free[--*v->n_free];
    v->refs[page] = 1;
    return page;
}

static void page_drop(struct timeline *v, int32_t page)
{
    if (--v->refs[page] == 0)
        v->free[(*v->n_free)++] = page;
}

static int32_t *pages_of(struct timeline *v, uint32_t session)
{
    return v->pages + (size_t)session * (size_t)v->m->session_pages;
}

static void truncate_to(struct timeline *v, uint32_t session, int length)
{
    int32_t *pages = pages_of(v, session);
    for (int i = pages_for(length); i < pages_for(v->length[session]); i++)
        page_drop(v, pages[i]);
    v->length[session] = length;
}

// Makes the session's partial last page its own. A copy is appended when one is needed.
static int own_last_page(struct timeline *v, uint32_t session, struct kv_copy *copies,
                         int *n_copies, struct err *e)
{
    int length = v->length[session];
    if (length % KV_PAGE_TOKENS == 0)
        return 0;
    int32_t *last = &pages_of(v, session)[pages_for(length) - 1], from = *last;
    if (v->refs[from] == 1)
        return 0;
    int32_t to = page_take(v);
    if (to < 0)
        return no_pages(e);
    page_drop(v, from);
    *last = to;
    copies[(*n_copies)++] = (struct kv_copy){from, to};
    return 0;
}

static int fork_session(struct timeline *v, const struct session_op *op, struct err *e)
{
    if (op->other >= (uint32_t)v->m->max_sessions || op->other == op->session ||
        op->pos > (uint32_t)v->length[op->other])
        return err_set(e, ERR_FAILED,
                       "session %u cannot be forked from session %u at position %u; the request is "
                       "damaged",
                       op->session, op->other, op->pos);
    truncate_to(v, op->session, 0);
    int n = pages_for((int)op->pos);
    int32_t *to = pages_of(v, op->session), *from = pages_of(v, op->other);
    for (int i = 0; i < n; i++) {
        to[i] = from[i];
        v->refs[from[i]]++;
    }
    v->length[op->session] = (int32_t)op->pos;
    return 0;
}

static int apply_op(struct timeline *v, const struct session_op *op, struct kv_copy *copies,
                    int *n_copies, struct err *e)
{
    if (op->session >= (uint32_t)v->m->max_sessions)
        return err_set(e, ERR_FAILED, "session %u does not exist; there are %d", op->session,
                       v->m->max_sessions);
    switch (op->kind) {
    case SESSION_TRUNCATE:
        if (op->pos >= (uint32_t)v->length[op->session])
            return 0;
        truncate_to(v, op->session, (int)op->pos);
        return own_last_page(v, op->session, copies, n_copies, e);
    case SESSION_FORK: {
        int rc = fork_session(v, op, e);
        return rc ? rc : own_last_page(v, op->session, copies, n_copies, e);
    }
    case SESSION_DROP:
        truncate_to(v, op->session, 0);
        return 0;
    }
    return err_set(e, ERR_FAILED, "session operation %u is unknown; the request is damaged",
                   op->kind);
}

static int append_token(struct timeline *v, const struct batch_token *t, struct err *e)
{
    if (t->session >= (uint32_t)v->m->max_sessions)
        return err_set(e, ERR_FAILED, "session %u does not exist; there are %d", t->session,
                       v->m->max_sessions);
    int32_t *length = &v->length[t->session];
    if (t->pos != (uint32_t)*length)
        return err_set(e, ERR_FAILED,
                       "session %u has %d tokens but the next one claims position %u; the request "
                       "is damaged",
                       t->session, *length, t->pos);
    if (*length == v->m->max_context)
        return err_set(e, ERR_NO_MEMORY,
                       "the context of %d tokens is full; use a larger --ctx or a shorter prompt",
                       v->m->max_context);
    if (*length % KV_PAGE_TOKENS == 0) {
        int32_t page = page_take(v);
        if (page < 0)
            return no_pages(e);
        pages_of(v, t->session)[*length / KV_PAGE_TOKENS] = page;
    }
    ++*length;
    return 0;
}

static int apply(struct timeline v, const struct batch *b, struct kv_copy *copies, int *n_copies,
                 struct err *e)
{
    if (b->n_tokens < 0 || b->n_tokens > BATCH_MAX_TOKENS || b->n_ops < 0 ||
        b->n_ops > BATCH_MAX_OPS)
        return err_set(e, ERR_FAILED, "a batch of %d tokens and %d operations is too large",
                       b->n_tokens, b->n_ops);
    for (int i = 0; i < b->n_ops; i++) {
        int rc = apply_op(&v, &b->ops[i], copies, n_copies, e);
        if (rc)
            return rc;
    }
    for (int i = 0; i < b->n_tokens; i++) {
        int rc = append_token(&v, &b->tokens[i], e);
        if (rc)
            return rc;
    }
    return 0;
}

int kv_admit(const struct kv_map *m, const struct batch *b, struct err *e)
{
    struct kv_copy copies[BATCH_MAX_OPS];
    int n_copies = 0;
    memcpy(m->shadow, m->state, m->state_ints * sizeof *m->state);
    return apply(view_of(m, m->shadow), b, copies, &n_copies, e);
}

int kv_apply(struct kv_map *m, const struct batch *b, struct kv_copy *copies)
{
    int n_copies = 0;
    CHECK(!apply(view_of(m, m->state), b, copies, &n_copies, NULL));
    return n_copies;
}
