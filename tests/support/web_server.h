// A small HTTP server on loopback that answers as badly as a test wants it: the test gives the
// function that answers one request on one connection, which is closed behind it.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct web {
    void (*answer)(struct web *w, int fd, const char *request); // in a thread of its own
    const uint8_t *data;                                        // what it serves
    size_t size;
    void *arg; // the test's own
    int fd, port;
    pthread_t thread;
    atomic_int n_requests; // so far, this one included
    atomic_ulong n_asked;  // bytes of all ranges that were asked for
    atomic_int n_running;  // answers
};

void web_start(struct web *w); // answer, data, size, arg are set
void web_stop(struct web *w);
// "http://127.0.0.1:PORT" + path; static storage, of the last four calls.
const char *web_url(const struct web *w, const char *path);

// The range that a request asks for, [*lo, *hi) cut at the end of the data; false: all of it.
bool web_range(struct web *w, const char *request, size_t *lo, size_t *hi);
// False when the other side has gone.
bool web_send(int fd, const void *data, size_t size);
bool web_say(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The right answer, with an entity tag "one": a range or all of it.
void web_answer_well(struct web *w, int fd, const char *request);
