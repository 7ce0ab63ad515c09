// The one pool of compute threads. The caller is thread 0; the others sleep between regions and
// spin inside one. All threads of a region run the same function.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct pool;

// n_threads in [1, POOL_MAX_THREADS]. NULL: no memory or no threads to be had.
enum { POOL_MAX_THREADS = 256 };
struct pool *pool_new(int n_threads);
void pool_free(struct pool *p);
// Keeps thread i on processor cpus[i], where it may be there. Thread 0 is the caller's own, and
// threads that it starts inherit its place: it is kept, from its next region on, if `caller` says
// so.
void pool_pin(struct pool *p, const int *cpus, bool caller);
int pool_threads(const struct pool *p);

// Runs fn(arg, thread) on every thread and returns when all are done. One region at a time.
void pool_run(struct pool *p, void (*fn)(void *arg, int thread), void *arg);

// As pool_run, but nobody waits for a thread that is late: fn runs on thread 0 and on those others
// that come before thread 0 is through, and must get by without them. On a busy machine this is the
// difference between a time slice and nothing.
void pool_share(struct pool *p, void (*fn)(void *arg, int thread), void *arg);

// Inside a region: a counter that threads add to, and the wait for it to reach `goal`. What was
// written before an addition is seen after the wait. Every addition names the same goal.
void pool_add(struct pool *p, atomic_int *counter, int n, int goal);
void pool_await(struct pool *p, atomic_int *counter, int goal);

int pool_default_threads(void); // cores_threads of this machine, within the limit of a pool
