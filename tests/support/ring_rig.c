// A ring in one process: see ring_rig.h.
#include "ring_rig.h"
#include "support.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { GUARD_MS = 60000 };

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

struct node *ring_head_open(const char *name)
{
    char folder[128];
    struct node_options o = {.folder = state_folder(name, folder, sizeof folder),
                             .host = "127.0.0.1"};
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
