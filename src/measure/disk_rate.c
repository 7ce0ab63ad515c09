// Reading a file against the clock: see disk_rate.h.
//
// The file is a row of stretches, of the size of what models stream at a time. Each way goes on
// with the stretch that the way before it came to, so that a disk's own memory serves nobody twice
// unless the file is small.
#include "measure/disk_rate.h"

#include "base/clock.h"
#include "disk/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 16, STRETCH = 4 << 20, HUGE_PAGE = 2 << 20 };

struct race {
    int fd;
    uint64_t size, n_stretches;
    uint64_t at;           // number of the stretch to come
    uint8_t *memory;       // (SLOTS, STRETCH)
    uint8_t *map;          // of the file: to ask what of it is cached; NULL: cannot be asked
    unsigned char *cached; // (pages of a stretch)
    size_t page;
    int64_t begins_ns; // no sooner than then
};

static uint64_t stretch_bytes(const struct race *c, uint64_t i)
{
    uint64_t left = c->size - i * STRETCH;
    return left < STRETCH ? left : STRETCH;
}

// Whether the page cache holds some of a stretch.
static bool is_cached(const struct race *c, uint64_t i)
{
    size_t size = (size_t)stretch_bytes(c, i), pages = (size + c->page - 1) / c->page;
    if (!c->map || mincore(c->map + i * STRETCH, size, c->cached))
        return false;
    for (size_t p = 0; p < pages; p++)
        if (c->cached[p] & 1)
            return true;
    return false;
}

// Others are told by mincore that everything is cached.
static bool may_know(const struct race *c)
{
    struct stat s;
    return geteuid() == 0 || (!fstat(c->fd, &s) && s.st_uid == geteuid());
}

// Starts a read of the next stretch that may be read. False: there is none.
static bool start_next(struct race *c, struct reader *r, struct read *q, bool uncached)
{
    for (uint64_t looked = 0; looked < c->n_stretches; looked++) {
        uint64_t i = c->at++ % c->n_stretches;
        if (uncached && is_cached(c, i))
            continue;
        q->offset = i * STRETCH;
        q->size = STRETCH;
        reader_start(r, q);
        return true;
    }
    return false;
}

static int say_failed(const struct read *q, struct err *e)
{
    if (!q->error)
        return err_set(e, ERR_FAILED, "the file became shorter while it was read; get it again");
    return err_set(e, ERR_FAILED, "the file cannot be read (%s); look whether the disk is in order",
                   strerror(q->error));
}

// Keeps SLOTS reads under way for `ns`, then waits for those that are.
static int read_for(struct race *c, struct reader *r, bool uncached, int64_t ns, struct err *e)
{
    struct read reads[SLOTS];
    int64_t end = clock_ns() + ns;
    int rc = 0, n = 0;
    for (int i = 0; i < SLOTS; i++)
        reads[i] = (struct read){.to = c->memory + (size_t)i * STRETCH};
    while (n < SLOTS && start_next(c, r, &reads[n], uncached))
        n++;
    for (int i = 0, left = n; left; i = (i + 1) % n) {
        struct read *q = &reads[i];
        enum read_state state = reader_wait(r, q);
        if (state == READ_IDLE)
            continue;
        if (state == READ_FAILED && !rc)
            rc = say_failed(q, e);
        atomic_store(&q->state, READ_IDLE);
        if (rc || clock_ns() >= end || !start_next(c, r, q, uncached))
            left--;
    }
    return rc;
}

static void wait_until(int64_t ns)
{
    int64_t left;
    while ((left = ns - clock_ns()) > 0)
        usleep((useconds_t)(left / 1000 + 1));
}

static int measure_way(struct race *c, enum reader_kind kind, int64_t ns, struct disk_rate *out,
                       struct err *e)
{
    struct disk_way *w = &out->ways[kind];
    struct reader *r;
    struct reader_options o = {.best = kind,
                               .fds = &c->fd,
                               .sizes = &c->size,
                               .n_files = 1,
                               .memory = c->memory,
                               .memory_bytes = (size_t)SLOTS * STRETCH};
    int rc = reader_open(&r, &o, e);
    if (rc)
        return rc;
    enum reader_kind came_to = reader_report(r).kind;
    if (kind == 0)
        out->chosen = came_to;
    reader_describe(r, w->how, sizeof w->how);
    if (came_to != kind) {
        snprintf(w->how, sizeof w->how, "not to be had here");
    } else {
        wait_until(c->begins_ns);
        int64_t began = clock_ns(), cpu = clock_thread_ns();
        rc = read_for(c, r, kind == READER_BUFFERED, ns, e);
        struct reader_report report = reader_report(r);
        double took = (double)(clock_ns() - began);
        cpu = clock_thread_ns() - cpu + report.cpu_ns;
        w->bytes = report.bytes;
        w->measured = report.bytes;
        if (w->measured) {
            w->gbps = (double)w->bytes / took;
            w->cpu_s_per_gb = (double)cpu / (double)w->bytes;
        } else {
            snprintf(w->how, sizeof w->how, "%s",
                     may_know(c) ? "the page cache holds the file"
                                 : "what is cached is told to the file's owner only");
        }
    }
    reader_close(r);
    return rc;
}

// All ways, or the best that there is.
static int measure_ways(struct disk_rate *out, int fd, uint64_t size, int64_t ns, bool best,
                        int64_t begins_ns, struct err *e)
{
    // Programs that measure the same file do not read the same part of it.
    uint64_t place = (uint64_t)getpid() * 0x9e3779b97f4a7c15u >> 32;
    struct race c = {.fd = fd,
                     .size = size,
                     .n_stretches = (size + STRETCH - 1) / STRETCH,
                     .at = place,
                     .begins_ns = begins_ns,
                     .page = (size_t)sysconf(_SC_PAGESIZE)};
    size_t bytes = (size_t)SLOTS * STRETCH;
    *out = (struct disk_rate){0};
    if (!size)
        return err_set(e, ERR_FAILED, "the file is empty, there is nothing to measure");
    void *memory =
        mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    c.cached = malloc(STRETCH / c.page);
    if (memory == MAP_FAILED || !c.cached) {
        free(c.cached);
        if (memory != MAP_FAILED)
            munmap(memory, bytes + HUGE_PAGE);
        return err_set(e, ERR_NO_MEMORY, "no memory to measure how fast the disk is");
    }
    c.memory = (uint8_t *)memory + (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
    madvise(c.memory, bytes, MADV_HUGEPAGE); // a hint
    memset(c.memory, 1, bytes);              // what is measured is not the making of pages
    c.map = size <= SIZE_MAX ? disk_io->map(fd, (size_t)size, 0) : NULL;
    int rc = 0;
    for (int kind = 0; kind < READER_KINDS && !rc; kind++) {
        rc = measure_way(&c, (enum reader_kind)kind, ns, out, e);
        if (best && out->ways[kind].measured)
            break;
    }
    if (c.map)
        disk_io->unmap(c.map, (size_t)size);
    munmap(memory, bytes + HUGE_PAGE);
    free(c.cached);
    return rc;
}

int disk_rate_measure(struct disk_rate *out, int fd, uint64_t size, int64_t ns, struct err *e)
{
    return measure_ways(out, fd, size, ns, false, 0, e);
}

static int measure_best(struct disk_way *out, int fd, uint64_t size, int64_t ns, int64_t begins_ns,
                        struct err *e)
{
    struct disk_rate rate;
    int rc = measure_ways(&rate, fd, size, ns, true, begins_ns, e);
    *out = rate.ways[rate.chosen];
    return rc;
}

int disk_rate_of_models(struct disk_way *out, int fd, uint64_t size, int64_t ns, struct err *e)
{
    return measure_best(out, fd, size, ns, 0, e);
}

// The clock is the same for all programs of a machine: they meet at its next half second that
// leaves time to get ready.
int disk_rate_together(struct disk_way *out, int fd, uint64_t size, int64_t ns, struct err *e)
{
    const int64_t period = 500000000, ready = 250000000;
    int64_t begins = (clock_ns() + ready + period - 1) / period * period;
    return measure_best(out, fd, size, ns, begins, e);
}
