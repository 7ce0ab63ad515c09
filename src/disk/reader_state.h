// The inside of struct reader, for reader.c and the ways to read.
#pragma once

#include "disk/reader.h"

#include <pthread.h>

enum { READER_THREADS = 4, READER_URING_DEPTH = 16 };

struct reader {
    struct reader_options o;
    int *direct; // (n_files) for reads past the page cache; -1: the system refuses
    int *cached; // (n_files) for reads through it; not the caller's
    enum reader_kind kind;
    int depth;
    bool registered;
    pthread_t threads[READER_MAX_DEPTH];
    int n_threads;
    struct reader_uring *uring; // NULL: another kind

    pthread_mutex_t lock;
    pthread_cond_t queued, done;
    struct read *first, *last; // that nobody has begun; under lock, as all below
    bool stopped;
    uint64_t bytes, reads;
    int n_pending; // queued or under way
    int64_t busy_since, busy_ns;
};

// What of the read lies in its file.
size_t reader_wanted(const struct reader *r, const struct read *q);
// Takes the oldest read that nobody has begun; under lock. NULL: none.
struct read *reader_pop(struct reader *r);
// `q` is through; error: errno of one that failed, 0 with less than was wanted: the file ends.
void reader_complete(struct reader *r, struct read *q, int error);
// Reads what is left of `q`, in this thread: directly, or through the page cache, from which it is
// dropped. What does not go directly is tried the other way.
void reader_read(struct reader *r, struct read *q, bool direct);

// io_uring. 0: it is open and its thread runs; else why not: an errno.
int reader_uring_open(struct reader *r);
void reader_uring_wake(struct reader *r);  // reads were queued, or it is stopped
void reader_uring_close(struct reader *r); // after the thread ended
