// Memory bandwidth: see dram.h.
//
// Every pass reads the whole buffer once, front to back, as kernels read weights. Of the passes of
// one reading the best counts, because what another program takes away is not the machine's limit.
#include "measure/dram.h"

#include "base/clock.h"
#include "base/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CACHE_TIMES = 4, // the buffer is that many times the last cache
    PASSES = 4,      // of one reading
};
static const size_t min_bytes = (size_t)256 << 20, max_bytes = (size_t)1 << 30;

// 64 bytes at once: a vector of the compiler, whatever the machine has.
typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

struct dram {
    struct pool *pool;
    uint8_t *data;
    size_t bytes;
    uint64_t sums[POOL_MAX_THREADS]; // so that reading is not optimised away
};

static void read_stretch(void *arg, int thread)
{
    struct dram *r = arg;
    size_t n = r->bytes / sizeof(lanes), threads = (size_t)pool_threads(r->pool),
           t = (size_t)thread;
    const lanes *at = (const lanes *)r->data + n * t / threads;
    const lanes *end = (const lanes *)r->data + n * (t + 1) / threads;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (; end - at >= 4; at += 4) {
        a ^= at[0];
        b ^= at[1];
        c ^= at[2];
        d ^= at[3];
    }
    a ^= b ^ c ^ d;
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++)
        sum ^= a[i];
    r->sums[t] ^= sum;
}

static size_t choose_bytes(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE), pages = sysconf(_SC_AVPHYS_PAGES);
    size_t bytes = cache > 0 ? (size_t)cache * CACHE_TIMES : min_bytes;
    size_t available = pages > 0 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : max_bytes;
    bytes = bytes < min_bytes ? min_bytes : bytes > max_bytes ? max_bytes : bytes;
    return bytes < available / 2 ? bytes : available / 2;
}

int dram_open(struct dram **out, int n_threads, size_t bytes, struct err *e)
{
    struct dram *d = calloc(1, sizeof *d);
    *out = NULL;
    if (d) {
        d->bytes = (bytes ? bytes : choose_bytes()) / sizeof(lanes) * sizeof(lanes);
        d->pool = pool_new(n_threads ? n_threads : pool_default_threads());
    }
    void *data = d && d->pool && d->bytes ? mmap(NULL, d->bytes, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                          : MAP_FAILED;
    if (data == MAP_FAILED) {
        dram_close(d);
        return err_set(e, ERR_NO_MEMORY, "no memory to measure how fast memory is");
    }
    d->data = memset(data, 0x5a, d->bytes); // real pages, not the zero page
    *out = d;
    return 0;
}

void dram_close(struct dram *d)
{
    if (!d)
        return;
    if (d->data)
        munmap(d->data, d->bytes);
    pool_free(d->pool);
    free(d);
}

int dram_threads(const struct dram *d)
{
    return pool_threads(d->pool);
}

size_t dram_bytes(const struct dram *d)
{
    return d->bytes;
}

double dram_read_gbps(struct dram *d)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < PASSES; i++) {
        int64_t before = clock_ns();
        pool_run(d->pool, read_stretch, d);
        int64_t took = clock_ns() - before;
        best = took < best ? took : best;
    }
    return (double)d->bytes / (double)(best > 0 ? best : 1);
}
