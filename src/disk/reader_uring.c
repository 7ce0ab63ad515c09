// Reads by io_uring: one thread hands reads to the kernel and takes what is done. It sleeps in the
// kernel; an eventfd, on which the ring has a read of its own, wakes it when reads were queued.
//
// Memory and files are registered where the user's limits allow, which spares the kernel looking
// them up for each read; without that it reads all the same. What the ring cannot do goes to the
// threads: this one never reads itself.
#include "disk/reader_state.h"

#include <errno.h>

#ifdef RONDO_URING

#include "base/check.h"
#include "base/log.h"
#include "base/signals.h"
#include "disk/io.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_PIECES = 64,     // of registered memory
    MOST_FAILURES = 100, // of handing over, in a row, before the ring is given up
};
static const size_t piece_bytes = (size_t)1 << 30; // the kernel registers no longer ones

struct reader_uring {
    struct io_uring ring;
    bool memory, files; // registered
    int wake;           // eventfd
    uint64_t wakes;     // what was read from it
    int n_reads;        // in the ring
};

static const struct timespec a_moment = {.tv_nsec = 1000000};

// The ring has room: no more than depth reads and the one of the eventfd are ever in it.
static struct io_uring_sqe *next_entry(struct reader_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    CHECK(sqe);
    return sqe;
}

static void arm_wake(struct reader_uring *u)
{
    struct io_uring_sqe *sqe = next_entry(u);
    io_uring_prep_read(sqe, u->wake, &u->wakes, sizeof u->wakes, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

// The registered piece that memory lies in; -1: none, or more than one.
static int find_piece(const struct reader *r, const uint8_t *at, size_t size)
{
    const uint8_t *base = r->o.memory;
    if (!r->uring->memory || at < base || at >= base + r->o.memory_bytes ||
        size > (size_t)(base + r->o.memory_bytes - at))
        return -1;
    size_t from = (size_t)(at - base), piece = from / piece_bytes;
    return (from + size - 1) / piece_bytes == piece ? (int)piece : -1;
}

static void hand_over(struct reader *r, struct read *q)
{
    struct reader_uring *u = r->uring;
    struct io_uring_sqe *sqe = next_entry(u);
    int fd = u->files ? q->file : r->direct[q->file];
    uint8_t *to = q->to + q->got;
    size_t left = q->size - q->got;
    unsigned size = (unsigned)(left < piece_bytes ? left : piece_bytes);
    int piece = find_piece(r, to, size);
    if (piece >= 0)
        io_uring_prep_read_fixed(sqe, fd, to, size, q->offset + q->got, piece);
    else
        io_uring_prep_read(sqe, fd, to, size, q->offset + q->got);
    if (u->files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, q);
    u->n_reads++;
}

// Under lock.
static void pass_on(struct reader *r, struct read *q, enum reader_kind way)
{
    q->way = way;
    reader_push(&r->for_threads, q);
    pthread_cond_signal(&r->queued);
}

static void take_result(struct reader *r, struct read *q, int result)
{
    r->uring->n_reads--;
    q->got += result > 0 ? (size_t)result : 0;
    size_t wanted = reader_wanted(r, q);
    if (q->got >= wanted || result == 0) {
        reader_complete(r, q, 0);
    } else if (result > 0 && q->got % READER_ALIGN == 0) {
        hand_over(r, q);
    } else {
        if (result < 0)
            reader_tell(r, READER_URING, -result);
        pthread_mutex_lock(&r->lock);
        pass_on(r, q, result == -EIO || result > 0 ? READER_BUFFERED : READER_DIRECT);
        pthread_mutex_unlock(&r->lock);
    }
}

static void take_results(struct reader *r)
{
    struct reader_uring *u = r->uring;
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        struct read *q = io_uring_cqe_get_data(cqe);
        if (q)
            take_result(r, q, disk_io->ring_result(cqe->res));
        else
            arm_wake(u);
        n++;
    }
    io_uring_cq_advance(&u->ring, n);
}

// Hands over what is queued. False: it is to stop, and nothing is left.
static bool take_queued(struct reader *r)
{
    struct reader_uring *u = r->uring;
    struct read *q;
    pthread_mutex_lock(&r->lock);
    while (u->n_reads < r->depth && (q = reader_pop(&r->for_ring)))
        hand_over(r, q);
    r->naps = u->n_reads < r->depth;
    bool over = r->ring_stopped && !u->n_reads;
    pthread_mutex_unlock(&r->lock);
    return !over;
}

// The kernel takes nothing any more. What it has not taken the threads read, as all that is to
// come; what it has taken it finishes.
static void give_up(struct reader *r, int error)
{
    struct reader_uring *u = r->uring;
    log_warn("io_uring does not work any longer (%s); threads read instead", strerror(error));
    pthread_mutex_lock(&r->lock);
    r->kind = READER_DIRECT;
    r->naps = false;
    for (unsigned n = io_uring_sq_ready(&u->ring), i = u->ring.sq.sqe_tail - n; n; n--, i++) {
        struct read *q =
            (struct read *)(uintptr_t)u->ring.sq.sqes[i & *u->ring.sq.kring_mask].user_data;
        if (!q)
            continue;
        u->n_reads--;
        pass_on(r, q, READER_DIRECT);
    }
    for (struct read *q; (q = reader_pop(&r->for_ring));)
        pass_on(r, q, READER_DIRECT);
    pthread_mutex_unlock(&r->lock);
}

// After giving up: a read that came back short is not handed over again.
static void take_the_rest(struct reader *r)
{
    struct reader_uring *u = r->uring;
    while (u->n_reads) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;
        io_uring_for_each_cqe(&u->ring, head, cqe)
        {
            struct read *q = io_uring_cqe_get_data(cqe);
            n++;
            if (!q)
                continue;
            u->n_reads--;
            pthread_mutex_lock(&r->lock);
            pass_on(r, q, READER_DIRECT); // and read again: this happens once, if ever
            pthread_mutex_unlock(&r->lock);
        }
        io_uring_cq_advance(&u->ring, n);
        if (!n)
            nanosleep(&a_moment, NULL);
    }
}

static void *uring_main(void *arg)
{
    struct reader *r = arg;
    int failures = 0;
    arm_wake(r->uring);
    while (take_queued(r)) {
        int rc = disk_io->ring_submit(&r->uring->ring);
        bool failed = rc < 0 && rc != -EINTR;
        failures = failed ? failures + 1 : 0;
        if (failed && rc != -EAGAIN && rc != -EBUSY && rc != -ENOMEM)
            failures = MOST_FAILURES;
        if (failures >= MOST_FAILURES) {
            give_up(r, -rc);
            take_the_rest(r);
            break;
        }
        if (failed) // the kernel is short of memory
            nanosleep(&a_moment, NULL);
        take_results(r);
    }
    return NULL;
}

// ---- opening -----------------------------------------------------------------------------------

static void register_memory(struct reader *r)
{
    struct iovec pieces[MAX_PIECES];
    uint8_t *at = r->o.memory;
    size_t left = at ? r->o.memory_bytes : 0;
    unsigned n = 0;
    for (; left && n < MAX_PIECES; n++) {
        size_t size = left < piece_bytes ? left : piece_bytes;
        pieces[n] = (struct iovec){at, size};
        at += size;
        left -= size;
    }
    if (!n || left)
        return;
    int rc = disk_io->ring_register(&r->uring->ring, pieces, n);
    r->uring->memory = r->registered = rc >= 0;
    if (rc < 0)
        log_debug("memory is not registered with io_uring: %s", strerror(-rc));
}

static void register_files(struct reader *r)
{
    for (int i = 0; i < r->o.n_files; i++)
        if (r->direct[i] < 0)
            return; // registered files have to be open
    r->uring->files = !io_uring_register_files(&r->uring->ring, r->direct, (unsigned)r->o.n_files);
}

// Whether a read of a file comes back: kernels before 5.6 have none, and filters may let rings be
// made and not used. 0 or an errno.
static int try_read(struct reader *r)
{
    struct reader_uring *u = r->uring;
    struct io_uring_cqe *cqe;
    void *block = NULL;
    int file = 0;
    while (r->direct[file] < 0)
        file++;
    if (posix_memalign(&block, READER_ALIGN, READER_ALIGN))
        return ENOMEM;
    io_uring_prep_read(next_entry(u), r->direct[file], block, READER_ALIGN, 0);
    int rc;
    do
        rc = disk_io->ring_submit(&u->ring);
    while (rc == -EINTR);
    if (rc >= 0)
        rc = io_uring_peek_cqe(&u->ring, &cqe);
    if (!rc) {
        rc = disk_io->ring_result(cqe->res);
        io_uring_cqe_seen(&u->ring, cqe);
    }
    free(block);
    return rc < 0 ? -rc : 0;
}

static int start_thread(struct reader *r)
{
    sigset_t before;
    signals_block(&before);
    int error = pthread_create(&r->ring_thread, NULL, uring_main, r);
    signals_restore(&before);
    return error;
}

int reader_uring_open(struct reader *r)
{
    struct reader_uring *u = calloc(1, sizeof *u);
    if (!u)
        return ENOMEM;
    u->wake = eventfd(0, EFD_CLOEXEC);
    int rc = u->wake < 0 ? -errno : disk_io->ring_init(&u->ring, (unsigned)r->depth + 2);
    if (rc >= 0) {
        r->uring = u;
        int error = try_read(r);
        if (!error) {
            register_memory(r);
            register_files(r);
            error = start_thread(r);
        }
        if (!error)
            return 0;
        io_uring_queue_exit(&u->ring);
        rc = -error;
    }
    if (u->wake >= 0)
        close(u->wake);
    free(u);
    r->uring = NULL;
    r->registered = false;
    return -rc;
}

void reader_uring_wake(struct reader *r)
{
    uint64_t one = 1;
    ssize_t n = write(r->uring->wake, &one, sizeof one); // cannot fail: the count is never full
    (void)n;
}

void reader_uring_close(struct reader *r)
{
    struct reader_uring *u = r->uring;
    if (!u)
        return;
    pthread_mutex_lock(&r->lock);
    r->ring_stopped = true;
    pthread_mutex_unlock(&r->lock);
    reader_uring_wake(r);
    pthread_join(r->ring_thread, NULL);
    io_uring_queue_exit(&u->ring);
    close(u->wake);
    free(u);
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
