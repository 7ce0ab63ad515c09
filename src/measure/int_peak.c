// The ceiling of integer arithmetic: see int_peak.h.
//
// Every try is long enough that starting the threads does not count, and of the tries of one
// reading the best counts, because what another program takes away is not the machine's limit.
#include "measure/int_peak.h"

#include "base/clock.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { TRIES = 8, TRY_NS = 2500000, FIRST_ROUNDS = 1000 };

struct int_peak {
    struct pool *pool;
    uint64_t (*dots)(uint64_t rounds);
    uint64_t rounds;
    _Atomic uint64_t operations; // of one try, all threads
};

static void run_dots(void *arg, int thread)
{
    struct int_peak *p = arg;
    (void)thread;
    atomic_fetch_add(&p->operations, p->dots(p->rounds));
}

// Nanoseconds that all threads together take for p->rounds each; never 0.
static int64_t time_try(struct int_peak *p)
{
    atomic_store(&p->operations, 0);
    int64_t start = clock_ns();
    pool_run(p->pool, run_dots, p);
    int64_t took = clock_ns() - start;
    return took > 0 ? took : 1;
}

int int_peak_open(struct int_peak **out, enum isa isa, int n_threads, struct err *e)
{
    struct int_peak *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p)
        p->pool = pool_new(n_threads ? n_threads : pool_default_threads());
    if (!p || !p->pool) {
        free(p);
        return err_set(e, ERR_NO_MEMORY, "no memory to measure how fast this machine computes");
    }
    p->dots = kernels_for(isa)->int_dots;
    for (p->rounds = FIRST_ROUNDS; time_try(p) < TRY_NS; p->rounds *= 2)
        ;
    *out = p;
    return 0;
}

void int_peak_close(struct int_peak *p)
{
    if (!p)
        return;
    pool_free(p->pool);
    free(p);
}

double int_peak_gops(struct int_peak *p)
{
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        int64_t took = time_try(p);
        double gops = (double)atomic_load(&p->operations) / (double)took;
        best = gops > best ? gops : best;
    }
    return best;
}
