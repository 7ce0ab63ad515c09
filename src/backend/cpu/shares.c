// Shares of products: see shares.h.
#include "backend/cpu/shares.h"

enum {
    CUT_ONE = 1 << 16,
    PIECES = 8, // a piece is that part of what is left of a stretch
};
static const float speed_memory = 0.75f; // what earlier runs count against the last
static const float least_speed = 0.25f;  // of an even share, so that a thread that slept comes back

size_t shares_size(int n_threads, int max_products)
{
    size_t n = (size_t)n_threads;
    return n * (size_t)max_products * sizeof(struct share) + n * sizeof(struct work) +
           (n + 1) * sizeof(uint32_t) + n * sizeof(float);
}

void shares_init(struct shares *s, void *memory, int n_threads, int max_products)
{
    size_t n = (size_t)n_threads;
    *s = (struct shares){.n_threads = n_threads, .max_products = max_products};
    s->stretches = memory;
    s->work = (struct work *)(s->stretches + n * (size_t)max_products);
    s->speeds = (float *)(s->work + n);
    s->cuts = (uint32_t *)(s->speeds + n);
    for (size_t t = 0; t < n; t++)
        s->speeds[t] = 1 / (float)n;
}

void shares_begin(struct shares *s)
{
    int64_t all = 0;
    float total = 0, sum = 0, even = 1 / (float)s->n_threads;
    for (int t = 0; t < s->n_threads; t++)
        all += s->work[t].done;
    for (int t = 0; t < s->n_threads; t++) {
        float *speed = &s->speeds[t];
        if (all)
            *speed = *speed * speed_memory +
                     (1 - speed_memory) * (float)((double)s->work[t].done / (double)all);
        *speed = *speed < least_speed * even ? least_speed * even : *speed;
        s->work[t].done = 0;
        total += *speed;
    }
    for (int t = 0; t < s->n_threads; t++) {
        s->cuts[t] = (uint32_t)(sum / total * CUT_ONE);
        sum += s->speeds[t];
    }
    s->cuts[s->n_threads] = CUT_ONE;
    s->run++;
}

static int cut(const struct shares *s, int n, int thread)
{
    return (int)(((uint64_t)n * s->cuts[thread] + CUT_ONE / 2) / CUT_ONE);
}

struct taken {
    int front, back;
};

static struct taken read_taken(const struct shares *s, uint64_t word)
{
    if (word >> 32 != s->run)
        return (struct taken){0, 0};
    return (struct taken){(int)(word & UINT16_MAX), (int)(word >> 16 & UINT16_MAX)};
}

static uint64_t write_taken(const struct shares *s, struct taken t)
{
    return (uint64_t)s->run << 32 | (uint64_t)t.back << 16 | (uint64_t)t.front;
}

static struct share *stretch_of(struct shares *s, int product, int thread)
{
    return &s->stretches[(size_t)product * (size_t)s->n_threads + (size_t)thread];
}

static bool take(struct shares *s, int product, int n, int thread, bool front, struct steps *out)
{
    int lo = cut(s, n, thread), hi = cut(s, n, thread + 1);
    struct share *share = stretch_of(s, product, thread);
    uint64_t seen = atomic_load_explicit(&share->taken, memory_order_relaxed), wanted;
    do {
        struct taken t = read_taken(s, seen);
        int left = hi - lo - t.front - t.back, piece = left / PIECES + 1;
        if (left <= 0)
            return false;
        *out = front ? (struct steps){lo + t.front, lo + t.front + piece}
                     : (struct steps){hi - t.back - piece, hi - t.back};
        *(front ? &t.front : &t.back) += piece;
        wanted = write_taken(s, t);
    } while (!atomic_compare_exchange_weak_explicit(&share->taken, &seen, wanted,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool shares_own(struct shares *s, int product, int n, int thread, struct steps *out)
{
    return take(s, product, n, thread, true, out);
}

bool shares_steal(struct shares *s, int product, int n, struct steps *out)
{
    for (;;) {
        int most = 0, victim = -1;
        for (int t = 0; t < s->n_threads; t++) {
            struct taken taken = read_taken(
                s, atomic_load_explicit(&stretch_of(s, product, t)->taken, memory_order_relaxed));
            int left = cut(s, n, t + 1) - cut(s, n, t) - taken.front - taken.back;
            if (left > most) {
                most = left;
                victim = t;
            }
        }
        if (victim < 0)
            return false;
        if (take(s, product, n, victim, false, out))
            return true;
    }
}
