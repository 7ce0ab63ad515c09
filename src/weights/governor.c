// The governor: see governor.h.
//
// All arithmetic of a decision is relative to what is resident now: a source that has `spare` bytes
// above its floor allows resident + spare. While others take memory at a pace, what they will have
// taken until the limit has come into force (LEAD_S: the next look, and letting go) is theirs
// already. Other numbers keep it from going to and fro: what is let go of is a little more than is
// missing (SLACK of the floor), and it grows only into what is left beyond a larger share (ROOM).
#include "weights/governor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "weights/pressure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const double LEAD_S = 0.1;
static const double MOST_PACE = 2e9; // bytes/s: a leap within one look is no pace
static const double FAST = 2e7;
static const double SEEN_S = 0.02; // in which a pace is believed
static const double FADE_S = 0.1;  // in which one that is over falls to a third
enum { SLACK = 8, ROOM = 2 };      // floor / this

static const int64_t MS = 1000000;
static const int64_t HOLD_MS = 2000;  // without need before it grows
static const int64_t STEP_MS = 250;   // between raises
static const int64_t GROW_MS = 30000; // for all that was planned
static const uint64_t LEAST_STEP = 4 << 20;
enum { LOOK_MS = 20, HURRY_MS = 5, EPISODE_MS = 500 };

// ---- deciding ----------------------------------------------------------------------------------

void governor_init(struct governor_state *s, bool grow)
{
    *s = (struct governor_state){.grow = grow, .limit = UINT64_MAX, .cause = -1};
}

static int64_t difference(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b);
}

// How fast others take memory from a source: what went, less what we took of it ourselves. Returns
// how fast all of us together do.
static double follow(struct governor_trend *t, uint64_t free, int64_t taken_by_us, double seconds)
{
    double together = 0;
    if (t->known && seconds > 0) {
        int64_t gone = difference(t->free, free);
        double pace = (double)(gone - taken_by_us) / seconds;
        double before = t->pace * (FADE_S / (FADE_S + seconds));
        double weight = seconds < SEEN_S ? seconds / SEEN_S : 1;
        together = (double)gone / seconds;
        pace = pace > MOST_PACE ? MOST_PACE : pace;
        t->pace = pace < before ? before : before + (pace - before) * weight;
    } else if (!t->known) {
        t->pace = 0;
    }
    t->known = true;
    t->free = free;
    return together < t->pace ? t->pace : together > MOST_PACE ? MOST_PACE : together;
}

// What a source allows to be resident, `keep` bytes above its floor staying free.
static uint64_t allowed(const struct governor_view *v, const struct budget_source *source,
                        uint64_t keep)
{
    int64_t bytes = difference(v->resident + source->free, source->floor + keep);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

// The limit that gives way to others; `room` is what may be resident if it grows.
static uint64_t give_way(struct governor_state *s, const struct governor_view *v, uint64_t *room)
{
    uint64_t limit = s->limit;
    double seconds = (double)(v->now_ns - s->now_ns) * 1e-9;
    int64_t taken_by_us = difference(v->resident + v->besides, s->ours);
    *room = UINT64_MAX;
    s->hurry = false;
    for (int i = 0; i < v->n_sources; i++) {
        const struct budget_source *source = &v->sources[i];
        struct governor_trend *t = &s->trends[i];
        if (!source->limits) {
            t->known = false;
            continue;
        }
        double together = follow(t, source->free, taken_by_us, seconds);
        double spare = (double)difference(source->free, source->floor);
        uint64_t ahead = (uint64_t)(t->pace * LEAD_S);
        uint64_t fits = allowed(v, source, ahead + source->floor / ROOM);
        *room = fits < *room ? fits : *room;
        s->hurry |= together >= FAST && spare < 2 * together * LEAD_S;
        if (spare >= together * LEAD_S)
            continue;
        s->need_ns = v->now_ns;
        fits = allowed(v, source, ahead + source->floor / SLACK);
        if (fits < limit) {
            limit = fits;
            s->cause = i;
            s->hurry = true;
        }
    }
    s->hurry &= s->limit > 0; // else there is nothing to hurry for
    return limit;
}

static uint64_t come_back(struct governor_state *s, const struct governor_view *v, uint64_t room)
{
    int64_t since = v->now_ns - (s->raise_ns > s->need_ns ? s->raise_ns : s->need_ns);
    bool wait = v->now_ns - s->need_ns < HOLD_MS * MS || v->now_ns - s->raise_ns < STEP_MS * MS;
    if (!s->grow || s->limit == UINT64_MAX || wait)
        return s->limit;
    since = since < 2 * STEP_MS * MS ? since : 2 * STEP_MS * MS;
    uint64_t step = v->wanted / (uint64_t)(GROW_MS * MS / since);
    step = step > LEAST_STEP ? step : LEAST_STEP;
    uint64_t limit = s->limit + step < room ? s->limit + step : room;
    if (limit <= s->limit)
        return s->limit;
    s->raise_ns = v->now_ns;
    return limit < v->wanted ? limit : UINT64_MAX;
}

uint64_t governor_decide(struct governor_state *s, const struct governor_view *v)
{
    uint64_t room;
    if (v->others || v->n_sources != s->n_sources)
        memset(s->trends, 0, sizeof s->trends);
    s->n_sources = v->n_sources;
    uint64_t limit = give_way(s, v, &room);
    s->limit = limit < s->limit ? limit : come_back(s, v, room);
    s->now_ns = v->now_ns;
    s->ours = v->resident + v->besides;
    return s->limit;
}

// ---- the thread --------------------------------------------------------------------------------

struct governor {
    const char *root;
    struct governor_calls calls;
    struct budget_watch *watch;
    struct pressure pressure;
    struct governor_state state;
    int stop;  // eventfd
    int statm; // of this process; -1: not to be had
    pthread_t thread;
    bool started;
    // What the log is told: once when need is over, once when memory begins to come back.
    bool giving, back;
    uint64_t most; // resident when it began to give
    char cause[BUDGET_NAME_BYTES];
};

static void say(struct governor *g, uint64_t before, const struct governor_view *v)
{
    const struct governor_state *s = &g->state;
    if (s->limit < before) {
        if (!g->giving)
            g->most = v->resident;
        if (s->cause >= 0 && s->cause < v->n_sources)
            memcpy(g->cause, v->sources[s->cause].name, sizeof g->cause);
        g->giving = true;
        g->back = false;
    } else if (g->giving && v->now_ns - s->need_ns > EPISODE_MS * MS) {
        uint64_t gave = g->most > v->resident ? g->most - v->resident : 0;
        g->giving = false;
        if (gave > 0)
            log_info("%s was short of memory: %" PRIu64 " MiB of weights were given back and are "
                     "read from disk instead%s",
                     g->cause, gave >> 20, s->grow ? " until there is room again" : "");
    } else if (s->limit > before && !g->back) {
        g->back = true;
        log_info("%s has memory to spare again: weights come back to it slowly",
                 *g->cause ? g->cause : "the machine");
    }
}

// Cache and buffers of ours are promised and touched later, as fast as memory goes: no pace of
// others.
static uint64_t besides(const struct governor *g, uint64_t resident)
{
    char text[128];
    uint64_t there, shared, page = (uint64_t)sysconf(_SC_PAGESIZE);
    ssize_t n = g->statm >= 0 ? pread(g->statm, text, sizeof text - 1, 0) : -1;
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "%*u %" SCNu64 " %" SCNu64, &there, &shared) != 2)
        return 0;
    return (there - shared) * page > resident ? (there - shared) * page - resident : 0;
}

static void look(struct governor *g)
{
    struct governor_view v = {0};
    uint64_t before = g->state.limit;
    // What is let go of between the two readings is free and resident for once: the limit is
    // lowered a moment later. The other way round too much would be given back.
    g->calls.status(g->calls.ctx, &v.resident, &v.wanted);
    v.besides = besides(g, v.resident);
    v.others = budget_watch_poll(g->watch);
    v.n_sources = budget_watch_sources(g->watch, &v.sources);
    v.now_ns = clock_ns();
    if (v.others) {
        pressure_close(&g->pressure);
        pressure_open(&g->pressure, g->root, v.sources, v.n_sources);
    }
    uint64_t limit = governor_decide(&g->state, &v);
    if (limit != before)
        g->calls.limit(g->calls.ctx, limit);
    say(g, before, &v);
}

static void *governor_main(void *arg)
{
    struct governor *g = arg;
    bool deaf = false; // no word of pressure is waited for
    for (;;) {
        struct pollfd files[1 + PRESSURE_MAX] = {{.fd = g->stop, .events = POLLIN}};
        look(g);
        int n = 1;
        if (!deaf && !g->state.hurry) {
            memcpy(files + 1, g->pressure.files, (size_t)g->pressure.n * sizeof *files);
            n += g->pressure.n;
        }
        int told = poll(files, (nfds_t)n, g->state.hurry ? HURRY_MS : LOOK_MS);
        if (files[0].revents)
            return NULL;
        deaf = told > 0; // the next look is due in time: pressure that lasts keeps nobody busy
        if (deaf)
            pressure_taken(&g->pressure, files + 1);
    }
}

int governor_start(struct governor **out, const char *root, bool grow,
                   const struct governor_calls *calls, struct err *e)
{
    struct governor *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g)
        return err_set(e, ERR_NO_MEMORY, "no memory to watch over memory");
    g->root = root;
    g->calls = *calls;
    governor_init(&g->state, grow);
    g->watch = budget_watch_open(root);
    g->stop = eventfd(0, EFD_CLOEXEC);
    g->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    sigset_t before;
    signals_block(&before);
    g->started = g->watch && g->stop >= 0 && !pthread_create(&g->thread, NULL, governor_main, g);
    signals_restore(&before);
    if (!g->started) {
        governor_stop(g);
        return err_set(e, ERR_NO_MEMORY,
                       "could not start to watch over memory: the system has no "
                       "thread or file left; close other programs");
    }
    *out = g;
    return 0;
}

void governor_stop(struct governor *g)
{
    const uint64_t one = 1;
    if (!g)
        return;
    if (g->started && write(g->stop, &one, sizeof one) == sizeof one)
        pthread_join(g->thread, NULL);
    if (g->stop >= 0)
        close(g->stop);
    if (g->statm >= 0)
        close(g->statm);
    pressure_close(&g->pressure);
    budget_watch_close(g->watch);
    free(g);
}
