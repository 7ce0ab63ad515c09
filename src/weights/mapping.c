// Mapping all files of a model, each as one stretch of memory.
#include "weights/mapping.h"

#include "disk/io.h"
#include "disk/mapped.h"
#include "weights/prefetch.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

struct mapping {
    const struct gguf *g;
    int n_parts;
    struct mapped parts[]; // (n_parts)
};

static int map_part(struct mapped *m, const struct gguf *g, int part, struct err *e)
{
    const char *path = gguf_part_path(g, part);
    int fd = gguf_part_fd(g, part);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: only its headers are in memory; open the file", path);
    return mapped_open(m, fd, gguf_part_size(g, part), path, e);
}

int mapping_open(struct mapping **out, const struct gguf *g, struct err *e)
{
    int n = gguf_n_parts(g), rc = gguf_unchanged(g, e);
    if (rc)
        return rc;
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
        mapped_close(&m->parts[i]);
    free(m);
}

int mapping_check(const struct mapping *m, struct err *e)
{
    int rc = gguf_unchanged(m->g, e);
    for (int i = 0; i < m->n_parts && !rc; i++)
        rc = mapped_check(&m->parts[i], gguf_part_path(m->g, i), "start again", e);
    return rc;
}

const uint8_t *mapping_rows(const struct mapping *m, uint32_t piece)
{
    struct gguf_piece p = gguf_piece_at(m->g, piece);
    return m->parts[p.tensor->part].base + p.offset;
}

// `bytes` of a piece from `from` on.
static void advise(const struct mapping *m, uint32_t piece, uint64_t from, uint64_t bytes,
                   int advice, bool whole)
{
    struct gguf_piece p = gguf_piece_at(m->g, piece);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = p.offset + from;
    uint64_t end = begin + bytes;
    if (whole) {
        begin = (begin + page - 1) & ~(page - 1);
        end &= ~(page - 1);
    }
    begin &= ~(page - 1);
    if (begin < end)
        disk_io->advise(m->parts[p.tensor->part].base + begin, (size_t)(end - begin), advice);
}

void mapping_advise(const struct mapping *m, uint32_t piece, int advice, bool whole)
{
    advise(m, piece, 0, gguf_piece_at(m->g, piece).size, advice, whole);
}

static void read_ahead(void *arg, uint32_t piece, uint64_t from, uint64_t bytes)
{
    advise(arg, piece, from, bytes, MADV_WILLNEED, false);
}

// Blocks that came from disk, and faults that waited for a disk or a server that counts no blocks.
static uint64_t reads(void *arg)
{
    struct rusage used;
    (void)arg;
    return getrusage(RUSAGE_SELF, &used) ? 0 : (uint64_t)(used.ru_inblock + used.ru_majflt);
}

void mapping_prefetch(const struct mapping *m, struct prefetch *p, uint32_t piece)
{
    struct prefetch_calls calls = {.ask = read_ahead, .reads = reads, .arg = (void *)(uintptr_t)m};
    prefetch_use(p, piece, &calls);
}
