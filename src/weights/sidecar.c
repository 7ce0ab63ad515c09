// Reading sidecars, and the key that ties one to its model.
#include "weights/sidecar.h"

#include "base/arith.h"
#include "base/bytes.h"
#include "disk/io.h"
#include "disk/mapped.h"
#include "disk/stamp.h"
#include "kernels/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- key and place -----------------------------------------------------------------------------

int sidecar_path(char out[SIDECAR_PATH_BYTES], const struct gguf *g, struct err *e)
{
    int n = snprintf(out, SIDECAR_PATH_BYTES, "%s.lanes", gguf_part_path(g, 0));
    if (n < 0 || n >= SIDECAR_PATH_BYTES)
        return err_set(e, ERR_FAILED, "the path of the model is too long");
    return 0;
}

static void add_u64(struct digest_state *s, uint64_t v)
{
    digest_add(s, &v, sizeof v);
}

static int add_tensor(struct digest_state *s, const struct gguf *g, const struct gguf_tensor *t,
                      struct err *e)
{
    uint8_t sample[SIDECAR_PAGE];
    size_t n = t->size < sizeof sample ? (size_t)t->size : sizeof sample;
    add_u64(s, t->name.length);
    digest_add(s, t->name.text, t->name.length);
    add_u64(s, t->type);
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        add_u64(s, t->dims[i]);
    add_u64(s, (uint64_t)t->part);
    add_u64(s, t->offset);
    int64_t at = (int64_t)(t->offset + (t->size - n) / 2);
    if (disk_read_full(gguf_part_fd(g, t->part), sample, n, at))
        return err_errno(e, ERR_FAILED, "%s: cannot be read", gguf_part_path(g, t->part));
    digest_add(s, sample, n);
    return 0;
}

int sidecar_key(const struct gguf *g, struct digest *out, struct err *e)
{
    struct digest_state *s = digest_begin();
    struct digest metadata = gguf_metadata_digest(g);
    int rc = 0;
    digest_add(s, &metadata, sizeof metadata);
    for (size_t i = 0; i < gguf_n_tensors(g) && !rc; i++)
        rc = add_tensor(s, g, gguf_tensor_at(g, i), e);
    *out = digest_end(s);
    return rc;
}

// ---- parsing -----------------------------------------------------------------------------------

static int damaged(struct err *e, const char *what)
{
    return err_set(e, ERR_FAILED, "it is damaged: %s", what);
}

static int parse_piece(struct cursor *c, uint64_t file_bytes, uint64_t tables_end,
                       struct sidecar_piece *p, struct err *e)
{
    p->piece = cursor_u32(c);
    p->type = cursor_u32(c);
    p->n_rows = cursor_u64(c);
    p->row_bytes = cursor_u64(c);
    p->offset = cursor_u64(c);
    p->bytes = cursor_u64(c);
    const uint8_t *digest = cursor_take(c, DIGEST_BYTES);
    size_t bytes;
    if (!digest)
        return damaged(e, "its table is cut off");
    memcpy(p->digest.bytes, digest, DIGEST_BYTES);
    if (!lanes_can(p->type))
        return damaged(e, "a matrix of a type that has no lane form");
    if (!p->n_rows || p->n_rows > SIZE_MAX - LANE_ROWS ||
        !size_mul(lanes_rows((size_t)p->n_rows), (size_t)p->row_bytes, &bytes) || bytes != p->bytes)
        return damaged(e, "a matrix whose size is not that of its rows");
    if (p->offset % SIDECAR_PAGE || p->offset < tables_end || p->offset > file_bytes ||
        p->bytes > file_bytes - p->offset)
        return damaged(e, "a matrix that lies outside of the file");
    return 0;
}

int sidecar_parse(const void *data, size_t size, uint64_t file_bytes, struct sidecar_piece *pieces,
                  size_t capacity, size_t *n_pieces, struct digest *key, struct err *e)
{
    struct cursor c = cursor_of(data, size);
    const uint8_t *magic = cursor_take(&c, 8);
    uint32_t version = cursor_u32(&c), rows = cursor_u32(&c), n = cursor_u32(&c);
    cursor_u32(&c);
    uint64_t bytes = cursor_u64(&c);
    const uint8_t *model = cursor_take(&c, DIGEST_BYTES), *table = cursor_take(&c, DIGEST_BYTES);
    if (!table || memcmp(magic, "RONDLANE", 8))
        return err_set(e, ERR_FAILED, "it is no sidecar");
    if (version != SIDECAR_VERSION || rows != LANE_ROWS)
        return err_set(e, ERR_FAILED, "another version of Rondo wrote it (%u, this one has %d)",
                       (unsigned)version, SIDECAR_VERSION);
    if (bytes != file_bytes)
        return damaged(e, "it is not as long as it was written");
    if (n > capacity)
        return damaged(e, "it has more matrices than the model");
    uint64_t table_bytes = (uint64_t)n * SIDECAR_ENTRY_BYTES;
    if (size < SIDECAR_PAGE || table_bytes > size - SIDECAR_PAGE)
        return damaged(e, "its table is cut off");
    const uint8_t *entries = (const uint8_t *)data + SIDECAR_PAGE;
    struct digest found = digest_of(entries, (size_t)table_bytes);
    if (memcmp(found.bytes, table, DIGEST_BYTES))
        return damaged(e, "its table has another digest");
    c = cursor_of(entries, (size_t)table_bytes);
    for (uint32_t i = 0; i < n; i++)
        if (parse_piece(&c, file_bytes, SIDECAR_PAGE + table_bytes, &pieces[i], e))
            return ERR_FAILED;
    memcpy(key->bytes, model, DIGEST_BYTES);
    *n_pieces = n;
    return 0;
}

// ---- opening -----------------------------------------------------------------------------------

struct sidecar {
    char path[SIDECAR_PATH_BYTES];
    int fd;
    struct disk_stamp stamp;
    struct mapped file;
    size_t n_pieces;
    struct sidecar_piece *pieces;
    uint32_t *by_number; // (gguf_n_pieces) 1 + index in pieces; 0: not in there
};

static int same_tensor(const struct gguf *g, const struct sidecar_piece *p, struct err *e)
{
    size_t row_bytes;
    if (p->piece >= gguf_n_pieces(g))
        return damaged(e, "a matrix that the model does not have");
    const struct gguf_tensor *t = gguf_piece_at(g, p->piece).tensor;
    if (t->type != p->type || t->dims[1] != p->n_rows ||
        !wtype_row_bytes(t->type, t->dims[0], &row_bytes) || row_bytes != p->row_bytes)
        return damaged(e, "a matrix that is not like the model's");
    return 0;
}

static int map_file(struct sidecar *s, struct err *e)
{
    s->fd = disk_io->open(s->path, O_RDONLY, 0);
    if (s->fd < 0)
        return errno == ENOENT ? 1 : err_errno(e, ERR_FAILED, "it cannot be opened");
    if (stamp_take(&s->stamp, s->fd))
        return err_errno(e, ERR_FAILED, "its size cannot be read");
    if (s->stamp.bytes < SIDECAR_PAGE)
        return damaged(e, "it is shorter than its header");
    return mapped_open(&s->file, s->fd, (uint64_t)s->stamp.bytes, "the file", e);
}

static int check(struct sidecar *s, const struct gguf *g, struct err *e)
{
    struct digest key, model;
    size_t capacity = gguf_n_pieces(g);
    s->pieces = calloc(capacity + 1, sizeof *s->pieces);
    s->by_number = calloc(capacity + 1, sizeof *s->by_number);
    if (!s->pieces || !s->by_number)
        return err_set(e, ERR_NO_MEMORY, "there is no memory for its table");
    int rc = sidecar_parse(s->file.base, s->file.size, s->file.size, s->pieces, capacity,
                           &s->n_pieces, &key, e);
    if (!rc)
        rc = sidecar_key(g, &model, e);
    if (!rc && memcmp(key.bytes, model.bytes, DIGEST_BYTES))
        rc = err_set(e, ERR_FAILED,
                     "it was made of another model, or of this one before it changed");
    for (size_t i = 0; i < s->n_pieces && !rc; i++) {
        rc = same_tensor(g, &s->pieces[i], e);
        if (!rc)
            s->by_number[s->pieces[i].piece] = (uint32_t)i + 1;
    }
    return rc;
}

struct sidecar *sidecar_open(const struct gguf *g, struct err *e)
{
    struct err why = {0};
    struct sidecar *s = calloc(1, sizeof *s);
    int rc = s ? sidecar_path(s->path, g, &why) : 1;
    if (s)
        s->fd = -1;
    if (!rc)
        rc = map_file(s, &why);
    if (!rc)
        rc = check(s, g, &why);
    if (!rc)
        return s;
    if (why.code)
        err_set(e, why.code, "%s is not used: %s; remove it and run rondo prepack again", s->path,
                why.text);
    sidecar_close(s);
    return NULL;
}

void sidecar_close(struct sidecar *s)
{
    if (!s)
        return;
    mapped_close(&s->file);
    if (s->fd >= 0)
        disk_io->close(s->fd);
    free(s->pieces);
    free(s->by_number);
    free(s);
}

const uint8_t *sidecar_find(const struct sidecar *s, uint32_t piece, uint64_t bytes)
{
    uint32_t at = s->by_number[piece];
    return at && s->pieces[at - 1].bytes == bytes ? s->file.base + s->pieces[at - 1].offset : NULL;
}

int sidecar_check(const struct sidecar *s, struct err *e)
{
    static const char cure[] = "remove it, run rondo prepack again and start again";
    int rc = stamp_check(&s->stamp, s->fd, s->path, cure, e);
    return rc ? rc : mapped_check(&s->file, s->path, cure, e);
}

bool sidecar_offset(const struct sidecar *s, uint32_t piece, uint64_t bytes, uint64_t *out)
{
    const uint8_t *at = sidecar_find(s, piece, bytes);
    if (at)
        *out = (uint64_t)(at - s->file.base);
    return at;
}

const char *sidecar_name(const struct sidecar *s)
{
    return s->path;
}

int sidecar_fd(const struct sidecar *s, uint64_t *file_size)
{
    *file_size = (uint64_t)s->stamp.bytes;
    return s->fd;
}

int sidecar_verify(const struct sidecar *s, struct err *e)
{
    for (size_t i = 0; i < s->n_pieces; i++) {
        const struct sidecar_piece *p = &s->pieces[i];
        struct digest found = digest_of(s->file.base + p->offset, (size_t)p->bytes);
        if (memcmp(&found, &p->digest, sizeof found))
            return err_set(e, ERR_FAILED,
                           "%s: matrix %zu of %zu is damaged; remove the file and write it again",
                           s->path, i + 1, s->n_pieces);
    }
    return sidecar_check(s, e);
}
