// A disk that fails when a test says so: see faulty_disk.h. Counters are atomic, since weights may
// be read by several threads.
#include "faulty_disk.h"

#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>

static struct disk_faults faults;
static long calls[DISK_CALLS], direct_reads;
static int64_t written;
static bool happened;

// Counts a call; true when it is the one that fails, with errno set.
static bool fails(enum disk_call call)
{
    long n = __atomic_fetch_add(&calls[call], 1, __ATOMIC_RELAXED);
    if (call != faults.call || n < faults.nth || (n > faults.nth && !faults.onwards))
        return false;
    __atomic_store_n(&happened, true, __ATOMIC_RELAXED);
    errno = faults.error;
    return true;
}

static bool interrupted(enum disk_call call)
{
    if (!faults.interrupt || __atomic_load_n(&calls[call], __ATOMIC_RELAXED) % 2 == 0)
        return false;
    errno = EINTR;
    return true;
}

static size_t cut(size_t size)
{
    return faults.most && size > faults.most ? faults.most : size;
}

static int faulty_open(const char *path, int flags, unsigned mode)
{
    if (faults.no_direct && flags & O_DIRECT) {
        errno = EINVAL;
        return -1;
    }
    return fails(DISK_OPEN) ? -1 : disk_io_real.open(path, flags, mode);
}

static int faulty_close(int fd) // closes all the same, as the kernel does
{
    bool failing = fails(DISK_CLOSE);
    int error = errno, rc = disk_io_real.close(fd);
    if (!failing)
        return rc;
    errno = error;
    return -1;
}

// Counts a direct read; true when it is one too many.
static bool refused(void)
{
    return faults.direct_reads &&
           __atomic_fetch_add(&direct_reads, 1, __ATOMIC_RELAXED) >= faults.direct_reads;
}

static ssize_t faulty_pread(int fd, void *data, size_t size, int64_t offset)
{
    if (fails(DISK_PREAD))
        return faults.error ? -1 : 0;
    if (faults.direct_reads && fcntl(fd, F_GETFL) & O_DIRECT && refused()) {
        errno = EINVAL;
        return -1;
    }
    return interrupted(DISK_PREAD) ? -1 : disk_io_real.pread(fd, data, cut(size), offset);
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, int64_t offset)
{
    if (fails(DISK_PWRITE) || interrupted(DISK_PWRITE))
        return -1;
    size = cut(size);
    if (faults.full && written + (int64_t)size > faults.room)
        size = (size_t)(faults.room - written);
    if (faults.full && size == 0) {
        happened = true;
        errno = ENOSPC;
        return -1;
    }
    ssize_t n = disk_io_real.pwrite(fd, data, size, offset);
    written += n > 0 ? n : 0;
    return n;
}

static int64_t faulty_size(int fd)
{
    return fails(DISK_SIZE) ? -1 : disk_io_real.size(fd);
}

static int faulty_stamp(int fd, struct disk_stamp *out)
{
    return fails(DISK_STAMP) ? -1 : disk_io_real.stamp(fd, out);
}

static void *faulty_map(int fd, size_t size, int64_t offset)
{
    return fails(DISK_MAP) ? NULL : disk_io_real.map(fd, size, offset);
}

static int faulty_unmap(void *p, size_t size)
{
    return fails(DISK_UNMAP) ? -1 : disk_io_real.unmap(p, size);
}

static int faulty_advise(void *p, size_t size, int advice)
{
    return fails(DISK_ADVISE) ? -1 : disk_io_real.advise(p, size, advice);
}

static int faulty_rename(const char *from, const char *to)
{
    return fails(DISK_RENAME) ? -1 : disk_io_real.rename(from, to);
}

static int faulty_unlink(const char *path)
{
    return fails(DISK_UNLINK) ? -1 : disk_io_real.unlink(path);
}

static int faulty_drop(int fd, int64_t offset, int64_t size)
{
    return disk_io_real.drop(fd, offset, size); // a hint: nobody looks at what comes of it
}

static int faulty_fsync(int fd)
{
    return fails(DISK_FSYNC) ? -1 : disk_io_real.fsync(fd);
}

static int faulty_at_random(int fd)
{
    return disk_io_real.at_random(fd); // a hint too
}

static int faulty_ring_init(struct io_uring *ring, unsigned entries)
{
    return fails(DISK_RING_INIT) ? -faults.error : disk_io_real.ring_init(ring, entries);
}

static int faulty_ring_register(struct io_uring *ring, const struct iovec *memory, unsigned n)
{
    return fails(DISK_RING_REGISTER) ? -faults.error : disk_io_real.ring_register(ring, memory, n);
}

static int faulty_ring_submit(struct io_uring *ring)
{
    return fails(DISK_RING_SUBMIT) ? -faults.error : disk_io_real.ring_submit(ring);
}

static int faulty_ring_result(int result) // what was read lies there all the same
{
    if (fails(DISK_RING_RESULT))
        return -faults.error;
    if (refused())
        return -EINVAL;
    if (interrupted(DISK_RING_RESULT))
        return -EINTR;
    return disk_io_real.ring_result(result > 0 ? (int)cut((size_t)result) : result);
}

static const struct disk_io faulty = {
    .open = faulty_open,
    .close = faulty_close,
    .pread = faulty_pread,
    .pwrite = faulty_pwrite,
    .size = faulty_size,
    .stamp = faulty_stamp,
    .map = faulty_map,
    .unmap = faulty_unmap,
    .advise = faulty_advise,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
    .fsync = faulty_fsync,
    .drop = faulty_drop,
    .at_random = faulty_at_random,
    .ring_init = faulty_ring_init,
    .ring_register = faulty_ring_register,
    .ring_submit = faulty_ring_submit,
    .ring_result = faulty_ring_result,
};

void faulty_disk(struct disk_faults f)
{
    faults = f;
    written = 0;
    direct_reads = 0;
    happened = false;
    for (int i = 0; i < DISK_CALLS; i++)
        calls[i] = 0;
    disk_io = &faulty;
}

bool faulty_disk_end(void)
{
    disk_io = &disk_io_real;
    return __atomic_load_n(&happened, __ATOMIC_RELAXED);
}

long faulty_disk_calls(enum disk_call call)
{
    return __atomic_load_n(&calls[call], __ATOMIC_RELAXED);
}
