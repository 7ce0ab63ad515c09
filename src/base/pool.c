// The thread pool. Threads wait for each other on words of memory: first spinning, then asleep on a
// futex. Where fewer cores are free than there are threads, a spin would burn the time slice that
// the late thread needs, and a yield would go to the end of the queue, while a sleeper is woken
// ahead of those that keep a core busy.
//
// One word says which region it is, whether it is open and how many threads are inside, so that a
// thread enters a region that is open or not at all:
//
//     63        32  31      30     0
//     | region    | closed | inside |
#include "base/pool.h"

#include "base/cores.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
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
    int n, caller_cpu;
    struct worker *workers; // n - 1 of them; thread 0 is the caller
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Alignas(64) _Atomic uint64_t state; // see above; thread 0 is not counted
    atomic_int finished;
    atomic_int idle;    // asleep until a region opens
    atomic_int waiting; // asleep inside a region
    bool stop;
    void (*fn)(void *arg, int thread);
    void *arg;
};

static const uint64_t REGION_ONE = 1ull << 32, REGION_CLOSED = 1ull << 31;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Sleeps while *word is `value`, or until wake(); whoever changes the word calls wake() if that may
// be what somebody waits for. Callers count themselves in p->waiting, then look at the word again.
static void sleep_while(void *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(struct pool *p, void *word)
{
    if (atomic_load(&p->waiting))
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void pool_add(struct pool *p, atomic_int *counter, int n, int goal)
{
    if (atomic_fetch_add(counter, n) + n >= goal)
        wake(p, counter);
}

void pool_await(struct pool *p, atomic_int *counter, int goal)
{
    for (int i = 0; i < SPIN_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(counter, memory_order_acquire) >= goal)
            return;
        relax();
    }
    atomic_fetch_add(&p->waiting, 1);
    for (int seen; (seen = atomic_load(counter)) < goal;)
        sleep_while(counter, (uint32_t)seen);
    atomic_fetch_sub(&p->waiting, 1);
}

static bool is_open(uint64_t state, uint32_t seen)
{
    return (uint32_t)(state >> 32) != seen && !(state & REGION_CLOSED);
}

static void sleep_until_open(struct pool *p, uint32_t seen)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->idle, 1);
    while (!is_open(atomic_load(&p->state), seen))
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->idle, 1);
    pthread_mutex_unlock(&p->lock);
}

// Enters the next region after `seen` that is open and returns its number.
static uint32_t enter_region(struct pool *p, uint32_t seen)
{
    for (int i = 0;; i++) {
        uint64_t state = atomic_load(&p->state);
        if (is_open(state, seen)) {
            if (atomic_compare_exchange_weak(&p->state, &state, state + 1))
                return (uint32_t)(state >> 32);
        } else if (i < SPIN_BEFORE_SLEEP) {
            relax();
        } else {
            sleep_until_open(p, seen);
        }
    }
}

static void leave_region(struct pool *p)
{
    uint64_t state = atomic_fetch_sub(&p->state, 1) - 1;
    if ((uint32_t)state == REGION_CLOSED)
        wake(p, &p->state);
}

static void open_region(struct pool *p)
{
    uint64_t region = atomic_load_explicit(&p->state, memory_order_relaxed) / REGION_ONE;
    atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
    atomic_store(&p->state, (region + 1) * REGION_ONE);
    if (atomic_load(&p->idle)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

// Waits for those inside. The futex is the lower half of the state.
static void close_region(struct pool *p)
{
    uint64_t state = atomic_fetch_or(&p->state, REGION_CLOSED);
    for (int i = 0; i < SPIN_BEFORE_SLEEP; i++) {
        if (!(state % REGION_CLOSED))
            return;
        relax();
        state = atomic_load(&p->state);
    }
    atomic_fetch_add(&p->waiting, 1);
    while ((state = atomic_load(&p->state)) % REGION_CLOSED)
        sleep_while(&p->state, (uint32_t)state);
    atomic_fetch_sub(&p->waiting, 1);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (uint32_t seen = 0;;) {
        seen = enter_region(p, seen);
        if (p->stop)
            return NULL;
        p->fn(p->arg, w->index);
        pool_add(p, &p->finished, 1, p->n - 1);
        leave_region(p);
    }
}

struct pool *pool_new(int n_threads)
{
    if (n_threads < 1 || n_threads > POOL_MAX_THREADS)
        return NULL;
    struct pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return NULL;
    *p = (struct pool){.n = 1, .caller_cpu = -1, .state = REGION_CLOSED};
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
    open_region(p);
    for (int i = 1; i < p->n; i++)
        pthread_join(p->workers[i - 1].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

static void pin_thread(pthread_t thread, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(thread, sizeof set, &set); // where it fails, the thread stays free
}

void pool_pin(struct pool *p, const int *cpus, bool caller)
{
    p->caller_cpu = caller ? cpus[0] : -1;
    for (int i = 1; i < p->n; i++)
        pin_thread(p->workers[i - 1].thread, cpus[i]);
}

static void pin_caller(const struct pool *p)
{
    static _Thread_local int pinned = -1;
    if (p->caller_cpu >= 0 && p->caller_cpu != pinned) {
        pin_thread(pthread_self(), p->caller_cpu);
        pinned = p->caller_cpu;
    }
}

int pool_threads(const struct pool *p)
{
    return p->n;
}

void pool_run(struct pool *p, void (*fn)(void *arg, int thread), void *arg)
{
    p->fn = fn;
    p->arg = arg;
    pin_caller(p);
    open_region(p);
    fn(arg, 0);
    pool_await(p, &p->finished, p->n - 1);
    close_region(p);
}

void pool_share(struct pool *p, void (*fn)(void *arg, int thread), void *arg)
{
    p->fn = fn;
    p->arg = arg;
    pin_caller(p);
    open_region(p);
    fn(arg, 0);
    close_region(p);
}

int pool_default_threads(void)
{
    int n = cores_threads(cores_here());
    return n > POOL_MAX_THREADS ? POOL_MAX_THREADS : n;
}
