// Weights as read-only mappings of the model's files. A piece is a tensor; its address is fixed
// from opening to closing, so acquiring it never blocks and being done with it is nothing to do.
#include "base/err.h"
#include "disk/io.h"
#include "weights/weights.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct weights {
    const struct gguf *g;
    int n_parts;
    struct part {
        uint8_t *base; // NULL: not mapped
        size_t size;
    } * parts;
};

static int map_part(struct part *p, const struct gguf *g, int part, struct err *e)
{
    const char *path = gguf_part_path(g, part);
    int fd = gguf_part_fd(g, part);
    uint64_t size = gguf_part_size(g, part);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: only its headers are in memory; open the file", path);
    // A mapping of a file that shrank would kill the process when touched.
    if (disk_io->size(fd) != (int64_t)size)
        return err_set(e, ERR_FAILED, "%s: the file changed since it was opened; start again",
                       path);
    p->base = disk_io->map(fd, (size_t)size, 0);
    if (!p->base)
        return err_errno(e, ERR_NO_MEMORY, "%s: cannot be mapped into memory", path);
    p->size = (size_t)size;
    return 0;
}

int weights_open(struct weights **out, const struct gguf *g, struct err *e)
{
    int n = gguf_n_parts(g), rc = 0;
    struct weights *w = calloc(1, sizeof *w);
    if (w)
        w->parts = calloc((size_t)n, sizeof *w->parts);
    if (!w || !w->parts) {
        weights_free(w);
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    }
    w->g = g;
    w->n_parts = n;
    for (int i = 0; i < n && !rc; i++)
        rc = map_part(&w->parts[i], g, i, e);
    if (rc) {
        weights_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void weights_free(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n_parts; i++)
        if (w->parts[i].base)
            disk_io->unmap(w->parts[i].base, w->parts[i].size);
    free(w->parts);
    free(w);
}

static const uint8_t *acquire(void *ctx, uint32_t piece, enum layout *layout, struct err *e)
{
    const struct weights *w = ctx;
    (void)e; // what is mapped is there
    *layout = LAYOUT_ROWS;
    const struct gguf_tensor *t = gguf_tensor_at(w->g, piece);
    return w->parts[t->part].base + t->offset;
}

static void done(void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece; // a mapping stays
}

struct piece_source weights_source(struct weights *w)
{
    return (struct piece_source){.ctx = w, .acquire = acquire, .done = done};
}

void weights_need(struct weights *w, uint32_t piece)
{
    const struct gguf_tensor *t = gguf_tensor_at(w->g, piece);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = t->offset & ~(page - 1);
    // Only a hint: a system that does not take it reads on demand.
    disk_io->advise(w->parts[t->part].base + from, (size_t)(t->offset + t->size - from),
                    MADV_WILLNEED);
}
