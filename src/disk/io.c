// The real disk, and the pointer that tests swap.
#include "disk/io.h"

#include "disk/stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef RONDO_URING
#include <liburing.h>
#endif

static int real_open(const char *path, int flags, unsigned mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t real_pread(int fd, void *data, size_t size, int64_t offset)
{
    return pread(fd, data, size, offset);
}

static ssize_t real_pwrite(int fd, const void *data, size_t size, int64_t offset)
{
    return pwrite(fd, data, size, offset);
}

static int64_t real_size(int fd)
{
    struct stat s;
    return fstat(fd, &s) ? -1 : s.st_size;
}

static int real_stamp(int fd, struct disk_stamp *out)
{
    struct stat s;
    if (fstat(fd, &s))
        return -1;
    *out = (struct disk_stamp){
        .bytes = s.st_size,
        .written_s = s.st_mtim.tv_sec,
        .written_ns = s.st_mtim.tv_nsec,
    };
    return 0;
}

static void *real_map(int fd, size_t size, int64_t offset)
{
    void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, offset);
    return p == MAP_FAILED ? NULL : p;
}

static int real_drop(int fd, int64_t offset, int64_t size)
{
    return posix_fadvise(fd, offset, size, POSIX_FADV_DONTNEED);
}

static int real_at_random(int fd)
{
    return posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

#ifdef RONDO_URING
// The thread that waits runs what completions need, instead of being interrupted for it; kernels
// before 5.19 do not know that.
static int real_ring_init(struct io_uring *ring, unsigned entries)
{
    int rc = io_uring_queue_init(entries, ring, IORING_SETUP_COOP_TASKRUN);
    return rc == -EINVAL ? io_uring_queue_init(entries, ring, 0) : rc;
}

static int real_ring_register(struct io_uring *ring, const struct iovec *memory, unsigned n)
{
    return io_uring_register_buffers(ring, memory, n);
}

static int real_ring_submit(struct io_uring *ring)
{
    return io_uring_submit_and_wait(ring, 1);
}

static int real_ring_result(int result)
{
    return result;
}
#endif

const struct disk_io disk_io_real = {
    .open = real_open,
    .close = close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .size = real_size,
    .stamp = real_stamp,
    .map = real_map,
    .unmap = munmap,
    .advise = madvise,
    .rename = rename,
    .unlink = unlink,
    .fsync = fsync,
    .drop = real_drop,
    .at_random = real_at_random,
#ifdef RONDO_URING
    .ring_init = real_ring_init,
    .ring_register = real_ring_register,
    .ring_submit = real_ring_submit,
    .ring_result = real_ring_result,
#endif
};

const struct disk_io *disk_io = &disk_io_real;

int disk_read_full(int fd, void *data, size_t size, int64_t offset)
{
    uint8_t *at = data;
    while (size) {
        ssize_t n = disk_io->pread(fd, at, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = 0;
            return -1;
        }
        at += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

int disk_write_full(int fd, const void *data, size_t size, int64_t offset)
{
    const uint8_t *at = data;
    while (size) {
        ssize_t n = disk_io->pwrite(fd, at, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return -1;
        }
        at += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}
