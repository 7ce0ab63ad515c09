// Mapping all files of a model, each as one stretch of memory.
#include "weights/mapping.h"

#include "disk/io.h"

#include <stdlib.h>
#include <unistd.h>

struct mapping {
    const struct gguf *g;
    int n_parts;
    struct mapped_part {
        uint8_t *base; // NULL: not mapped
        size_t size;
    } parts[]; // (n_parts)
};

static int map_part(struct mapped_part *p, const struct gguf *g, int part, struct err *e)
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

int mapping_open(struct mapping **out, const struct gguf *g, struct err *e)
{
    int n = gguf_n_parts(g), rc = 0;
    struct mapping *m = calloc(1, sizeof *m + (size_t)n * sizeof *m->parts);
    if (!m)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of the model's files");
    m->g = g;
    m->n_parts = n;
    for (int i = 0; i < n && !rc; i++)
        rc = map_part(&m->parts[i], g, i, e);
    if (rc)
        mapping_free(m);
    else
        *out = m;
    return rc;
}

void mapping_free(struct mapping *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n_parts; i++)
        if (m->parts[i].base)
            disk_io->unmap(m->parts[i].base, m->parts[i].size);
    free(m);
}

const uint8_t *mapping_rows(const struct mapping *m, uint32_t piece)
{
    struct gguf_piece p = gguf_piece_at(m->g, piece);
    return m->parts[p.tensor->part].base + p.offset;
}

void mapping_advise(const struct mapping *m, uint32_t piece, int advice, bool whole)
{
    struct gguf_piece p = gguf_piece_at(m->g, piece);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = p.offset & ~(page - 1);
    uint64_t to = p.offset + p.size;
    if (whole) {
        from = (p.offset + page - 1) & ~(page - 1);
        to &= ~(page - 1);
    }
    if (from < to)
        disk_io->advise(m->parts[p.tensor->part].base + from, (size_t)(to - from), advice);
}
