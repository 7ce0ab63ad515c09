// What is going on, for a person at a terminal who has waited for two seconds: one line on standard
// error, rewritten in place and gone when the work is done, with rate and time left where the total
// is known. Elsewhere nothing.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    pthread_t thread;
    bool running; // has a thread
    pthread_mutex_t lock;
    pthread_cond_t wake;
    const char *what, *unit; // "computing the prompt", "tokens"
    size_t done, total;      // under lock; total 0: not known
    bool stop;               // under lock
    double rate;             // units a second, lately; of the thread, like what follows
    size_t seen;             // done when it was drawn last,
    int64_t seen_ms;         // then; 0: not yet
};

void progress_start(struct progress *p, const char *what, const char *unit);
void progress_set(struct progress *p, size_t done, size_t total); // any thread
void progress_end(struct progress *p);                            // once for each start
