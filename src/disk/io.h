// Every call to the disk goes through this table, so that tests can swap it for one that fails.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_stamp; // disk/stamp.h
struct io_uring;   // liburing.h
struct iovec;

struct disk_io {
    int (*open)(const char *path, int flags, unsigned mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *data, size_t size, int64_t offset);
    ssize_t (*pwrite)(int fd, const void *data, size_t size, int64_t offset);
    int64_t (*size)(int fd); // -1: errno
    int (*stamp)(int fd, struct disk_stamp *out);
    void *(*map)(int fd, size_t size, int64_t offset); // read-only, shared; NULL: errno
    int (*unmap)(void *p, size_t size);
    int (*advise)(void *p, size_t size, int advice); // madvise
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*fsync)(int fd);
    int (*drop)(int fd, int64_t offset, int64_t size); // from the page cache; 0 or an errno
    int (*at_random)(int fd); // no reading beyond what is asked for; 0 or an errno

    // io_uring, where the build has it; else NULL. Negative: an errno, negated.
    int (*ring_init)(struct io_uring *ring, unsigned entries);
    int (*ring_register)(struct io_uring *ring, const struct iovec *memory, unsigned n);
    int (*ring_submit)(struct io_uring *ring); // what is prepared, and waits for one completion
    int (*ring_result)(int result);            // of a read: what the kernel says of it
};

extern const struct disk_io disk_io_real;
// What everybody calls. Swapped only by tests, before any thread starts.
extern const struct disk_io *disk_io;

// pread until `size` bytes are there. 0, or -1 with errno (0: the file ended early).
int disk_read_full(int fd, void *data, size_t size, int64_t offset);
int disk_write_full(int fd, const void *data, size_t size, int64_t offset);
