// Every call to the disk goes through this table, so that tests can swap it for one that fails.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_stamp; // disk/stamp.h

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
};

extern const struct disk_io disk_io_real;
// What everybody calls. Swapped only by tests, before any thread starts.
extern const struct disk_io *disk_io;

// pread until `size` bytes are there. 0, or -1 with errno (0: the file ended early).
int disk_read_full(int fd, void *data, size_t size, int64_t offset);
int disk_write_full(int fd, const void *data, size_t size, int64_t offset);
