// The pool of frames. One mutex: a frame changes hands a few times per pass.
#include "ring/frame.h"

#include "base/arith.h"
#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { POOL_MAX_WAITERS = 128 }; // more links than can share one pool

struct frame_pool {
    pthread_mutex_t lock;
    struct frame *free;
    int n, n_free, n_waiters;
    int waiters[POOL_MAX_WAITERS]; // eventfds
    size_t capacity;
    uint8_t *memory;
    struct frame frames[];
};

struct frame_pool *frame_pool_new(int n, size_t capacity)
{
    size_t each, memory, head;
    CHECK(n > 0);
    if (!size_align(capacity, 64, &each) || !size_mul(each, (size_t)n, &memory) ||
        !size_mul(sizeof(struct frame), (size_t)n, &head) ||
        !size_add(head, sizeof(struct frame_pool), &head))
        return NULL;
    struct frame_pool *p = calloc(1, head);
    if (!p || posix_memalign((void **)&p->memory, 64, memory)) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->n = p->n_free = n;
    p->capacity = capacity;
    for (int i = n - 1; i >= 0; i--) {
        p->frames[i] = (struct frame){.next = p->free,
                                      .pool = p,
                                      .bytes = p->memory + (size_t)i * each,
                                      .capacity = capacity};
        p->free = &p->frames[i];
    }
    return p;
}

size_t frame_pool_bytes(const struct frame_pool *p)
{
    return (size_t)p->n * p->capacity;
}

void frame_pool_free(struct frame_pool *p)
{
    if (!p)
        return;
    CHECK(p->n_free == p->n);
    pthread_mutex_destroy(&p->lock);
    free(p->memory);
    free(p);
}

size_t frame_pool_capacity(const struct frame_pool *p)
{
    return p->capacity;
}

static struct frame *take_locked(struct frame_pool *p)
{
    struct frame *f = p->free;
    if (!f)
        return NULL;
    p->free = f->next;
    p->n_free--;
    f->next = NULL;
    f->size = 0;
    f->arrived_ns = 0;
    return f;
}

struct frame *frame_take(struct frame_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct frame *f = take_locked(p);
    pthread_mutex_unlock(&p->lock);
    return f;
}

struct frame *frame_take_or_wake(struct frame_pool *p, int wake_fd)
{
    pthread_mutex_lock(&p->lock);
    struct frame *f = take_locked(p);
    bool waiting = f != NULL;
    for (int i = 0; i < p->n_waiters && !waiting; i++)
        waiting = p->waiters[i] == wake_fd;
    if (!waiting) {
        CHECK(p->n_waiters < POOL_MAX_WAITERS);
        p->waiters[p->n_waiters++] = wake_fd;
    }
    pthread_mutex_unlock(&p->lock);
    return f;
}

void frame_pool_forget(struct frame_pool *p, int wake_fd)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_waiters; i++)
        if (p->waiters[i] == wake_fd)
            p->waiters[i--] = p->waiters[--p->n_waiters];
    pthread_mutex_unlock(&p->lock);
}

void frame_release(struct frame *f)
{
    struct frame_pool *p = f ? f->pool : NULL;
    if (!p) // nothing, or a frame that lies inside its link
        return;
    pthread_mutex_lock(&p->lock);
    f->next = p->free;
    p->free = f;
    CHECK(++p->n_free <= p->n); // released twice
    const uint64_t one = 1;
    for (int i = 0; i < p->n_waiters; i++) // a full eventfd is awake anyway
        if (write(p->waiters[i], &one, sizeof one) < 0)
            continue;
    p->n_waiters = 0;
    pthread_mutex_unlock(&p->lock);
}
