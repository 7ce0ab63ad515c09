// The inside of struct reader. reader.c has the queues, reader_open.c chooses the way by trying,
// reader_threads.c and reader_uring.c read.
//
// A read waits in one of two queues, of the ring or of the threads, until somebody begins it. With
// io_uring a read that the ring cannot do moves on to the queue of the threads.
#pragma once

#include "disk/reader.h"

#include <pthread.h>

enum {
    READER_THREADS = 4,
    READER_URING_DEPTH = 16,
};

struct read_queue {
    struct read *first, *last;
};

struct reader {
    struct reader_options o;
    int *direct; // (n_files) for reads past the page cache; -1: the system refuses
    int *cached; // (n_files) for reads through it; not the caller's, if that can be
    int depth;
    bool registered;
    pthread_t threads[READER_MAX_DEPTH], ring_thread;
    int n_threads;
    struct reader_uring *uring; // NULL: another kind
    atomic_bool told;           // that a read went another way

    pthread_mutex_t lock;
    pthread_cond_t queued, done;
    enum reader_kind kind; // where new reads go; under lock, as all below
    enum reader_kind last; // of the read that was done last
    struct read_queue for_ring, for_threads;
    bool naps; // the ring's thread wants to be woken when there is a read for it
    bool ring_stopped, threads_stopped;
    uint64_t bytes, reads;
    int n_pending; // queued or under way
    int n_waiting; // in reader_wait
    int64_t busy_since, busy_ns;
};

// What of the read lies in its file.
size_t reader_wanted(const struct reader *r, const struct read *q);

// Both under lock.
void reader_push(struct read_queue *queue, struct read *q);
struct read *reader_pop(struct read_queue *queue); // the oldest; NULL: none

// `q` is through; error: errno of one that failed, 0 with less than was wanted: the file ends.
void reader_complete(struct reader *r, struct read *q, int error);
// Says once what became of a read that could not go its way.
void reader_tell(struct reader *r, enum reader_kind way, int error);

// Threads. How many it started, up to n.
int reader_threads_open(struct reader *r, int n);
void reader_threads_close(struct reader *r); // after the last read

// io_uring. 0: it is open and its thread runs; else why not: an errno.
int reader_uring_open(struct reader *r);
void reader_uring_wake(struct reader *r);  // reads were queued, or it is stopped
void reader_uring_close(struct reader *r); // what is in the ring comes to its end first
