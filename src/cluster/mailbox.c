// Letters to the thread that drives a node: see mailbox.h.
#include "cluster/mailbox.h"

#include "base/check.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct envelope {
    struct envelope *next;
    struct mail letter;
};

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct envelope *first, *last;
};

struct mailbox *mailbox_new(void)
{
    struct mailbox *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->arrived, &attributes);
    pthread_condattr_destroy(&attributes);
    return m;
}

void mailbox_free(struct mailbox *m)
{
    if (!m)
        return;
    for (struct envelope *v = m->first, *next; v; v = next) {
        next = v->next;
        frame_release(v->letter.frame);
        free(v);
    }
    pthread_cond_destroy(&m->arrived);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void mailbox_put(struct mailbox *m, const struct mail *letter)
{
    struct envelope *v = malloc(sizeof *v);
    CHECK(v); // without room for a letter the node cannot even say so
    *v = (struct envelope){.letter = *letter};
    pthread_mutex_lock(&m->lock);
    if (m->last)
        m->last->next = v;
    else
        m->first = v;
    m->last = v;
    pthread_cond_signal(&m->arrived);
    pthread_mutex_unlock(&m->lock);
}

bool mailbox_take(struct mailbox *m, int timeout_ms, struct mail *letter)
{
    int64_t end_ns = clock_ns() + timeout_ms * INT64_C(1000000);
    struct timespec end = {end_ns / 1000000000, end_ns % 1000000000};
    pthread_mutex_lock(&m->lock);
    while (!m->first && pthread_cond_timedwait(&m->arrived, &m->lock, &end) == 0)
        ;
    struct envelope *v = m->first;
    if (v) {
        m->first = v->next;
        if (!m->first)
            m->last = NULL;
    }
    pthread_mutex_unlock(&m->lock);
    if (!v)
        return false;
    *letter = v->letter;
    free(v);
    return true;
}
