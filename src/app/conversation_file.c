// Keeping a conversation, and going on with one that was kept (conversation.h, saved_session.h).
#include "app/conversation_state.h"
#include "app/printable.h"
#include "app/progress.h"
#include "app/saved_session.h"
#include "kernels/kv_chunk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// By which a conversation's tokens and cache know their model: hyper-parameters, vocabulary and all
// layers, as the nodes of a ring compare them.
static int know_model(struct conversation *c, struct err *e)
{
    const struct model *m = c->loaded->model;
    if (c->has_model)
        return 0;
    struct digest one = model_digest(m);
    struct digest_state *all = digest_begin();
    int rc = 0, n_layers = model_hparams(m)->n_layers;
    digest_add(all, one.bytes, sizeof one.bytes);
    for (int i = 0; i <= n_layers && !rc; i++) {
        rc = model_layer_digest(m, i, &one, e);
        digest_add(all, one.bytes, sizeof one.bytes);
    }
    c->model = digest_end(all);
    c->has_model = !rc;
    return rc;
}

// ---- saving ------------------------------------------------------------------------------------

// JSON has no room for bytes that are no UTF-8.
static json_t *json_of(const char *text, size_t n)
{
    size_t length;
    char *valid = printable_utf8(text, n, &length);
    json_t *json = valid ? json_stringn(valid, length) : NULL;
    free(valid);
    return json;
}

static json_t *clean_messages(const struct conversation *c)
{
    json_t *out = json_array(), *m;
    size_t i;
    json_array_foreach(c->messages, i, m)
    {
        const char *key;
        json_t *value, *copy = json_object();
        json_object_foreach(m, key, value)
        {
            json_object_set_new(copy, key,
                                json_is_string(value)
                                    ? json_of(json_string_value(value), json_string_length(value))
                                    : json_deep_copy(value));
        }
        json_array_append_new(out, copy);
    }
    return out;
}

static json_t *text_of(const struct conversation *c)
{
    const char *name = model_hparams(c->loaded->model)->name;
    json_t *json = json_object();
    if (c->chat)
        json_object_set_new(json, "messages", clean_messages(c));
    else
        json_object_set_new(json, "text", json_of(c->text.n ? c->text.bytes : "", c->text.n));
    if (c->system)
        json_object_set_new(json, "system", json_of(c->system, strlen(c->system)));
    json_object_set_new(json, "model", json_of(name, strlen(name)));
    return json;
}

struct pages {
    struct conversation *c;
    struct saved_reader *r; // of loading
    struct progress progress;
    size_t bytes, n;
};

static void progress_page(struct pages *p, size_t index)
{
    progress_set(&p->progress, ((index + 1) * p->bytes) >> 20, (p->n * p->bytes) >> 20);
}

static void give_page(void *arg, size_t index, void *page)
{
    struct pages *p = arg;
    session_read_page(p->c->session, index, page);
    progress_page(p, index);
}

int conversation_save(struct conversation *c, const char *path, struct err *e)
{
    struct pages p = {.c = c};
    struct saved_contents s = {
        .kv_type = (uint32_t)c->kv_type,
        .tokens = c->held.id,
        .n_tokens = c->held.n,
        .read_page = give_page,
        .arg = &p,
    };
    int rc = know_model(c, e);
    if (rc)
        return rc;
    if (session_page_bytes(c->session) && session_length(c->session) == c->held.n) {
        s.page_bytes = p.bytes = session_page_bytes(c->session);
        s.kind = session_page_kind(c->session);
    }
    p.n = (c->held.n + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    s.model = c->model;
    s.text = text_of(c);
    progress_start(&p.progress, "saving the session", "MiB");
    rc = saved_write(path, &s, e);
    progress_end(&p.progress);
    json_decref((json_t *)s.text);
    return rc;
}

// ---- loading -----------------------------------------------------------------------------------

__attribute__((format(printf, 2, 3))) static void note(struct conversation_found *f,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->note, sizeof f->note, format, args);
    va_end(args);
}

static int take_words(struct conversation *c, const struct saved_reader *r, struct err *e)
{
    json_t *messages = json_object_get(r->text, "messages");
    const json_t *text = json_object_get(r->text, "text");
    const char *system = json_string_value(json_object_get(r->text, "system"));
    if ((c->chat != NULL) != (messages != NULL))
        return err_set(e, ERR_USAGE,
                       messages
                           ? "%s: is a conversation, and here plain text is continued; load it "
                             "with a model that converses, and without --raw"
                           : "%s: is plain text that a model continued, and here is a "
                             "conversation; load it in a run with --raw",
                       r->name);
    struct conversation_text kept = {0};
    char *copy = system ? strdup(system) : NULL;
    if ((system && !copy) ||
        !conversation_append(&kept, json_string_value(text), json_string_length(text))) {
        free(copy);
        return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    }
    conversation_clear(c);
    if (messages) {
        json_decref(c->messages);
        c->messages = json_incref(messages);
    }
    free(c->text.bytes);
    c->text = kept;
    free(c->system);
    c->system = copy;
    return 0;
}

static int take_page(void *arg, size_t index, void *page, struct err *e)
{
    struct pages *p = arg;
    progress_page(p, index);
    return saved_read_page(p->r, index, page, e);
}

static bool same_kind(const struct conversation *c, const struct saved_header *h)
{
    struct digest kind = session_page_kind(c->session);
    return !memcmp(kind.bytes, h->kind.bytes, DIGEST_BYTES);
}

// Why the pages of this file are of no use here; false: they are.
static bool unfit(const struct conversation *c, const struct saved_header *h,
                  struct conversation_found *f)
{
    size_t page_bytes = session_page_bytes(c->session);
    if (!h->n_pages)
        note(f, "it was saved without its cache, as the head of a ring does");
    else if (!page_bytes)
        note(f, "in a ring the cache lies on all its machines");
    else if (h->kv_type != (uint32_t)c->kv_type)
        note(f, "its cache is of another type than %s; --kv chooses it", kv_type_name(c->kv_type));
    else if (h->n_tokens > conversation_room(c))
        note(f, "its %llu tokens are more than the context of %zu; --ctx enlarges it",
             (unsigned long long)h->n_tokens, conversation_room(c));
    else if (h->page_bytes != page_bytes || !same_kind(c, h))
        note(f, "another version of rondo wrote its cache, or one with a --ctx for which the model "
                "turns its keys otherwise");
    else
        return false;
    return true;
}

static void take_pages(struct conversation *c, struct saved_reader *r, struct conversation_found *f)
{
    struct pages p = {.c = c, .r = r, .bytes = (size_t)r->header.page_bytes};
    struct err why = {0};
    void *page = malloc(p.bytes);
    p.n = (size_t)r->header.n_pages;
    int rc = page ? 0 : err_set(&why, ERR_NO_MEMORY, "no memory for a page of the cache");
    progress_start(&p.progress, "loading the session", "MiB");
    if (!rc)
        rc = session_restore(c->session, c->held.id, c->held.n, take_page, &p, page, &why);
    progress_end(&p.progress);
    free(page);
    if (rc)
        note(f, "%s", why.text);
    else
        f->n_tokens = c->held.n;
}

// Tokens that the vocabulary does not have must not get to it.
static bool take_tokens(struct conversation *c, struct saved_reader *r, struct err *e)
{
    if (saved_read_tokens(r, e))
        return false;
    for (size_t i = 0; i < r->header.n_tokens; i++) {
        if (r->tokens[i] < 0 || r->tokens[i] >= vocab_size(c->loaded->vocab)) {
            c->held.n = 0;
            err_set(e, ERR_FAILED, "%s: token %d is none of the model's; the file is damaged",
                    r->name, r->tokens[i]);
            return false;
        }
        ids_push(&c->held, r->tokens[i]);
    }
    return true;
}

// Tokens and cache, as far as they are of use: the words alone are a conversation too.
static void take_state(struct conversation *c, struct saved_reader *r, struct conversation_found *f)
{
    struct err why = {0};
    if (memcmp(c->model.bytes, r->header.model.bytes, DIGEST_BYTES)) {
        char name[80] = "";
        const json_t *model = json_object_get(r->text, "model");
        if (model)
            err_quote(name, sizeof name, json_string_value(model), (int)json_string_length(model));
        note(f, "it was saved with another model%s%s", *name ? ", " : "", name);
        f->other_model = true;
    } else if (!take_tokens(c, r, &why)) {
        note(f, "%s", why.text);
    } else if (c->held.n && !unfit(c, &r->header, f)) {
        take_pages(c, r, f);
    }
}

int conversation_load(struct conversation *c, const char *path, struct conversation_found *found,
                      struct err *e)
{
    struct saved_reader *r;
    *found = (struct conversation_found){0};
    int rc = saved_open(&r, path, e);
    if (rc)
        return rc;
    rc = know_model(c, e);
    if (!rc)
        rc = take_words(c, r, e);
    if (!rc)
        take_state(c, r, found);
    saved_close(r);
    return rc;
}
