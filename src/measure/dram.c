// Memory bandwidth: see dram.h.
//
// Every pass reads the whole buffer once, front to back, as kernels read weights. The first pass is
// left out; of the others the best counts, because what a busy machine takes away is not the
// machine's limit.
#include "measure/dram.h"

#include "base/clock.h"
#include "base/pool.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CACHE_TIMES = 4, // the buffer is that many times the last cache
    MIN_PASSES = 3,
    MAX_PASSES = 50,
};
static const size_t min_bytes = (size_t)256 << 20, max_bytes = (size_t)1 << 30;
static const int64_t duration_ns = 500000000;

// 64 bytes at once: a vector of the compiler, whatever the machine has.
typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

struct reading {
    const uint8_t *data;
    size_t bytes; // of the buffer
    int n_threads;
    uint64_t sums[POOL_MAX_THREADS]; // so that reading is not optimised away
};

static void read_stretch(void *arg, int thread)
{
    struct reading *r = arg;
    size_t n = r->bytes / sizeof(lanes), threads = (size_t)r->n_threads, t = (size_t)thread;
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

int dram_measure(struct dram_figures *out, int n_threads, size_t bytes, struct err *e)
{
    struct reading r = {.bytes = (bytes ? bytes : choose_bytes()) / sizeof(lanes) * sizeof(lanes)};
    struct pool *pool = pool_new(n_threads ? n_threads : pool_default_threads());
    void *data =
        r.bytes ? mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                : MAP_FAILED;
    *out = (struct dram_figures){0};
    if (!pool || data == MAP_FAILED) {
        pool_free(pool);
        if (data != MAP_FAILED)
            munmap(data, r.bytes);
        return err_set(e, ERR_NO_MEMORY, "no memory to measure how fast memory is");
    }
    memset(data, 0x5a, r.bytes); // real pages, not the zero page
    r.data = data;
    r.n_threads = pool_threads(pool);
    int64_t start = clock_ns(), best = INT64_MAX;
    int n = 0;
    for (; n <= MIN_PASSES || (n < MAX_PASSES && clock_ns() - start < duration_ns); n++) {
        int64_t before = clock_ns();
        pool_run(pool, read_stretch, &r);
        int64_t took = clock_ns() - before;
        best = n && took < best ? took : best;
    }
    *out = (struct dram_figures){.read_gbps = (double)r.bytes / (double)(best > 0 ? best : 1),
                                 .buffer_bytes = r.bytes,
                                 .n_threads = r.n_threads,
                                 .n_passes = n - 1};
    munmap(data, r.bytes);
    pool_free(pool);
    return 0;
}
