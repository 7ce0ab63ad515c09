// Reads by threads, each of which has one read at a time; and the last resort of those that went
// wrong elsewhere.
#include "disk/reader_state.h"

#include "base/signals.h"
#include "disk/io.h"

#include <errno.h>
#include <time.h>

enum { MOST_RETRIES = 1000 }; // of a call that was interrupted or is to come again, a ms apart

// Reads on from where `q` is. 0: all of it is there, or the file has no more; or an errno.
static int read_on(const struct reader *r, struct read *q, int fd, bool direct)
{
    size_t wanted = reader_wanted(r, q);
    int retries = 0;
    while (q->got < wanted) {
        if (direct && q->got % READER_ALIGN)
            return EINVAL; // the rest cannot be asked for this way
        // A direct read asks for whole blocks, over the end of the file if need be.
        size_t most = (direct ? q->size : wanted) - q->got;
        ssize_t n = disk_io->pread(fd, q->to + q->got, most, (int64_t)(q->offset + q->got));
        if (n < 0 && (errno == EINTR || errno == EAGAIN) && retries++ < MOST_RETRIES) {
            if (errno == EAGAIN)
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            continue;
        }
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        q->got += (size_t)n;
    }
    return 0;
}

static int read_buffered(const struct reader *r, struct read *q)
{
    int error = read_on(r, q, r->cached[q->file], false);
    disk_io->drop(r->cached[q->file], (int64_t)q->offset, (int64_t)q->size); // a hint
    return error;
}

static void read_one(struct reader *r, struct read *q)
{
    int error =
        q->way == READER_DIRECT ? read_on(r, q, r->direct[q->file], true) : read_buffered(r, q);
    // A disk that fails may have better luck; a way that is refused is not the only one.
    if (error && (q->way == READER_DIRECT || error == EIO)) {
        reader_tell(r, q->way, error);
        q->way = READER_BUFFERED;
        error = read_buffered(r, q);
    }
    reader_complete(r, q, error);
}

static void *read_main(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct read *q = reader_pop(&r->for_threads);
        if (!q && r->threads_stopped)
            break;
        if (!q) {
            pthread_cond_wait(&r->queued, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        read_one(r, q);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int reader_threads_open(struct reader *r, int n)
{
    sigset_t before;
    signals_block(&before);
    for (; r->n_threads < n; r->n_threads++)
        if (pthread_create(&r->threads[r->n_threads], NULL, read_main, r))
            break;
    signals_restore(&before);
    return r->n_threads;
}

void reader_threads_close(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    r->threads_stopped = true;
    pthread_cond_broadcast(&r->queued);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->n_threads; i++)
        pthread_join(r->threads[i], NULL);
    r->n_threads = 0;
}
