// Writing sidecars: matrices are turned a stretch at a time into one aligned buffer, and whole
// pages of it go to the file; the header and the table come last, so that a file without them is
// none.
#include "base/arith.h"
#include "base/bytes.h"
#include "base/check.h"
#include "disk/io.h"
#include "kernels/lanes.h"
#include "weights/mapping.h"
#include "weights/sidecar.h"
#include "weights/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STRETCH_BYTES = 16 << 20 };

struct writer {
    const struct sidecar_plan *plan;
    struct backend *backend;
    const char *path;
    char temporary[SIDECAR_PATH_BYTES + 32];
    int fd;
    uint8_t *buffer; // whole pages
    size_t capacity, held;
    uint64_t written; // bytes of the file
    uint8_t *tables;  // header and table
    size_t tables_bytes;
};

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + SIDECAR_PAGE - 1) / SIDECAR_PAGE * SIDECAR_PAGE;
}

static struct sidecar_piece piece_of(const struct sidecar_plan *p, size_t i)
{
    const struct gguf_tensor *t = gguf_piece_at(p->g, p->pieces[i]).tensor;
    struct sidecar_piece piece = {.piece = p->pieces[i], .type = t->type, .n_rows = t->dims[1]};
    size_t row_bytes = 0;
    CHECK(lanes_can(t->type) && wtype_row_bytes(t->type, t->dims[0], &row_bytes));
    piece.row_bytes = row_bytes;
    piece.bytes = lanes_rows((size_t)t->dims[1]) * row_bytes; // the rows are a file's, and fit
    return piece;
}

static uint64_t tables_bytes(const struct sidecar_plan *p)
{
    return SIDECAR_PAGE + whole_pages((uint64_t)p->n_pieces * SIDECAR_ENTRY_BYTES);
}

uint64_t sidecar_bytes(const struct sidecar_plan *p)
{
    uint64_t bytes = tables_bytes(p);
    for (size_t i = 0; i < p->n_pieces; i++) {
        uint64_t piece = whole_pages(piece_of(p, i).bytes);
        if (piece > INT64_MAX - bytes)
            return 0;
        bytes += piece;
    }
    return bytes;
}

// ---- pages -------------------------------------------------------------------------------------

static int write_error(struct writer *w, struct err *e)
{
    if (errno == ENOSPC)
        return err_set(e, ERR_FAILED, "%s: the disk is full; nothing was left behind", w->path);
    return err_errno(e, ERR_FAILED, "%s: cannot be written", w->path);
}

// Past the page cache where the file system can; some find out only when they are to write.
static int write_pages(struct writer *w, const uint8_t *data, size_t size, uint64_t at,
                       struct err *e)
{
    if (!disk_write_full(w->fd, data, size, (int64_t)at))
        return 0;
    int flags = fcntl(w->fd, F_GETFL);
    if (errno != EINVAL || flags < 0 || !(flags & O_DIRECT) ||
        fcntl(w->fd, F_SETFL, flags & ~O_DIRECT) || disk_write_full(w->fd, data, size, (int64_t)at))
        return write_error(w, e);
    return 0;
}

// Writes the whole pages that are held; `all`: and the last one, filled up with zeros.
static int flush(struct writer *w, bool all, struct err *e)
{
    if (all) {
        size_t end = (size_t)whole_pages(w->held);
        memset(w->buffer + w->held, 0, end - w->held);
        w->held = end;
    }
    size_t size = w->held / SIDECAR_PAGE * SIDECAR_PAGE;
    if (size && write_pages(w, w->buffer, size, w->written, e))
        return ERR_FAILED;
    w->written += size;
    w->held -= size;
    memmove(w->buffer, w->buffer + size, w->held);
    if (w->plan->told && !w->plan->told(w->plan->arg, w->written))
        return err_set(e, ERR_FAILED, "%s: interrupted; nothing was left behind", w->path);
    return 0;
}

static int write_piece(struct writer *w, struct sidecar_piece *piece, const uint8_t *rows,
                       struct err *e)
{
    uint64_t groups = lanes_rows((size_t)piece->n_rows) / LANE_ROWS, group_bytes;
    uint64_t step = STRETCH_BYTES / (LANE_ROWS * piece->row_bytes);
    struct digest_state *sum = digest_begin();
    int rc = 0;
    group_bytes = LANE_ROWS * piece->row_bytes;
    step = step ? step : 1;
    piece->offset = w->written;
    for (uint64_t group = 0; group < groups && !rc; group += step) {
        uint64_t row = group * LANE_ROWS, n = piece->n_rows - row;
        n = n < step * LANE_ROWS ? n : step * LANE_ROWS;
        size_t size = (size_t)((n + LANE_ROWS - 1) / LANE_ROWS * group_bytes);
        struct turn_matrix m = {.type = piece->type,
                                .rows = rows + row * piece->row_bytes,
                                .lanes = w->buffer + w->held,
                                .n_rows = n,
                                .row_bytes = (size_t)piece->row_bytes};
        turn_run(&(struct turn){.matrices = &m, .n_matrices = 1}, w->backend);
        digest_add(sum, m.lanes, size);
        w->held += size;
        rc = flush(w, group + step >= groups, e);
    }
    piece->digest = digest_end(sum);
    return rc;
}

// ---- the file ----------------------------------------------------------------------------------

static void put_piece(uint8_t *at, const struct sidecar_piece *p)
{
    store_u32(at, p->piece);
    store_u32(at + 4, p->type);
    store_u64(at + 8, p->n_rows);
    store_u64(at + 16, p->row_bytes);
    store_u64(at + 24, p->offset);
    store_u64(at + 32, p->bytes);
    memcpy(at + 40, p->digest.bytes, DIGEST_BYTES);
}

static int write_tables(struct writer *w, struct err *e)
{
    size_t entries = w->plan->n_pieces * SIDECAR_ENTRY_BYTES;
    struct digest key, table = digest_of(w->tables + SIDECAR_PAGE, entries);
    if (sidecar_key(w->plan->g, &key, e))
        return ERR_FAILED;
    memcpy(w->tables, "RONDLANE", 8);
    store_u32(w->tables + 8, SIDECAR_VERSION);
    store_u32(w->tables + 12, LANE_ROWS);
    store_u32(w->tables + 16, (uint32_t)w->plan->n_pieces);
    store_u64(w->tables + 24, w->written);
    memcpy(w->tables + 32, key.bytes, DIGEST_BYTES);
    memcpy(w->tables + 32 + DIGEST_BYTES, table.bytes, DIGEST_BYTES);
    return write_pages(w, w->tables, w->tables_bytes, 0, e);
}

static int open_temporary(struct writer *w, struct err *e)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL;
    for (int i = 0; i < 100; i++) {
        snprintf(w->temporary, sizeof w->temporary, "%s.%d-%d.part", w->path, (int)getpid(), i);
        w->fd = disk_io->open(w->temporary, flags | O_DIRECT, 0644);
        if (w->fd < 0 && errno == EINVAL) { // this file system has no direct writing
            disk_io->unlink(w->temporary);
            w->fd = disk_io->open(w->temporary, flags, 0644);
        }
        if (w->fd >= 0 || errno != EEXIST)
            break;
    }
    if (w->fd < 0)
        return err_errno(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "%s: cannot be written",
                         w->path);
    return 0;
}

static void *pages_new(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static int allocate(struct writer *w, struct err *e)
{
    uint64_t group = 0;
    for (size_t i = 0; i < w->plan->n_pieces; i++) {
        uint64_t bytes = LANE_ROWS * piece_of(w->plan, i).row_bytes;
        group = bytes > group ? bytes : group;
    }
    w->capacity = (size_t)whole_pages(STRETCH_BYTES + group + 2 * SIDECAR_PAGE);
    w->tables_bytes = (size_t)tables_bytes(w->plan);
    w->buffer = pages_new(w->capacity);
    w->tables = pages_new(w->tables_bytes);
    return w->buffer && w->tables ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to turn matrices in");
}

static int write_all(struct writer *w, struct err *e)
{
    int rc = 0;
    w->written = w->tables_bytes;
    for (size_t i = 0; i < w->plan->n_pieces && !rc; i++) {
        struct sidecar_piece piece = piece_of(w->plan, i);
        rc = write_piece(w, &piece, w->plan->rows[i], e);
        put_piece(w->tables + SIDECAR_PAGE + i * SIDECAR_ENTRY_BYTES, &piece);
    }
    if (!rc)
        rc = write_tables(w, e);
    if (!rc && disk_io->fsync(w->fd))
        rc = write_error(w, e);
    if (disk_io->close(w->fd) && !rc)
        rc = write_error(w, e);
    if (!rc)
        rc = mapping_check(w->plan->mapping, e);
    if (!rc && disk_io->rename(w->temporary, w->path))
        rc = write_error(w, e);
    if (rc)
        disk_io->unlink(w->temporary);
    return rc;
}

int sidecar_write(const struct sidecar_plan *p, struct backend *b, const char *path, struct err *e)
{
    struct writer w = {.plan = p, .backend = b, .path = path, .fd = -1};
    int rc = allocate(&w, e);
    if (!rc)
        rc = open_temporary(&w, e);
    if (!rc)
        rc = write_all(&w, e);
    if (w.buffer)
        munmap(w.buffer, w.capacity);
    if (w.tables)
        munmap(w.tables, w.tables_bytes);
    return rc;
}
