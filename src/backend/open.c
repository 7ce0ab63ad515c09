// Opening a device, and its buffers. The CPU is the only device so far: a thread pool, a kernel
// table and plain memory.
#include "backend/cpu/cpu.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int pin_threads(struct backend *b, enum pin pin, struct err *e)
{
    const struct cores *c = cores_here();
    bool choice = b->n_threads <= c->n_able && b->n_threads < c->n;
    if (pin == PIN_OFF || (pin == PIN_AUTO && !choice))
        return 0;
    if (pins_take(&b->pins, "", c, pin == PIN_AUTO ? c->n_able : c->n, b->n_threads))
        pool_pin(b->pool, b->pins.cpu, pin == PIN_ON);
    else if (pin == PIN_ON)
        return err_set(e, ERR_USAGE,
                       "cannot keep %d threads on processors of their own: this program may use "
                       "%d, and other Rondos may hold some; ask for fewer with --threads, or "
                       "leave out --pin",
                       b->n_threads, c->n);
    return 0;
}

int backend_open_cpu(struct backend **out, const struct backend_options *o, struct err *e)
{
    int n_threads = o->n_threads ? o->n_threads : pool_default_threads();
    enum isa isa = o->isa == ISA_COUNT ? isa_detect() : o->isa;
    if (n_threads < 1 || n_threads > POOL_MAX_THREADS)
        return err_set(e, ERR_USAGE, "%d threads are not possible; ask for 1 to %d", n_threads,
                       POOL_MAX_THREADS);
    if (!isa_has(isa))
        return err_set(e, ERR_USAGE, "this machine has no %s; the best it has is %s", isa_name(isa),
                       isa_name(isa_detect()));
    struct backend *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(e, ERR_NO_MEMORY, "no memory for the compute device");
    b->n_threads = n_threads;
    b->kernels = kernels_for(isa);
    b->observer = o->observer;
    b->pool = pool_new(n_threads);
    if (!b->pool) {
        free(b);
        return err_set(e, ERR_NO_MEMORY,
                       "cannot start %d compute threads; ask for fewer with "
                       "--threads",
                       n_threads);
    }
    int rc = pin_threads(b, o->pin, e);
    if (rc) {
        backend_free(b);
        return rc;
    }
    snprintf(b->description, sizeof b->description, "cpu %s, %d thread%s%s", b->kernels->isa,
             n_threads, n_threads == 1 ? "" : "s", b->pins.n ? ", pinned" : "");
    *out = b;
    return 0;
}

void backend_free(struct backend *b)
{
    if (!b)
        return;
    pool_free(b->pool);
    pins_drop(&b->pins);
    free(b);
}

const char *backend_describe(const struct backend *b)
{
    return b->description;
}

const struct kernels *backend_kernels(const struct backend *b)
{
    return b->kernels;
}

int backend_threads(const struct backend *b)
{
    return b->n_threads;
}

void backend_stop_when(struct backend *b, bool (*stop)(void))
{
    b->stop = stop;
}

void backend_share(struct backend *b, void (*fn)(void *arg, int thread), void *arg)
{
    pool_share(b->pool, fn, arg);
}

void backend_count_progress(struct backend *b, _Atomic uint64_t *counter)
{
    b->progress = counter;
}

void backend_count_work(struct backend *b, _Atomic int64_t *ns)
{
    b->work_ns = ns;
}

int buf_new(struct buf **out, struct backend *b, size_t size, const char *name, struct err *e)
{
    (void)b; // memory of the CPU belongs to nobody
    struct buf *u = calloc(1, sizeof *u);
    if (!u || arena_init(&u->memory, size)) {
        free(u);
        return err_set(e, ERR_NO_MEMORY,
                       "the system refuses %.1f MiB for %s; use a smaller context"
                       " or free memory",
                       (double)size / (1 << 20), name);
    }
    u->size = size;
    *out = u;
    return 0;
}

void buf_free(struct buf *u)
{
    if (!u)
        return;
    arena_fini(&u->memory);
    free(u);
}

size_t buf_size(const struct buf *u)
{
    return u->size;
}

static uint8_t *span(const struct buf *u, size_t offset, size_t size)
{
    CHECK(offset <= u->size && size <= u->size - offset);
    return u->memory.base + offset;
}

void buf_write(struct buf *u, size_t offset, const void *data, size_t size)
{
    memcpy(span(u, offset, size), data, size);
}

void buf_read(const struct buf *u, size_t offset, void *data, size_t size)
{
    memcpy(data, span(u, offset, size), size);
}

void buf_copy(struct buf *u, size_t to, size_t from, size_t size)
{
    memcpy(span(u, to, size), span(u, from, size), size);
}

void *buf_host(struct buf *u)
{
    return u->memory.base;
}
