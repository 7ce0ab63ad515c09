// Reading ahead: the queue, choosing a way by trying, and reads by threads: see reader.h.
#include "disk/reader_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[READER_KINDS] = {"io_uring", "direct", "buffered"};

const char *reader_kind_name(enum reader_kind k)
{
    return names[k];
}

// ---- the queue ---------------------------------------------------------------------------------

size_t reader_wanted(const struct reader *r, const struct read *q)
{
    uint64_t size = r->o.sizes[q->file];
    uint64_t left = q->offset < size ? size - q->offset : 0;
    return q->size < left ? q->size : (size_t)left;
}

struct read *reader_pop(struct reader *r)
{
    struct read *q = r->first;
    if (q && !(r->first = q->next))
        r->last = NULL;
    return q;
}

void reader_start(struct reader *r, struct read *q)
{
    q->next = NULL;
    q->got = 0;
    q->error = 0;
    atomic_store(&q->state, READ_PENDING);
    pthread_mutex_lock(&r->lock);
    if (r->last)
        r->last->next = q;
    else
        r->first = q;
    r->last = q;
    if (!r->n_pending++)
        r->busy_since = clock_ns();
    pthread_cond_signal(&r->queued);
    pthread_mutex_unlock(&r->lock);
    if (r->uring)
        reader_uring_wake(r);
}

void reader_complete(struct reader *r, struct read *q, int error)
{
    size_t got = q->got;
    bool whole = !error && got >= reader_wanted(r, q);
    q->error = error;
    pthread_mutex_lock(&r->lock);
    r->bytes += got;
    r->reads++;
    if (!--r->n_pending)
        r->busy_ns += clock_ns() - r->busy_since;
    atomic_store(&q->state, whole ? READ_DONE : READ_FAILED); // from here on the caller's
    pthread_cond_broadcast(&r->done);
    pthread_mutex_unlock(&r->lock);
}

enum read_state reader_wait(struct reader *r, struct read *q)
{
    if (atomic_load(&q->state) == READ_PENDING) {
        pthread_mutex_lock(&r->lock);
        while (atomic_load(&q->state) == READ_PENDING)
            pthread_cond_wait(&r->done, &r->lock);
        pthread_mutex_unlock(&r->lock);
    }
    return (enum read_state)atomic_load(&q->state);
}

// ---- reads by threads --------------------------------------------------------------------------

// Reads on from where `q` is. 0: all of it is there, or the file has no more; or an errno.
static int read_on(struct reader *r, struct read *q, int fd, bool direct)
{
    size_t wanted = reader_wanted(r, q);
    while (q->got < wanted) {
        // A direct read asks for whole blocks, over the end of the file if need be.
        size_t most = (direct ? q->size : wanted) - q->got;
        ssize_t n = disk_io->pread(fd, q->to + q->got, most, (int64_t)(q->offset + q->got));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        q->got += (size_t)n;
        if (direct && q->got < wanted && q->got % READER_ALIGN)
            return EINVAL; // the rest cannot be asked for this way
    }
    return 0;
}

void reader_read(struct reader *r, struct read *q, bool direct)
{
    int error = EINVAL;
    if (direct && r->direct[q->file] >= 0)
        error = read_on(r, q, r->direct[q->file], true);
    if (error) {
        error = read_on(r, q, r->cached[q->file], false);
        disk_io->drop(r->cached[q->file], (int64_t)q->offset, (int64_t)q->size);
    }
    reader_complete(r, q, error);
}

static void *read_main(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stopped || r->first) {
        struct read *q = reader_pop(r);
        if (!q) {
            pthread_cond_wait(&r->queued, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        reader_read(r, q, r->kind == READER_DIRECT);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int start_threads(struct reader *r, struct err *e)
{
    for (; r->n_threads < r->depth; r->n_threads++)
        if (pthread_create(&r->threads[r->n_threads], NULL, read_main, r))
            break;
    return r->n_threads ? 0 : err_set(e, ERR_NO_MEMORY, "cannot start a thread that reads");
}

// ---- opening -----------------------------------------------------------------------------------

// The same file once more, whatever its name is now.
static int open_again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return disk_io->open(path, O_RDONLY | flags, 0);
}

// Whether a block of the file can be read past the page cache: some file systems find out only
// then.
static bool reads_directly(int fd)
{
    void *block = NULL;
    if (posix_memalign(&block, READER_ALIGN, READER_ALIGN))
        return false;
    ssize_t n;
    do
        n = disk_io->pread(fd, block, READER_ALIGN, 0);
    while (n < 0 && errno == EINTR);
    free(block);
    return n >= 0;
}

static int open_files(struct reader *r, struct err *e)
{
    size_t n = (size_t)r->o.n_files;
    r->direct = malloc((n + 1) * sizeof *r->direct);
    r->cached = malloc((n + 1) * sizeof *r->cached);
    if (!r->direct || !r->cached)
        return err_set(e, ERR_NO_MEMORY, "no memory for reading ahead");
    for (size_t i = 0; i < n; i++)
        r->direct[i] = r->cached[i] = -1;
    for (size_t i = 0; i < n; i++) {
        r->cached[i] = open_again(r->o.fds[i], 0);
        if (r->cached[i] < 0)
            return err_errno(e, ERR_FAILED, "a file of the model cannot be opened a second time");
        posix_fadvise(r->cached[i], 0, 0, POSIX_FADV_RANDOM); // read what is asked for, no more
        if (r->o.best == READER_BUFFERED)
            continue;
        r->direct[i] = open_again(r->o.fds[i], O_DIRECT);
        if (r->direct[i] >= 0 && !reads_directly(r->direct[i])) {
            disk_io->close(r->direct[i]);
            r->direct[i] = -1;
        }
    }
    return 0;
}

static bool some_directly(const struct reader *r)
{
    for (int i = 0; i < r->o.n_files; i++)
        if (r->direct[i] >= 0)
            return true;
    return false;
}

static int choose_kind(struct reader *r, struct err *e)
{
    int asked = r->o.depth > READER_MAX_DEPTH ? READER_MAX_DEPTH : r->o.depth;
    r->kind = some_directly(r) ? r->o.best : READER_BUFFERED;
    if (r->kind == READER_BUFFERED && r->o.best != READER_BUFFERED)
        log_info("the file system reads through the page cache only; what is read is dropped from "
                 "it");
    if (r->kind == READER_URING) {
        r->depth = asked ? asked : READER_URING_DEPTH;
        int why = reader_uring_open(r);
        if (!why)
            return 0;
        log_info("io_uring is not to be had (%s); threads read instead", strerror(why));
        r->kind = READER_DIRECT;
    }
    r->depth = asked ? asked : READER_THREADS;
    return start_threads(r, e);
}

int reader_open(struct reader **out, const struct reader_options *o, struct err *e)
{
    struct reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return err_set(e, ERR_NO_MEMORY, "no memory for reading ahead");
    r->o = *o;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->queued, NULL);
    pthread_cond_init(&r->done, NULL);
    int rc = open_files(r, e);
    if (!rc)
        rc = choose_kind(r, e);
    if (rc) {
        reader_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

static void close_files(int *fds, int n)
{
    for (int i = 0; fds && i < n; i++)
        if (fds[i] >= 0)
            disk_io->close(fds[i]);
    free(fds);
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopped = true;
    pthread_cond_broadcast(&r->queued);
    pthread_mutex_unlock(&r->lock);
    if (r->uring)
        reader_uring_wake(r);
    for (int i = 0; i < r->n_threads; i++)
        pthread_join(r->threads[i], NULL);
    reader_uring_close(r);
    close_files(r->direct, r->o.n_files);
    close_files(r->cached, r->o.n_files);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->queued);
    pthread_cond_destroy(&r->done);
    free(r);
}

// ---- reports -----------------------------------------------------------------------------------

static int64_t cpu_ns(const struct reader *r)
{
    int64_t sum = 0;
    for (int i = 0; i < r->n_threads; i++) {
        clockid_t clock;
        struct timespec t;
        if (!pthread_getcpuclockid(r->threads[i], &clock) && !clock_gettime(clock, &t))
            sum += (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    return sum;
}

struct reader_report reader_report(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    struct reader_report out = {.kind = r->kind,
                                .registered = r->registered,
                                .bytes = r->bytes,
                                .reads = r->reads,
                                .cpu_ns = cpu_ns(r),
                                .busy_ns = r->busy_ns};
    if (r->n_pending)
        out.busy_ns += clock_ns() - r->busy_since;
    pthread_mutex_unlock(&r->lock);
    return out;
}

void reader_describe(struct reader *r, char *out, size_t size)
{
    if (r->kind == READER_URING)
        snprintf(out, size, "io_uring%s", r->registered ? " with registered buffers" : "");
    else if (r->kind == READER_DIRECT)
        snprintf(out, size, "direct reads in %d threads", r->n_threads);
    else
        snprintf(out, size, "buffered reads in %d threads", r->n_threads);
}
