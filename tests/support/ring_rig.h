// A whole ring in one process: a head and its workers, each with a state folder of its own, threads
// instead of processes, real sockets and TLS over loopback.
#pragma once

#include "cluster/node.h"
#include "cluster/worker.h"

#include <pthread.h>
#include <stdatomic.h>

struct ring_worker {
    struct worker_options o;
    struct token token;
    char folder[128];
    pthread_t thread;
    atomic_bool stop;
    atomic_bool ended;
    int rc;
    struct err e;
    pthread_mutex_t lock;
    char said[4096]; // under lock: all lines, a newline behind each
};

// Starts a worker with the state folder `name` and runs it until it is stopped.
void ring_worker_start(struct ring_worker *w, const char *name, const char *token,
                       const char *model_path, int n_threads);
void ring_worker_stop(struct ring_worker *w); // and waits; rc and e stay
// Waits (with a generous guard) until the worker has said a line that contains `what`.
void ring_worker_await(struct ring_worker *w, const char *what);
// Waits until worker_run has returned by itself.
void ring_worker_await_end(struct ring_worker *w);

// A head that listens on loopback; `name` of its state folder.
struct node *ring_head_open(const char *name);
// Waits until the ring runs; fails the test when it ends or nothing happens for a long time.
void ring_await_running(struct node *n);
// Waits until a note contains `what`.
void ring_await_note(struct node *n, const char *what);
