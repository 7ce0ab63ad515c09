// Writing GGUF files: see writer.h.
//
// Keys and tensor records gather in two growing buffers; the first byte of tensor data fixes the
// layout and sends them out. Data passes through one buffer of 1 MiB, large pieces go straight to
// the file, so that a writer's memory does not depend on the size of the model.
#include "gguf/writer.h"

#include "base/arith.h"
#include "base/bytes.h"
#include "base/check.h"
#include "disk/io.h"
#include "gguf/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITER_BUFFER_BYTES = 1 << 20, WRITER_VERSION = 3, WRITER_OPEN_TRIES = 100 };

struct text { // growing bytes
    uint8_t *data;
    size_t size, capacity;
};

struct gguf_writer {
    char *path, *temporary; // heap
    int fd;
    struct err e; // the first error; nothing is written after it
    struct text keys, tensors;
    uint64_t n_keys, n_tensors;
    uint64_t data_bytes;                 // of all declared tensors, padding between them included
    uint64_t *sizes;                     // heap, (n_tensors)
    uint64_t current, current_done, pos; // tensor being written, its bytes so far; place in file
    bool declared;                       // no more keys and tensors: data has begun
    uint8_t *buffer;
    size_t buffered;
};

static const uint8_t zeros[GGUF_DEFAULT_ALIGNMENT];

static void no_memory(struct gguf_writer *w)
{
    err_set(&w->e, ERR_NO_MEMORY, "%s: no memory to write it", w->path);
}

static void append(struct gguf_writer *w, struct text *t, const void *data, size_t size)
{
    size_t end;
    if (w->e.code)
        return;
    if (!size_add(t->size, size, &end)) {
        no_memory(w);
        return;
    }
    if (end > t->capacity) {
        size_t capacity = t->capacity ? t->capacity : 4096;
        while (capacity < end && size_mul(capacity, 2, &capacity))
            ;
        uint8_t *grown = capacity < end ? NULL : realloc(t->data, capacity);
        if (!grown) {
            no_memory(w);
            return;
        }
        t->data = grown;
        t->capacity = capacity;
    }
    if (size)
        memcpy(t->data + t->size, data, size);
    t->size = end;
}

static void append_u32(struct gguf_writer *w, struct text *t, uint32_t v)
{
    append(w, t, &v, sizeof v);
}

static void append_u64(struct gguf_writer *w, struct text *t, uint64_t v)
{
    append(w, t, &v, sizeof v);
}

static void append_string(struct gguf_writer *w, struct text *t, const char *s, size_t length)
{
    append_u64(w, t, length);
    append(w, t, s, length);
}

// ---- keys --------------------------------------------------------------------------------------

static void begin_key(struct gguf_writer *w, const char *name, size_t length, enum gguf_type type)
{
    CHECK(!w->declared && length > 0 && length < GGUF_MAX_KEY_BYTES);
    append_string(w, &w->keys, name, length);
    append_u32(w, &w->keys, type);
    w->n_keys++;
}

static void put_value(struct gguf_writer *w, const char *name, enum gguf_type type,
                      const void *value)
{
    begin_key(w, name, strlen(name), type);
    append(w, &w->keys, value, key_type_size(type));
}

static void begin_array(struct gguf_writer *w, const char *name, enum gguf_type element, size_t n)
{
    begin_key(w, name, strlen(name), GGUF_ARRAY);
    append_u32(w, &w->keys, element);
    append_u64(w, &w->keys, n);
}

void gguf_put_u32(struct gguf_writer *w, const char *name, uint32_t value)
{
    put_value(w, name, GGUF_U32, &value);
}

void gguf_put_u64(struct gguf_writer *w, const char *name, uint64_t value)
{
    put_value(w, name, GGUF_U64, &value);
}

void gguf_put_f32(struct gguf_writer *w, const char *name, float value)
{
    put_value(w, name, GGUF_F32, &value);
}

void gguf_put_bool(struct gguf_writer *w, const char *name, bool value)
{
    put_value(w, name, GGUF_BOOL, &(uint8_t){value});
}

void gguf_put_string(struct gguf_writer *w, const char *name, const char *text, size_t length)
{
    begin_key(w, name, strlen(name), GGUF_STRING);
    append_string(w, &w->keys, text, length);
}

void gguf_put_strings(struct gguf_writer *w, const char *name, const struct gguf_string *s,
                      size_t n)
{
    begin_array(w, name, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        append_string(w, &w->keys, s[i].text, s[i].length);
}

void gguf_put_f32s(struct gguf_writer *w, const char *name, const float *values, size_t n)
{
    begin_array(w, name, GGUF_F32, n);
    append(w, &w->keys, values, n * sizeof *values);
}

void gguf_put_i32s(struct gguf_writer *w, const char *name, const int32_t *values, size_t n)
{
    begin_array(w, name, GGUF_I32, n);
    append(w, &w->keys, values, n * sizeof *values);
}

void gguf_put_key(struct gguf_writer *w, const struct gguf_key *k)
{
    begin_key(w, k->name.text, k->name.length, k->type);
    if (k->type == GGUF_ARRAY) {
        append_u32(w, &w->keys, k->element);
        append_u64(w, &w->keys, k->count);
    }
    append(w, &w->keys, k->data, k->size);
}

// ---- tensors -----------------------------------------------------------------------------------

void gguf_declare(struct gguf_writer *w, const char *name, uint32_t type, int n_dims,
                  const uint64_t *dims)
{
    size_t length = strlen(name), size = 0, end = 0;
    CHECK(!w->declared && length > 0 && length <= GGUF_MAX_NAME_BYTES);
    CHECK(n_dims >= 1 && n_dims <= GGUF_MAX_DIMS);
    bool fits = wtype_row_bytes(type, dims[0], &size);
    for (int i = 1; i < n_dims; i++)
        fits = fits && size_mul(size, dims[i], &size);
    CHECK(fits && size > 0);
    append_string(w, &w->tensors, name, length);
    append_u32(w, &w->tensors, (uint32_t)n_dims);
    append(w, &w->tensors, dims, (size_t)n_dims * sizeof *dims);
    append_u32(w, &w->tensors, type);
    append_u64(w, &w->tensors, w->data_bytes);
    CHECK(size_add(w->data_bytes, size, &end) && size_align(end, GGUF_DEFAULT_ALIGNMENT, &end));
    uint64_t *grown = realloc(w->sizes, (w->n_tensors + 1) * sizeof *grown);
    if (!grown) {
        no_memory(w);
        return;
    }
    w->sizes = grown;
    w->sizes[w->n_tensors++] = size;
    w->data_bytes = end;
}

// ---- bytes -------------------------------------------------------------------------------------

static void store(struct gguf_writer *w, const void *data, size_t size)
{
    if (!w->e.code && disk_write_full(w->fd, data, size, (int64_t)w->pos))
        err_errno(&w->e, ERR_FAILED, "%s: cannot be written", w->path);
    w->pos += size;
}

static void flush(struct gguf_writer *w)
{
    store(w, w->buffer, w->buffered);
    w->buffered = 0;
}

static void emit(struct gguf_writer *w, const void *data, size_t size)
{
    if (w->e.code)
        return;
    if (size > WRITER_BUFFER_BYTES - w->buffered)
        flush(w);
    if (size > WRITER_BUFFER_BYTES) {
        store(w, data, size);
    } else if (size) {
        memcpy(w->buffer + w->buffered, data, size);
        w->buffered += size;
    }
}

// Zeros up to the next multiple of the alignment.
static void pad(struct gguf_writer *w)
{
    emit(w, zeros, -(w->pos + w->buffered) % GGUF_DEFAULT_ALIGNMENT);
}

// The header; after it only data may come.
static void end_declarations(struct gguf_writer *w)
{
    uint32_t version = WRITER_VERSION;
    w->declared = true;
    emit(w, "GGUF", 4);
    emit(w, &version, sizeof version);
    emit(w, &w->n_tensors, sizeof w->n_tensors);
    emit(w, &w->n_keys, sizeof w->n_keys);
    emit(w, w->keys.data, w->keys.size);
    emit(w, w->tensors.data, w->tensors.size);
    pad(w);
}

void gguf_write(struct gguf_writer *w, const void *data, size_t size)
{
    if (!w->declared)
        end_declarations(w);
    const uint8_t *at = data;
    while (size && !w->e.code) {
        CHECK(w->current < w->n_tensors); // else: more data than was declared
        uint64_t left = w->sizes[w->current] - w->current_done;
        size_t now = size < left ? size : (size_t)left;
        emit(w, at, now);
        at += now;
        size -= now;
        w->current_done += now;
        if (w->current_done == w->sizes[w->current]) {
            pad(w);
            w->current++;
            w->current_done = 0;
        }
    }
}

// ---- the file ----------------------------------------------------------------------------------

// A name of its own beside the final one, in the same file system so that it can be renamed.
static int open_temporary(struct gguf_writer *w, struct err *e)
{
    for (int i = 0; i < WRITER_OPEN_TRIES && w->fd < 0; i++) {
        free(w->temporary);
        if (asprintf(&w->temporary, "%s.%d-%d.part", w->path, (int)getpid(), i) < 0) {
            w->temporary = NULL;
            return err_set(e, ERR_NO_MEMORY, "%s: no memory to write it", w->path);
        }
        w->fd = disk_io->open(w->temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (w->fd < 0 && errno != EEXIST)
            break;
    }
    if (w->fd >= 0)
        return 0;
    int code = errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_FAILED;
    err_errno(e, code, "%s: cannot be created", w->temporary);
    free(w->temporary);
    w->temporary = NULL;
    return code;
}

int gguf_writer_open(struct gguf_writer **out, const char *path, struct err *e)
{
    int rc;
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NO_MEMORY, "no memory to write a model");
    w->fd = -1;
    const char *name = path ? path : "a model without a file";
    w->path = strdup(name);
    w->buffer = malloc(WRITER_BUFFER_BYTES);
    if (w->path && w->buffer)
        rc = path ? open_temporary(w, e) : 0;
    else
        rc = err_set(e, ERR_NO_MEMORY, "%s: no memory to write it", name);
    if (rc)
        gguf_writer_free(w);
    else
        *out = w;
    return rc;
}

int gguf_writer_parse(struct gguf_writer *w, const char *name, struct gguf **out, struct err *e)
{
    struct text head = {0};
    uint32_t version = WRITER_VERSION;
    uint64_t need;
    append(w, &head, "GGUF", 4);
    append_u32(w, &head, version);
    append_u64(w, &head, w->n_tensors);
    append_u64(w, &head, w->n_keys);
    append(w, &head, w->keys.data, w->keys.size);
    append(w, &head, w->tensors.data, w->tensors.size);
    append(w, &head, zeros, -head.size % GGUF_DEFAULT_ALIGNMENT);
    int rc = gguf_writer_failed(w, e);
    if (!rc)
        rc = gguf_parse(out, head.data, head.size, head.size + w->data_bytes, name, &need, e);
    CHECK(rc <= 0); // else: a header that says it is longer than it is
    free(head.data);
    return rc;
}

int gguf_writer_failed(const struct gguf_writer *w, struct err *e)
{
    return w->e.code ? err_set(e, w->e.code, "%s", w->e.text) : 0;
}

int gguf_writer_finish(struct gguf_writer *w, struct err *e)
{
    if (!w->declared)
        end_declarations(w);
    CHECK(w->e.code || w->current == w->n_tensors); // else: less data than was declared
    flush(w);
    if (!w->e.code && disk_io->fsync(w->fd))
        err_errno(&w->e, ERR_FAILED, "%s: cannot be written", w->path);
    if (w->fd >= 0 && disk_io->close(w->fd))
        err_errno(&w->e, ERR_FAILED, "%s: cannot be written", w->path);
    w->fd = -1;
    if (!w->e.code && disk_io->rename(w->temporary, w->path))
        err_errno(&w->e, ERR_FAILED, "%s: the finished file cannot be given its name", w->path);
    if (w->e.code)
        return gguf_writer_failed(w, e);
    free(w->temporary);
    w->temporary = NULL;
    return 0;
}

void gguf_writer_free(struct gguf_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        disk_io->close(w->fd);
    if (w->temporary)
        disk_io->unlink(w->temporary);
    free(w->temporary);
    free(w->path);
    free(w->keys.data);
    free(w->tensors.data);
    free(w->sizes);
    free(w->buffer);
    free(w);
}
