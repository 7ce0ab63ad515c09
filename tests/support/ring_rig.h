// A whole ring in one process: a head and its workers, each with a state folder of its own, threads
// instead of processes, real sockets and TLS over loopback.
#pragma once

#include "cluster/node.h"
#include "cluster/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// How nodes that are opened from now on keep their weights; zeros: as they like.
extern struct weights_options ring_weights;

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

// A head that listens on loopback, on `port` (0: any); `name` of its state folder.
struct node *ring_head_open(const char *name, uint16_t port);
// Waits until the ring runs; fails the test when it ends or nothing happens for a long time.
void ring_await_running(struct node *n);
// Waits until a note contains `what`.
void ring_await_note(struct node *n, const char *what);

// ---- A model and a whole ring that runs it.
enum { RING_BATCH = 80, RING_CONTEXT = 128, RING_MAX_WORKERS = 4 };

struct ring_file {
    struct gguf *gguf;
    struct model *model;
};
struct ring_file ring_file_open(const char *path);
void ring_file_close(struct ring_file *f);
// Three sessions of RING_CONTEXT tokens, RING_BATCH at a time, every token with logits, F32.
struct local_options ring_engine(int n_threads);
// `layers` NULL: evenly.
struct window_table ring_split(int n_layers, int n_nodes, int n_rounds, const int *layers);

struct ring {
    struct ring_file file;
    struct node *head;
    struct ring_worker workers[RING_MAX_WORKERS]; // state folders worker0, worker1, ..
    int n_workers;
};
// The head begins; nobody has joined yet.
void ring_begin(struct ring *r, const char *path, const struct window_table *table, int n_threads,
                enum wire_activation activation, uint16_t port);
// All workers join, one after the other so that their order is known, and the ring runs.
void ring_open(struct ring *r, const char *path, const struct window_table *table, int n_threads,
               enum wire_activation activation);
void ring_close(struct ring *r); // the head first; every worker then waits for the next one
