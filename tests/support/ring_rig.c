// A ring in one process: see ring_rig.h.
#include "ring_rig.h"
#include "support.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { GUARD_MS = 60000 };

struct weights_options ring_weights;

static const char *state_folder(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s", test_file(name));
    mkdir(out, 0700);
    return out;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void say(void *ctx, const char *line)
{
    struct ring_worker *w = ctx;
    pthread_mutex_lock(&w->lock);
    size_t n = strlen(w->said);
    snprintf(w->said + n, sizeof w->said - n, "%s\n", line);
    pthread_mutex_unlock(&w->lock);
}

static bool stopped(void *ctx)
{
    return atomic_load(&((struct ring_worker *)ctx)->stop);
}

static void *worker_main(void *arg)
{
    struct ring_worker *w = arg;
    w->rc = worker_run(&w->o, &w->e);
    atomic_store(&w->ended, true);
    return NULL;
}

void ring_worker_start(struct ring_worker *w, const char *name, const char *token,
                       const char *model_path, int n_threads)
{
    struct err e = {0};
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    assert_ok(token_read(&w->token, token, strlen(token), &e), &e);
    w->o = (struct worker_options){
        .folder = state_folder(name, w->folder, sizeof w->folder),
        .token = &w->token,
        .model_path = model_path,
        .host = "127.0.0.1",
        .n_threads = n_threads,
        .isa = ISA_COUNT,
        .weights = ring_weights,
        .say = say,
        .stop = stopped,
        .ctx = w,
    };
    assert_int_equal(pthread_create(&w->thread, NULL, worker_main, w), 0);
}

void ring_worker_stop(struct ring_worker *w)
{
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
}

void ring_worker_await(struct ring_worker *w, const char *what)
{
    for (int64_t end = clock_ms() + GUARD_MS; clock_ms() < end; nap()) {
        pthread_mutex_lock(&w->lock);
        bool there = strstr(w->said, what) != NULL;
        pthread_mutex_unlock(&w->lock);
        if (there)
            return;
    }
    fail_msg("the worker never said '%s' but: %s", what, w->said);
}

void ring_worker_await_end(struct ring_worker *w)
{
    for (int64_t end = clock_ms() + GUARD_MS; clock_ms() < end; nap())
        if (atomic_load(&w->ended))
            return;
    fail_msg("the worker did not end; it said: %s", w->said);
}

struct node *ring_head_open(const char *name, uint16_t port)
{
    char folder[128];
    struct node_options o = {
        .folder = state_folder(name, folder, sizeof folder), .host = "127.0.0.1", .port = port};
    struct err e = {0};
    struct node *n;
    assert_ok(node_open(&n, &o, &e), &e);
    return n;
}

static const char *last_note(const struct node_status *s)
{
    return s->n_notes ? s->notes[(s->n_notes - 1) % NODE_NOTES] : "nothing";
}

void ring_await_running(struct node *n)
{
    struct node_status s = {0};
    for (int64_t end = clock_ms() + GUARD_MS; clock_ms() < end;) {
        node_wait(n, 20, &s);
        if (s.phase == DEPLOY_RUNNING)
            return;
    }
    fail_msg("the ring does not run; phase %d, %d members, last note: %s", (int)s.phase,
             s.n_members, last_note(&s));
}

void ring_await_note(struct node *n, const char *what)
{
    struct node_status s = {0};
    for (int64_t end = clock_ms() + GUARD_MS; clock_ms() < end;) {
        node_wait(n, 20, &s);
        for (uint32_t i = 0; i < s.n_notes && i < NODE_NOTES; i++)
            if (strstr(s.notes[i], what))
                return;
    }
    fail_msg("the head never noted '%s' but: %s", what, last_note(&s));
}

// ---- A model and a whole ring.

struct ring_file ring_file_open(const char *path)
{
    struct ring_file f;
    struct err e = {0};
    assert_ok(gguf_open(&f.gguf, path, &e), &e);
    assert_ok(model_open(&f.model, f.gguf, &e), &e);
    return f;
}

void ring_file_close(struct ring_file *f)
{
    model_free(f->model);
    gguf_free(f->gguf);
}

struct local_options ring_engine(int n_threads)
{
    return (struct local_options){.n_threads = n_threads,
                                  .isa = ISA_COUNT,
                                  .kv_type = KV_F32,
                                  .max_sessions = 3,
                                  .max_context = RING_CONTEXT,
                                  .max_batch = RING_BATCH,
                                  .max_outputs = RING_BATCH,
                                  .weights = ring_weights};
}

struct window_table ring_split(int n_layers, int n_nodes, int n_rounds, const int *layers)
{
    struct window_table t;
    struct err e = {0};
    int even[PLAN_MAX_NODES];
    windows_even(n_layers, n_nodes, even);
    assert_ok(windows_split(&t, n_layers, n_nodes, layers ? layers : even, n_rounds, &e), &e);
    return t;
}

void ring_begin(struct ring *r, const char *path, const struct window_table *table, int n_threads,
                enum wire_activation activation, uint16_t port)
{
    struct err e = {0};
    *r = (struct ring){.file = ring_file_open(path), .head = ring_head_open("head", port)};
    struct node_ring o = {.model = r->file.model,
                          .table = *table,
                          .engine = ring_engine(n_threads),
                          .activation = activation};
    assert_ok(node_begin(r->head, &o, &e), &e);
    r->n_workers = table->n_nodes - 1;
}

void ring_open(struct ring *r, const char *path, const struct window_table *table, int n_threads,
               enum wire_activation activation)
{
    ring_begin(r, path, table, n_threads, activation, 0);
    for (int i = 0; i < r->n_workers; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker%d", i);
        ring_worker_start(&r->workers[i], name, node_token(r->head), path, n_threads);
        ring_worker_await(&r->workers[i], "joined");
    }
    ring_await_running(r->head);
}

void ring_close(struct ring *r)
{
    node_close(r->head);
    for (int i = 0; i < r->n_workers; i++) {
        ring_worker_await(&r->workers[i], "waiting for the next head");
        ring_worker_stop(&r->workers[i]);
        assert_ok(r->workers[i].rc, &r->workers[i].e);
    }
    ring_file_close(&r->file);
}
