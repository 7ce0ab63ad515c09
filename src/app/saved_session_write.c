// Writing the files of conversations (saved_session.h): sections first, the header last, into a
// file beside the place, which then takes it.
#include "app/saved_session.h"

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/check.h"
#include "cluster/identity.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_LIMIT = 64 };

struct writer {
    const char *path;
    char temporary[SAVED_PATH_BYTES];
    int fd;
    uint64_t at;
};

static int write_error(const struct writer *w, struct err *e)
{
    if (errno == ENOSPC)
        return err_set(e, ERR_FAILED, "%s: the disk is full; what was there before is untouched",
                       w->path);
    return err_errno(e,
                     errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_FAILED,
                     "%s: cannot be written", w->path);
}

static int open_temporary(struct writer *w, const char *path, struct err *e)
{
    w->path = path;
    for (int i = 0; i < 100; i++) {
        int n = snprintf(w->temporary, sizeof w->temporary, "%s.%ld-%d", path, (long)getpid(), i);
        if (n < 0 || n >= (int)sizeof w->temporary)
            return err_set(e, ERR_USAGE, "the name of the session's file is too long");
        w->fd = disk_io->open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (w->fd >= 0)
            return 0;
        if (errno != EEXIST)
            return write_error(w, e);
    }
    return err_set(e, ERR_FAILED, "files that begin with %s. are in the way; delete them", path);
}

static int append(struct writer *w, const void *data, size_t size, struct err *e)
{
    if (disk_write_full(w->fd, data, size, (int64_t)w->at))
        return write_error(w, e);
    w->at += size;
    return 0;
}

static int write_pages(struct writer *w, const struct saved_contents *c, struct saved_header *h,
                       struct err *e)
{
    struct digest_state *sum;
    void *page = malloc(c->page_bytes + 1);
    int rc = 0;
    if (!page)
        return err_set(e, ERR_NO_MEMORY, "no memory to save the session");
    sum = digest_begin();
    for (uint64_t i = 0; i < h->n_pages && !rc; i++) {
        c->read_page(c->arg, (size_t)i, page);
        digest_add(sum, page, c->page_bytes);
        rc = append(w, page, c->page_bytes, e);
    }
    h->pages = digest_end(sum);
    free(page);
    return rc;
}

static uint8_t *put_digest(uint8_t *at, const struct digest *d)
{
    memcpy(at, d->bytes, DIGEST_BYTES);
    return at + DIGEST_BYTES;
}

static int write_header(struct writer *w, const struct saved_header *h, struct err *e)
{
    uint8_t out[SAVED_HEADER_BYTES] = "RONDOSES", *at = out + 48;
    store_u32(out + 8, SAVED_VERSION);
    store_u32(out + 12, h->kv_type);
    store_u64(out + 16, h->text_bytes);
    store_u64(out + 24, h->n_tokens);
    store_u64(out + 32, h->page_bytes);
    store_u64(out + 40, h->n_pages);
    at = put_digest(at, &h->model);
    at = put_digest(at, &h->kind);
    at = put_digest(at, &h->text);
    at = put_digest(at, &h->tokens);
    at = put_digest(at, &h->pages);
    struct digest own = digest_of(out, (size_t)(at - out));
    at = put_digest(at, &own);
    CHECK(at == out + sizeof out);
    return disk_write_full(w->fd, out, sizeof out, 0) ? write_error(w, e) : 0;
}

static int write_sections(struct writer *w, const struct saved_contents *c, struct err *e)
{
    char *text = json_dumps(c->text, JSON_COMPACT);
    size_t tokens = c->n_tokens * sizeof *c->tokens;
    int rc = 0;
    if (!text)
        return err_set(e, ERR_NO_MEMORY, "no memory to save the session");
    struct saved_header h = {
        .kv_type = c->kv_type,
        .text_bytes = strlen(text),
        .n_tokens = c->n_tokens,
        .page_bytes = c->page_bytes,
        .n_pages = c->page_bytes ? (c->n_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS : 0,
        .model = c->model,
        .kind = c->kind,
        .text = digest_of(text, strlen(text)),
        .tokens = digest_of(c->tokens, tokens),
    };
    if (h.text_bytes > SAVED_MAX_TEXT_BYTES)
        rc =
            err_set(e, ERR_FAILED, "the conversation has more than %d MiB of text and is not saved",
                    SAVED_MAX_TEXT_BYTES >> 20);
    w->at = SAVED_HEADER_BYTES;
    if (!rc)
        rc = append(w, text, (size_t)h.text_bytes, e);
    if (!rc && tokens)
        rc = append(w, c->tokens, tokens, e);
    if (!rc)
        rc = write_pages(w, c, &h, e);
    if (!rc)
        rc = write_header(w, &h, e);
    free(text);
    return rc;
}

// A rename is on the disk when its folder is. A file system that cannot say so loses nothing.
static void sync_folder(const char *path)
{
    char copy[SAVED_PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = disk_io->open(dirname(copy), O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0) {
        disk_io->fsync(fd);
        disk_io->close(fd);
    }
}

int saved_can_write(const char *path, struct err *e)
{
    char copy[SAVED_PATH_BYTES];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy - NAME_LIMIT)
        return err_set(e, ERR_USAGE, "the name of the session's file is too long");
    struct writer w = {.path = path};
    return access(dirname(copy), W_OK | X_OK) ? write_error(&w, e) : 0;
}

int saved_write(const char *path, const struct saved_contents *c, struct err *e)
{
    struct writer w = {.fd = -1};
    int rc = open_temporary(&w, path, e);
    if (rc)
        return rc;
    rc = write_sections(&w, c, e);
    if (!rc && disk_io->fsync(w.fd))
        rc = write_error(&w, e);
    if (disk_io->close(w.fd) && !rc)
        rc = write_error(&w, e);
    if (!rc && disk_io->rename(w.temporary, path))
        rc = write_error(&w, e);
    if (rc)
        disk_io->unlink(w.temporary);
    else
        sync_folder(path);
    return rc;
}

int saved_path(char out[SAVED_PATH_BYTES], const char *name, struct err *e)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char folder[IDENTITY_PATH];
    size_t length = strlen(name);
    if (!length || length > NAME_LIMIT || *name == '.' || strspn(name, allowed) != length)
        return err_set(e, ERR_USAGE,
                       "a session's name has 1 to %d letters, digits and the signs . _ - and does "
                       "not begin with a full stop",
                       NAME_LIMIT);
    int rc = identity_folder(folder, e);
    if (rc)
        return rc;
    int n = snprintf(out, SAVED_PATH_BYTES, "%s/sessions", folder);
    if (n < SAVED_PATH_BYTES && mkdir(out, 0700) && errno != EEXIST)
        return err_errno(e, ERR_FAILED, "cannot make the folder %s", out);
    n = snprintf(out, SAVED_PATH_BYTES, "%s/sessions/%s.session", folder, name);
    if (n >= SAVED_PATH_BYTES)
        return err_set(e, ERR_USAGE, "the name of the state folder is too long");
    return 0;
}
