// The one pool of compute threads. The caller is thread 0; the others sleep between regions and
// spin inside one. All threads of a region run the same function; the barrier is only for them.
#pragma once

struct pool;

// n_threads in [1, POOL_MAX_THREADS]. NULL: no memory or no threads to be had.
enum { POOL_MAX_THREADS = 256 };
struct pool *pool_new(int n_threads);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);

// Runs fn(arg, thread) on every thread and returns when all are done. One region at a time.
void pool_run(struct pool *p, void (*fn)(void *arg, int thread), void *arg);

// Every thread of the region waits here for the others; what was written before is seen after.
void pool_barrier(struct pool *p);

int pool_default_threads(void); // what this process may use: affinity mask, cgroup quota
