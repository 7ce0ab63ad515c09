// The progress line: see progress.h. A thread of its own draws it, so that it appears also while
// the work is silent.
#include "app/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SILENT_MS = 2000, STEP_MS = 250, RATE_MS = 8000, TIME_BYTES = 32 };

// The rate is a mean over about RATE_MS, the younger the heavier.
static void take_rate(struct progress *p)
{
    int64_t now = clock_ms(), ms = now - p->seen_ms;
    if (p->seen_ms && p->done >= p->seen && ms > 0) {
        double rate = (double)(p->done - p->seen) * 1e3 / (double)ms;
        double weight = p->rate > 0 ? (double)ms / (double)(ms + RATE_MS) : 1;
        p->rate += weight * (rate - p->rate);
    }
    p->seen = p->done;
    p->seen_ms = now;
}

static const char *time_left(double seconds, char out[TIME_BYTES])
{
    int s = seconds < 359999 ? (int)(seconds + 0.5) : 359999;
    if (s >= 3600)
        snprintf(out, TIME_BYTES, "%d h %d min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, TIME_BYTES, "%d min %d s", s / 60, s % 60);
    else
        snprintf(out, TIME_BYTES, "%d s", s);
    return out;
}

static void draw(const struct progress *p, int64_t elapsed_ms)
{
    fprintf(stderr, "\r\033[Krondo: %s", p->what);
    if (p->total)
        fprintf(stderr, ", %zu of %zu %s", p->done, p->total, p->unit);
    fprintf(stderr, " (%lld s", (long long)(elapsed_ms / 1000));
    if (p->total > p->done && p->rate > 0) {
        char left[TIME_BYTES];
        fprintf(stderr, ", %.*f %s/s, %s to go", p->rate < 100, p->rate, p->unit,
                time_left((double)(p->total - p->done) / p->rate, left));
    }
    fputc(')', stderr);
}

static void *progress_main(void *arg)
{
    struct progress *p = arg;
    int64_t start = clock_ms();
    bool drawn = false;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += STEP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&p->wake, &p->lock, &until);
        take_rate(p);
        if (!p->stop && clock_ms() - start >= SILENT_MS) {
            draw(p, clock_ms() - start);
            drawn = true;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (drawn)
        fputs("\r\033[K", stderr);
    return NULL;
}

void progress_start(struct progress *p, const char *what, const char *unit)
{
    *p = (struct progress){.what = what, .unit = unit};
    const char *terminal = getenv("TERM");
    if (!isatty(STDERR_FILENO) || !terminal || !strcmp(terminal, "dumb"))
        return; // nobody looks, or the line cannot be redrawn
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    p->running = !pthread_create(&p->thread, NULL, progress_main, p);
}

void progress_set(struct progress *p, size_t done, size_t total)
{
    if (!p->running)
        return;
    pthread_mutex_lock(&p->lock);
    p->done = done;
    p->total = total;
    pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
    if (!p->running)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    p->running = false;
}
