// A mutex, a condition and a count that a spinning reader may look at without the mutex.
#include "ring/queue.h"

#include "base/check.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct frame_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct frame *first, *last;
    int n, capacity, sleeping;
    bool woken, closed;
    atomic_int news; // frames in it, plus one each for woken and closed
};

struct frame_queue *frame_queue_new(int capacity)
{
    CHECK(capacity > 0);
    struct frame_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    q->capacity = capacity;
    return q;
}

void frame_queue_free(struct frame_queue *q)
{
    if (!q)
        return;
    for (struct frame *f = q->first, *next; f; f = next) {
        next = f->next;
        frame_release(f);
    }
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

// With the lock held: tells a spinning reader, and whether one sleeps and must be signalled.
static bool announce(struct frame_queue *q)
{
    atomic_store_explicit(&q->news, q->n + q->woken + q->closed, memory_order_release);
    return q->sleeping > 0;
}

bool frame_queue_push(struct frame_queue *q, struct frame *f)
{
    pthread_mutex_lock(&q->lock);
    bool room = q->n < q->capacity && !q->closed, signal = false;
    if (room) {
        f->next = NULL;
        if (q->last)
            q->last->next = f;
        else
            q->first = f;
        q->last = f;
        q->n++;
        signal = announce(q);
    }
    pthread_mutex_unlock(&q->lock);
    if (signal)
        pthread_cond_signal(&q->changed);
    return room;
}

// With the lock held: sleeps until there is news or the time is over.
static void sleep_until(struct frame_queue *q, int64_t deadline_ns)
{
    struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    q->sleeping++;
    while (q->n + q->woken + q->closed == 0)
        if (deadline_ns < 0)
            pthread_cond_wait(&q->changed, &q->lock);
        else if (pthread_cond_timedwait(&q->changed, &q->lock, &until))
            break;
    q->sleeping--;
}

struct frame *frame_queue_pop(struct frame_queue *q, int64_t timeout_ns, int64_t spin_ns)
{
    int64_t start_ns = timeout_ns != 0 ? clock_ns() : 0;
    int64_t deadline_ns = -1;
    if (timeout_ns >= 0 && __builtin_add_overflow(start_ns, timeout_ns, &deadline_ns))
        deadline_ns = INT64_MAX;
    if (timeout_ns >= 0 && spin_ns > timeout_ns)
        spin_ns = timeout_ns;
    while (atomic_load_explicit(&q->news, memory_order_acquire) == 0 && spin_ns > 0 &&
           clock_ns() - start_ns < spin_ns)
        ;
    pthread_mutex_lock(&q->lock);
    if (timeout_ns != 0)
        sleep_until(q, deadline_ns);
    struct frame *f = q->first;
    if (f) {
        q->first = f->next;
        if (!q->first)
            q->last = NULL;
        f->next = NULL;
        q->n--;
    } else {
        q->woken = false; // what is there goes first
    }
    announce(q);
    pthread_mutex_unlock(&q->lock);
    return f;
}

void frame_queue_wake(struct frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->woken = true;
    announce(q);
    pthread_mutex_unlock(&q->lock);
    pthread_cond_broadcast(&q->changed);
}

void frame_queue_close(struct frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    announce(q);
    pthread_mutex_unlock(&q->lock);
    pthread_cond_broadcast(&q->changed);
}

bool frame_queue_closed(struct frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&q->lock);
    return closed;
}
