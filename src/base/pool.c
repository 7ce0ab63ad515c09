// The thread pool. Threads wait for a region on a condition after a short spin, and for each other
// in a barrier that spins, then sleeps on a futex: where fewer cores are free than there are
// threads, a spin would burn the time slice that the late thread needs, and a yield would go to the
// end of the queue, while a sleeper is woken ahead of those that keep a core busy.
#include "base/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPIN_BEFORE_SLEEP = 2000 }; // about 50 us

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    int n;
    struct worker *workers; // n - 1 of them; thread 0 is the caller
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Alignas(64) atomic_uint region; // counts regions; a change is the signal to start
    atomic_int sleeping;
    bool stop;
    void (*fn)(void *arg, int thread);
    void *arg;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase;
    atomic_int waiting; // asleep on `phase`
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void barrier_sleep(struct pool *p, unsigned phase)
{
    atomic_fetch_add(&p->waiting, 1);
    while (atomic_load(&p->phase) == phase)
        syscall(SYS_futex, &p->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
    atomic_fetch_sub(&p->waiting, 1);
}

void pool_barrier(struct pool *p)
{
    if (p->n == 1)
        return;
    unsigned phase = atomic_load_explicit(&p->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) == p->n - 1) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        atomic_store(&p->phase, phase + 1);
        if (atomic_load(&p->waiting))
            syscall(SYS_futex, &p->phase, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        return;
    }
    for (int i = 0; i < SPIN_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(&p->phase, memory_order_acquire) != phase)
            return;
        relax();
    }
    barrier_sleep(p, phase);
}

static void await_region(struct pool *p, unsigned seen)
{
    for (int i = 0; i < SPIN_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(&p->region, memory_order_acquire) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while (atomic_load(&p->region) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    pthread_mutex_unlock(&p->lock);
}

static void start_region(struct pool *p)
{
    atomic_fetch_add(&p->region, 1);
    if (atomic_load(&p->sleeping)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        await_region(p, seen);
        if (p->stop)
            return NULL;
        p->fn(p->arg, w->index);
        pool_barrier(p);
    }
}

struct pool *pool_new(int n_threads)
{
    if (n_threads < 1 || n_threads > POOL_MAX_THREADS)
        return NULL;
    struct pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return NULL;
    *p = (struct pool){.n = 1};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    if (!p->workers) {
        pool_free(p);
        return NULL;
    }
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &p->workers[i - 1];
        *w = (struct worker){.pool = p, .index = i};
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            pool_free(p);
            return NULL;
        }
        p->n++; // no region has started: nobody reads it yet
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    p->stop = true;
    start_region(p);
    for (int i = 1; i < p->n; i++)
        pthread_join(p->workers[i - 1].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n;
}

void pool_run(struct pool *p, void (*fn)(void *arg, int thread), void *arg)
{
    if (p->n == 1) {
        fn(arg, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    start_region(p);
    fn(arg, 0);
    pool_barrier(p);
}

static int cgroup_quota(void)
{
    long quota = -1, period = -1;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%ld %ld", &quota, &period) != 2)
            quota = -1;
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        if (fscanf(f, "%ld", &quota) != 1)
            quota = -1;
        fclose(f);
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r"))) {
            if (fscanf(f, "%ld", &period) != 1)
                period = -1;
            fclose(f);
        }
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : POOL_MAX_THREADS;
}

int pool_default_threads(void)
{
    cpu_set_t set;
    int n = 1;
    if (!sched_getaffinity(0, sizeof set, &set))
        n = CPU_COUNT(&set);
    int quota = cgroup_quota();
    n = n < quota ? n : quota;
    return n < 1 ? 1 : n > POOL_MAX_THREADS ? POOL_MAX_THREADS : n;
}
