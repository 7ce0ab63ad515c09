// Opening a reader: which way reads can go is found by trying each on the files themselves, since
// neither the kernel's version nor the kind of file system tells what a container, a filter or a
// network allows.
#include "disk/reader_state.h"

#include "base/check.h"
#include "base/log.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// The same file once more, whatever its name is now.
static int open_again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return disk_io->open(path, O_RDONLY | flags, 0);
}

// Reads a block past the page cache: some file systems refuse only then. 0 or an errno.
static int try_direct(int fd)
{
    void *block = NULL;
    if (posix_memalign(&block, READER_ALIGN, READER_ALIGN))
        return ENOMEM;
    ssize_t n;
    do
        n = disk_io->pread(fd, block, READER_ALIGN, 0);
    while (n < 0 && errno == EINTR);
    int error = n < 0 ? errno : 0;
    free(block);
    return error;
}

static void open_directly(struct reader *r, int i)
{
    r->direct[i] = open_again(r->o.fds[i], O_DIRECT);
    int error = r->direct[i] < 0 ? errno : try_direct(r->direct[i]);
    if (!error)
        return;
    log_info("file %d is read through the page cache, and dropped from it: direct reads are "
             "refused (%s)",
             i, strerror(error));
    if (r->direct[i] >= 0)
        disk_io->close(r->direct[i]);
    r->direct[i] = -1;
}

static int open_files(struct reader *r, struct err *e)
{
    size_t n = (size_t)r->o.n_files;
    r->direct = malloc(n * sizeof *r->direct);
    r->cached = malloc(n * sizeof *r->cached);
    if (!r->direct || !r->cached)
        return err_set(e, ERR_NO_MEMORY, "no memory for reading ahead");
    for (size_t i = 0; i < n; i++)
        r->direct[i] = r->cached[i] = -1;
    for (size_t i = 0; i < n; i++) {
        r->cached[i] = open_again(r->o.fds[i], 0);
        if (r->cached[i] < 0) // no /proc, or no right any longer
            r->cached[i] = r->o.fds[i];
        else
            disk_io->at_random(r->cached[i]);
        if (r->o.best != READER_BUFFERED)
            open_directly(r, (int)i);
    }
    return 0;
}

static int count_direct(const struct reader *r)
{
    int n = 0;
    for (int i = 0; i < r->o.n_files; i++)
        n += r->direct[i] >= 0;
    return n;
}

static int choose_way(struct reader *r, struct err *e)
{
    int asked = r->o.depth > READER_MAX_DEPTH ? READER_MAX_DEPTH : r->o.depth;
    int n_direct = count_direct(r), n_threads = asked ? asked : READER_THREADS;
    r->kind = r->last = n_direct ? r->o.best : READER_BUFFERED;
    if (r->kind == READER_URING) {
        r->depth = asked ? asked : READER_URING_DEPTH;
        int why = reader_uring_open(r);
        if (why) {
            log_info("io_uring is not to be had (%s); threads read instead", strerror(why));
            r->kind = r->last = READER_DIRECT;
        } else if (n_direct == r->o.n_files) {
            n_threads = 1; // for what goes wrong
        }
    }
    if (!reader_threads_open(r, n_threads))
        return err_set(e, ERR_NO_MEMORY, "cannot start a thread that reads");
    return 0;
}

int reader_open(struct reader **out, const struct reader_options *o, struct err *e)
{
    CHECK(o->n_files > 0);
    struct reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return err_set(e, ERR_NO_MEMORY, "no memory for reading ahead");
    r->o = *o;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->queued, NULL);
    pthread_cond_init(&r->done, NULL);
    if (o->memory)
        madvise(o->memory, o->memory_bytes, MADV_HUGEPAGE); // a hint; see reader_options
    int rc = open_files(r, e);
    if (!rc)
        rc = choose_way(r, e);
    if (rc) {
        reader_close(r);
        return rc;
    }
    char way[64];
    reader_describe(r, way, sizeof way);
    log_debug("reading ahead: %s", way);
    *out = r;
    return 0;
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    reader_uring_close(r); // first: it hands reads on to threads
    reader_threads_close(r);
    for (int i = 0; i < r->o.n_files; i++) {
        if (r->direct && r->cached && r->direct[i] >= 0)
            disk_io->close(r->direct[i]);
        if (r->direct && r->cached && r->cached[i] >= 0 && r->cached[i] != r->o.fds[i])
            disk_io->close(r->cached[i]);
    }
    free(r->direct);
    free(r->cached);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->queued);
    pthread_cond_destroy(&r->done);
    free(r);
}
