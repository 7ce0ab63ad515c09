// Reading the files of conversations: see saved_session.h.
#include "app/saved_session.h"

#include "backend/backend.h"
#include "base/arith.h"
#include "base/bytes.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_DIGEST_AT = SAVED_HEADER_BYTES - DIGEST_BYTES };

// ---- the header --------------------------------------------------------------------------------

static int damaged(const char *name, const char *what, struct err *e)
{
    return err_set(e, ERR_FAILED, "%s: %s; the file is damaged", name, what);
}

static void take_digest(struct cursor *c, struct digest *out)
{
    const uint8_t *p = cursor_take(c, DIGEST_BYTES);
    if (p)
        memcpy(out->bytes, p, DIGEST_BYTES);
}

// Whether the sections that the header tells of are what the file has behind it.
static bool sizes_fit(const struct saved_header *h, uint64_t file_bytes)
{
    uint64_t tokens, pages, all;
    uint64_t whole = (h->n_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    if (h->text_bytes > SAVED_MAX_TEXT_BYTES || h->n_tokens > SAVED_MAX_TOKENS ||
        h->page_bytes > SAVED_MAX_PAGE_BYTES || (h->n_pages && h->n_pages != whole) ||
        (h->n_pages && !h->page_bytes))
        return false;
    tokens = h->n_tokens * sizeof(int32_t); // these are limited
    return size_mul((size_t)h->n_pages, (size_t)h->page_bytes, &pages) &&
           size_add((size_t)(SAVED_HEADER_BYTES + h->text_bytes + tokens), (size_t)pages, &all) &&
           all == file_bytes;
}

int saved_parse(const void *data, size_t size, uint64_t file_bytes, const char *name,
                struct saved_header *out, struct err *e)
{
    struct cursor c = cursor_of(data, size);
    struct saved_header h = {0};
    struct digest own, told = {0};
    const uint8_t *magic = cursor_take(&c, 8);
    if (!magic || memcmp(magic, "RONDOSES", 8))
        return err_set(e, ERR_FAILED, "%s: not a saved session", name);
    uint32_t version = cursor_u32(&c);
    if (!c.bad && version != SAVED_VERSION)
        return err_set(e, ERR_FAILED,
                       "%s: a saved session of version %u, and this rondo reads version %d; use "
                       "the rondo that wrote it",
                       name, version, SAVED_VERSION);
    h.kv_type = cursor_u32(&c);
    h.text_bytes = cursor_u64(&c);
    h.n_tokens = cursor_u64(&c);
    h.page_bytes = cursor_u64(&c);
    h.n_pages = cursor_u64(&c);
    take_digest(&c, &h.model);
    take_digest(&c, &h.kind);
    take_digest(&c, &h.text);
    take_digest(&c, &h.tokens);
    take_digest(&c, &h.pages);
    take_digest(&c, &told);
    if (c.bad)
        return damaged(name, "it ends inside its header", e);
    own = digest_of(data, HEADER_DIGEST_AT);
    if (memcmp(own.bytes, told.bytes, DIGEST_BYTES))
        return damaged(name, "its header is not what was written", e);
    if (!sizes_fit(&h, file_bytes))
        return damaged(name, "its size is not what its header says", e);
    *out = h;
    return 0;
}

// ---- the text ----------------------------------------------------------------------------------

static bool is_text_or_absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_string(value);
}

static bool is_message(const json_t *m)
{
    const json_t *content = json_object_get(m, "content");
    return json_is_string(json_object_get(m, "role")) &&
           (json_is_string(content) || json_is_null(content)) &&
           is_text_or_absent(m, "reasoning_content");
}

int saved_parse_text(const char *text, size_t size, const char *name, json_t **out, struct err *e)
{
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *messages = json_object_get(json, "messages"), *message;
    size_t i;
    bool good = json_is_object(json) && is_text_or_absent(json, "model") &&
                is_text_or_absent(json, "system") && is_text_or_absent(json, "text") &&
                json_is_array(messages) != json_is_string(json_object_get(json, "text"));
    json_array_foreach(messages, i, message)
    {
        good = good && is_message(message);
    }
    if (!good) {
        json_decref(json);
        return damaged(name, "its text is not that of a conversation", e);
    }
    *out = json;
    return 0;
}

// ---- reading -----------------------------------------------------------------------------------

static int read_at(struct saved_reader *r, void *out, size_t size, uint64_t at, struct err *e)
{
    if (!disk_read_full(r->fd, out, size, (int64_t)at))
        return 0;
    if (errno)
        return err_errno(e, ERR_FAILED, "%s: cannot be read", r->name);
    return damaged(r->name, "it became shorter", e);
}

// A section, malloc'd with a NUL behind it, whose digest fits.
static int read_section(struct saved_reader *r, uint64_t at, size_t size, const struct digest *want,
                        const char *what, void **out, struct err *e)
{
    char *p = malloc(size + 1);
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory for %s", r->name);
    int rc = read_at(r, p, size, at, e);
    struct digest got = digest_of(p, rc ? 0 : size);
    if (!rc && memcmp(got.bytes, want->bytes, DIGEST_BYTES))
        rc = damaged(r->name, what, e);
    if (rc) {
        free(p);
        return rc;
    }
    p[size] = 0;
    *out = p;
    return 0;
}

static int open_parts(struct saved_reader *r, struct err *e)
{
    uint8_t header[SAVED_HEADER_BYTES];
    int64_t size = disk_io->size(r->fd);
    if (size < 0)
        return err_errno(e, ERR_FAILED, "%s: cannot be read", r->name);
    size_t n = size < SAVED_HEADER_BYTES ? (size_t)size : SAVED_HEADER_BYTES;
    int rc = read_at(r, header, n, 0, e);
    if (!rc)
        rc = saved_parse(header, n, (uint64_t)size, r->name, &r->header, e);
    void *text = NULL;
    if (!rc)
        rc = read_section(r, SAVED_HEADER_BYTES, (size_t)r->header.text_bytes, &r->header.text,
                          "its text is not what was written", &text, e);
    if (!rc)
        rc = saved_parse_text(text, (size_t)r->header.text_bytes, r->name, &r->text, e);
    free(text);
    return rc;
}

int saved_open(struct saved_reader **out, const char *path, struct err *e)
{
    *out = NULL;
    int fd = disk_io->open(path, O_RDONLY, 0);
    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0)
        return err_errno(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "%s: cannot be opened",
                         path);
    struct saved_reader *r = calloc(1, sizeof *r);
    if (!r) {
        disk_io->close(fd);
        return err_set(e, ERR_NO_MEMORY, "no memory for %s", path);
    }
    r->fd = fd;
    snprintf(r->name, sizeof r->name, "%s", path);
    int rc = open_parts(r, e);
    if (rc) {
        saved_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

int saved_read_tokens(struct saved_reader *r, struct err *e)
{
    void *tokens;
    int rc = read_section(r, SAVED_HEADER_BYTES + r->header.text_bytes,
                          (size_t)r->header.n_tokens * sizeof *r->tokens, &r->header.tokens,
                          "its tokens are not what was written", &tokens, e);
    if (!rc)
        r->tokens = tokens;
    return rc;
}

int saved_read_page(struct saved_reader *r, size_t index, void *page, struct err *e)
{
    const struct saved_header *h = &r->header;
    uint64_t first = SAVED_HEADER_BYTES + h->text_bytes + h->n_tokens * sizeof(int32_t);
    int rc = read_at(r, page, (size_t)h->page_bytes, first + index * h->page_bytes, e);
    if (rc)
        return rc;
    if (!r->pages)
        r->pages = digest_begin();
    digest_add(r->pages, page, (size_t)h->page_bytes);
    if (index + 1 < h->n_pages)
        return 0;
    struct digest got = digest_end(r->pages);
    r->pages = NULL;
    if (memcmp(got.bytes, h->pages.bytes, DIGEST_BYTES))
        return damaged(r->name, "its cache is not what was written", e);
    return 0;
}

void saved_close(struct saved_reader *r)
{
    if (!r)
        return;
    if (r->pages)
        (void)digest_end(r->pages);
    json_decref(r->text);
    free(r->tokens);
    disk_io->close(r->fd);
    free(r);
}
