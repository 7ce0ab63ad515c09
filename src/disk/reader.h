// Reading ahead: stretches of files into the caller's memory, several at a time, past the page
// cache where that can be.
//
// Three ways, each tried by doing it, the best first; a file system that refuses one only when it
// is to read (some do) makes that read go the next way:
//
//     READER_URING     io_uring, O_DIRECT, buffers registered where the user's limits allow
//     READER_DIRECT    O_DIRECT, pread in a few threads
//     READER_BUFFERED  pread in a few threads, which let the page cache drop what they read
//
// A read that fails is tried the next way before it is FAILED; what is read short is read on.
//
// Threads: with io_uring one of the reader's own waits for the kernel and one sleeps until a read
// has to go another way, else a few read. The calls for reads may come from any thread. Nothing is
// allocated after reader_open.
#pragma once

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reader_kind { READER_URING, READER_DIRECT, READER_BUFFERED, READER_KINDS };
enum { READER_ALIGN = 4096, READER_MAX_DEPTH = 64 };

enum read_state { READ_IDLE, READ_PENDING, READ_DONE, READ_FAILED };

// A read: the caller's, who leaves it alone, and the memory that it fills, while it is PENDING.
// `to`, `offset` and `size` are multiples of READER_ALIGN. What lies beyond the end of the file is
// not read and no error.
struct read {
    uint8_t *to;
    uint64_t offset;
    size_t size;
    int file;          // index in reader_options.fds
    _Atomic int state; // enum read_state
    int error;         // FAILED: errno; 0: the file is shorter than it was
    size_t got;        // the reader's, as the next
    enum reader_kind way;
    struct read *next;
};

struct reader_options {
    enum reader_kind best; // where the trying begins
    // Open for reading, of `sizes` bytes; the caller's, and they outlive the reader. It opens the
    // same files again for direct reads, by descriptor: a file that was replaced meanwhile does not
    // get in.
    const int *fds;
    const uint64_t *sizes;
    int n_files;
    // Memory that all reads go to, registered with io_uring where limits allow; NULL: anywhere.
    // What is registered is held by the kernel: until reader_close it is neither unmapped nor given
    // back with madvise, or reads would go to pages that are no longer there. It becomes huge pages
    // as far as it is aligned to them and was not touched before: a read then is few long pieces
    // instead of a thousand pages, which some disks do at twice the rate.
    void *memory;
    size_t memory_bytes;
    int depth; // reads under way at a time, up to READER_MAX_DEPTH; 0: what is best for the kind
};

struct reader;
int reader_open(struct reader **out, const struct reader_options *o, struct err *e);
void reader_close(struct reader *r); // what is pending comes to its end first

// Queues a read, now PENDING. Never blocks for longer than a lock is held. Reads begin in the order
// of the calls.
void reader_start(struct reader *r, struct read *q);
// Takes back a read that nobody has begun: it is IDLE then. False: it is under way or through.
bool reader_cancel(struct reader *r, struct read *q);
// Blocks until `q` is no longer PENDING; its state.
enum read_state reader_wait(struct reader *r, struct read *q);

struct reader_report {
    enum reader_kind kind; // of the last read, or of the first to come
    bool registered;       // buffers, with io_uring
    uint64_t bytes, reads; // that are done
    int64_t cpu_ns;        // processor time of the reader's own threads
    int64_t busy_ns;       // during which at least one read was pending
};
struct reader_report reader_report(struct reader *r);
const char *reader_kind_name(enum reader_kind k); // "io_uring", "direct", "buffered"
// "io_uring with registered buffers", "direct reads in 4 threads", ..
void reader_describe(struct reader *r, char *out, size_t size);
