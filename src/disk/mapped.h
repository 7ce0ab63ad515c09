// A file mapped into memory for reading, that does not kill the process when it cannot be read.
//
// Touching a page that lies beyond the end of a file that was cut short, or that the disk fails to
// read, raises SIGBUS. A handler, seen to by each mapping, finds the mapping that the
// address lies in, marks it as lost and puts zeros in the place of all of it, so that whoever
// touched it goes on and comes to an end, with numbers that mean nothing: mapped_check then says
// so. Zeros take no memory and need no disk; one replacement ends all faults of the mapping.
//
// A signal for an address that lies in no mapping goes to the handler that was there before, or
// ends the process as it would have.
//
// Threads: any, but a mapping is not closed while another thread reads it. Threads that read one do
// not block SIGBUS (base/signals.h); the kernel kills a process for a fault in one that does.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAPPED_MAX = 4096 }; // mappings of the process at a time

struct mapped {
    uint8_t *base; // NULL: not mapped
    size_t size;
    int slot;
};

// The first `size` bytes of fd, at least one, which may be closed afterwards. `path` is for
// messages.
int mapped_open(struct mapped *m, int fd, uint64_t size, const char *path, struct err *e);
void mapped_close(struct mapped *m); // a zeroed one: nothing happens

// 0, or that something of it could not be read since it was opened. `cure`: what to do.
int mapped_check(const struct mapped *m, const char *path, const char *cure, struct err *e);
