// Reads by io_uring: one thread hands reads to the kernel and takes what is done. It sleeps in the
// kernel; an eventfd, on which the ring has a read of its own, wakes it when reads were queued.
//
// Memory and files are registered where the user's limits allow, which spares the kernel looking
// them up for each read; without that it reads all the same.
#include "disk/reader_state.h"

#include <errno.h>

#ifdef RONDO_URING

#include "base/log.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct reader_uring {
    struct io_uring ring;
    bool memory, files; // registered
    int wake;           // eventfd
    uint64_t wakes;     // what was read from it
    int n_reads;        // in the kernel
};

static void arm_wake(struct reader_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, u->wake, &u->wakes, sizeof u->wakes, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

// The ring has room: no more than depth reads and the one of the eventfd are ever in it.
static void hand_over(struct reader *r, struct read *q)
{
    struct reader_uring *u = r->uring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    int fd = u->files ? q->file : r->direct[q->file];
    uint8_t *to = q->to + q->got;
    unsigned size = (unsigned)(q->size - q->got);
    uint64_t offset = q->offset + q->got;
    uintptr_t base = (uintptr_t)r->o.memory, at = (uintptr_t)to;
    if (u->memory && at >= base && at - base <= r->o.memory_bytes - size)
        io_uring_prep_read_fixed(sqe, fd, to, size, offset, 0);
    else
        io_uring_prep_read(sqe, fd, to, size, offset);
    if (u->files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, q);
    u->n_reads++;
}

// What the kernel says of a read: goes on with a short one, and tries what it refuses through the
// page cache.
static void take_result(struct reader *r, struct read *q, int result)
{
    r->uring->n_reads--;
    if (result > 0)
        q->got += (size_t)result;
    bool more = result > 0 && q->got < reader_wanted(r, q) && q->got % READER_ALIGN == 0;
    if (more || result == -EINTR || result == -EAGAIN)
        hand_over(r, q);
    else if (result == 0 || q->got >= reader_wanted(r, q))
        reader_complete(r, q, 0);
    else
        reader_read(r, q, false);
}

static void take_queued(struct reader *r)
{
    for (;;) {
        pthread_mutex_lock(&r->lock);
        struct read *q = r->uring->n_reads < r->depth ? reader_pop(r) : NULL;
        pthread_mutex_unlock(&r->lock);
        if (!q)
            return;
        if (r->direct[q->file] >= 0)
            hand_over(r, q);
        else
            reader_read(r, q, false);
    }
}

static bool over(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    bool stopped = r->stopped && !r->first;
    pthread_mutex_unlock(&r->lock);
    return stopped && !r->uring->n_reads;
}

static void *uring_main(void *arg)
{
    struct reader *r = arg;
    struct reader_uring *u = r->uring;
    arm_wake(u);
    while (!over(r)) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;
        take_queued(r);
        io_uring_submit_and_wait(&u->ring, 1);
        io_uring_for_each_cqe(&u->ring, head, cqe)
        {
            struct read *q = io_uring_cqe_get_data(cqe);
            if (q)
                take_result(r, q, cqe->res);
            else
                arm_wake(u);
            n++;
        }
        io_uring_cq_advance(&u->ring, n);
    }
    return NULL;
}

static void register_all(struct reader *r, struct reader_uring *u)
{
    struct iovec memory = {r->o.memory, r->o.memory_bytes};
    int rc = r->o.memory ? io_uring_register_buffers(&u->ring, &memory, 1) : -EINVAL;
    u->memory = r->registered = !rc;
    if (rc && r->o.memory)
        log_debug("memory is not registered with io_uring: %s", strerror(-rc));
    for (int i = 0; i < r->o.n_files; i++)
        if (r->direct[i] < 0)
            return; // registered files have to be open
    u->files = !io_uring_register_files(&u->ring, r->direct, (unsigned)r->o.n_files);
}

// Whether a read comes back at all: kernels before 5.6 have none, and filters may let rings be made
// and not used.
static int try_ring(struct reader_uring *u)
{
    struct io_uring_cqe *cqe;
    uint64_t one = 1;
    if (write(u->wake, &one, sizeof one) != sizeof one)
        return errno;
    arm_wake(u);
    int rc = io_uring_submit_and_wait(&u->ring, 1);
    if (rc >= 0)
        rc = io_uring_peek_cqe(&u->ring, &cqe);
    if (rc)
        return -rc;
    rc = cqe->res < 0 ? -cqe->res : 0;
    io_uring_cqe_seen(&u->ring, cqe);
    return rc;
}

int reader_uring_open(struct reader *r)
{
    struct reader_uring *u = calloc(1, sizeof *u);
    if (!u)
        return ENOMEM;
    u->wake = eventfd(0, EFD_CLOEXEC);
    int rc = u->wake < 0 ? -errno : io_uring_queue_init((unsigned)r->depth + 2, &u->ring, 0);
    if (rc) {
        if (u->wake >= 0)
            close(u->wake);
        free(u);
        return -rc;
    }
    r->uring = u;
    rc = try_ring(u);
    if (!rc) {
        register_all(r, u);
        rc = pthread_create(&r->threads[0], NULL, uring_main, r);
    }
    r->n_threads = !rc;
    if (rc)
        reader_uring_close(r);
    return rc;
}

void reader_uring_wake(struct reader *r)
{
    uint64_t one = 1;
    ssize_t n = write(r->uring->wake, &one, sizeof one); // cannot fail: the count is never full
    (void)n;
}

void reader_uring_close(struct reader *r)
{
    if (!r->uring)
        return;
    io_uring_queue_exit(&r->uring->ring);
    close(r->uring->wake);
    free(r->uring);
    r->uring = NULL;
}

#else // built without liburing

int reader_uring_open(struct reader *r)
{
    (void)r;
    return ENOSYS;
}

void reader_uring_wake(struct reader *r)
{
    (void)r;
}

void reader_uring_close(struct reader *r)
{
    (void)r;
}

#endif
