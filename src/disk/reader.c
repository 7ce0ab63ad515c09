// Reading ahead: the queues, and what is told of them: see reader.h.
#include "disk/reader_state.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const names[READER_KINDS] = {"io_uring", "direct", "buffered"};

const char *reader_kind_name(enum reader_kind k)
{
    return names[k];
}

// ---- the queues --------------------------------------------------------------------------------

size_t reader_wanted(const struct reader *r, const struct read *q)
{
    uint64_t size = r->o.sizes[q->file];
    uint64_t left = q->offset < size ? size - q->offset : 0;
    return q->size < left ? q->size : (size_t)left;
}

void reader_push(struct read_queue *queue, struct read *q)
{
    q->next = NULL;
    if (queue->last)
        queue->last->next = q;
    else
        queue->first = q;
    queue->last = q;
}

struct read *reader_pop(struct read_queue *queue)
{
    struct read *q = queue->first;
    if (q && !(queue->first = q->next))
        queue->last = NULL;
    return q;
}

static bool take_out(struct read_queue *queue, struct read *q)
{
    struct read *before = NULL, *x = queue->first;
    for (; x && x != q; x = x->next)
        before = x;
    if (!x)
        return false;
    *(before ? &before->next : &queue->first) = q->next;
    queue->last = queue->last == q ? before : queue->last;
    return true;
}

void reader_start(struct reader *r, struct read *q)
{
    CHECK(q->file >= 0 && q->file < r->o.n_files && (uintptr_t)q->to % READER_ALIGN == 0 &&
          q->offset % READER_ALIGN == 0 && q->size % READER_ALIGN == 0);
    q->got = 0;
    q->error = 0;
    atomic_store(&q->state, READ_PENDING);
    pthread_mutex_lock(&r->lock);
    q->way = r->direct[q->file] >= 0 ? r->kind : READER_BUFFERED;
    bool wake = q->way == READER_URING && r->naps;
    if (wake)
        r->naps = false;
    reader_push(q->way == READER_URING ? &r->for_ring : &r->for_threads, q);
    if (!r->n_pending++)
        r->busy_since = clock_ns();
    if (q->way != READER_URING)
        pthread_cond_signal(&r->queued);
    pthread_mutex_unlock(&r->lock);
    if (wake)
        reader_uring_wake(r);
}

void reader_complete(struct reader *r, struct read *q, int error)
{
    bool whole = !error && q->got >= reader_wanted(r, q);
    q->error = error;
    pthread_mutex_lock(&r->lock);
    if (whole) {
        r->bytes += q->got;
        r->reads++;
        if (q->got) // what lies behind the end of its file went no way at all
            r->last = q->way;
    }
    if (!--r->n_pending)
        r->busy_ns += clock_ns() - r->busy_since;
    atomic_store(&q->state, whole ? READ_DONE : READ_FAILED); // from here on the caller's
    if (r->n_waiting)
        pthread_cond_broadcast(&r->done);
    pthread_mutex_unlock(&r->lock);
}

bool reader_cancel(struct reader *r, struct read *q)
{
    pthread_mutex_lock(&r->lock);
    bool found = take_out(&r->for_ring, q) || take_out(&r->for_threads, q);
    if (found) {
        if (!--r->n_pending)
            r->busy_ns += clock_ns() - r->busy_since;
        atomic_store(&q->state, READ_IDLE);
        if (r->n_waiting)
            pthread_cond_broadcast(&r->done);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

enum read_state reader_wait(struct reader *r, struct read *q)
{
    if (atomic_load(&q->state) == READ_PENDING) {
        pthread_mutex_lock(&r->lock);
        r->n_waiting++;
        while (atomic_load(&q->state) == READ_PENDING)
            pthread_cond_wait(&r->done, &r->lock);
        r->n_waiting--;
        pthread_mutex_unlock(&r->lock);
    }
    return (enum read_state)atomic_load(&q->state);
}

// ---- reports -----------------------------------------------------------------------------------

void reader_tell(struct reader *r, enum reader_kind way, int error)
{
    if (!atomic_exchange(&r->told, true))
        log_info("a read that was to be %s failed (%s), it is tried another way; others that have "
                 "to be are not told of",
                 names[way], strerror(error));
}

static int64_t thread_ns(pthread_t thread)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &t))
        return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct reader_report reader_report(struct reader *r)
{
    int64_t cpu_ns = r->uring ? thread_ns(r->ring_thread) : 0;
    for (int i = 0; i < r->n_threads; i++)
        cpu_ns += thread_ns(r->threads[i]);
    pthread_mutex_lock(&r->lock);
    struct reader_report out = {.kind = r->last,
                                .registered = r->registered,
                                .bytes = r->bytes,
                                .reads = r->reads,
                                .cpu_ns = cpu_ns,
                                .busy_ns = r->busy_ns};
    if (r->n_pending)
        out.busy_ns += clock_ns() - r->busy_since;
    pthread_mutex_unlock(&r->lock);
    return out;
}

void reader_describe(struct reader *r, char *out, size_t size)
{
    pthread_mutex_lock(&r->lock);
    enum reader_kind kind = r->kind;
    pthread_mutex_unlock(&r->lock);
    if (kind == READER_URING)
        snprintf(out, size, "io_uring%s", r->registered ? " with registered buffers" : "");
    else
        snprintf(out, size, "%s reads in %d thread%s", names[kind], r->n_threads,
                 r->n_threads == 1 ? "" : "s");
}
