// Carries frames (air.h): one thread, an epoll over the devices, a queue for each direction whose
// first frame is due first, and a timer for the earliest of them.
#include "homelab/air.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct frame {
    int64_t due_ns;
    uint32_t bytes;
    uint8_t data[AIR_FRAME_BYTES];
};

struct queue {
    struct frame *frames; // (AIR_QUEUE) a ring; untouched pages of it take no memory
    uint32_t first, n;
    int from, to; // devices
    struct air_way *way;
};

void air_init(struct air *a, const struct home *h, uint64_t seed)
{
    *a = (struct air){0};
    for (int i = 0; i < h->n_nodes; i++) {
        const struct home_link *l = &h->nodes[i].link;
        int medium = i;
        for (int j = 0; j < i && *l->air; j++)
            if (!strcmp(h->nodes[j].link.air, l->air)) {
                medium = j;
                break;
            }
        for (int way = 0; way < 2; way++) {
            struct air_way *w = &a->ways[i][way];
            w->link = l;
            w->free_ns = *l->air ? &a->media[medium] : NULL;
            rng_init(&w->rng, seed + (uint64_t)i * 2 + (uint64_t)way);
        }
    }
}

static bool is_out(const struct home_link *l, int64_t now_ns)
{
    return l->outage_us && now_ns / 1000 % l->period_us >= l->period_us - l->outage_us;
}

int64_t air_arrival_ns(struct air_way *w, int64_t now_ns, size_t bytes)
{
    const struct home_link *l = w->link;
    int64_t at = now_ns;
    if (is_out(l, now_ns) || (l->loss > 0 && rng_double(&w->rng) < l->loss))
        return -1;
    if (w->free_ns) {
        int64_t start = *w->free_ns > now_ns ? *w->free_ns : now_ns;
        if (start - now_ns > (int64_t)AIR_LONGEST_WAIT_US * 1000)
            return -1;
        at = *w->free_ns = start + (int64_t)((double)bytes * 8e9 / (double)l->rate_bps);
    }
    at += l->delay_us * 1000;
    if (l->jitter_us)
        at += (int64_t)((2 * rng_double(&w->rng) - 1) * (double)l->jitter_us * 1e3);
    if (at < w->last_ns)
        at = w->last_ns;
    w->last_ns = at;
    return at;
}

// All frames that wait at a device; where a queue is full the frame is lost, as in a real switch.
static void take_frames(struct queue *q, int64_t start_ns)
{
    static uint8_t spare[AIR_FRAME_BYTES];
    for (;;) {
        bool full = q->n == AIR_QUEUE;
        struct frame *f = &q->frames[(q->first + q->n) % AIR_QUEUE];
        ssize_t n = read(q->from, full ? spare : f->data, AIR_FRAME_BYTES);
        if (n <= 0)
            return;
        int64_t at = air_arrival_ns(q->way, clock_ns() - start_ns, (size_t)n);
        if (full || at < 0)
            continue;
        f->due_ns = at + start_ns;
        f->bytes = (uint32_t)n;
        q->n++;
    }
}

// Writes what is due. A device that takes no frame, because it is down, loses it.
static void hand_out(struct queue *q)
{
    int64_t now = clock_ns();
    while (q->n && q->frames[q->first].due_ns <= now) {
        const struct frame *f = &q->frames[q->first];
        ssize_t n = write(q->to, f->data, f->bytes);
        (void)n;
        q->first = (q->first + 1) % AIR_QUEUE;
        q->n--;
    }
}

static void set_timer(int timer, const struct queue *queues, int n)
{
    struct itimerspec when = {0};
    int64_t earliest = INT64_MAX;
    for (int i = 0; i < n; i++)
        if (queues[i].n && queues[i].frames[queues[i].first].due_ns < earliest)
            earliest = queues[i].frames[queues[i].first].due_ns;
    if (earliest < INT64_MAX)
        when.it_value = (struct timespec){earliest / 1000000000, earliest % 1000000000};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static int open_queues(struct queue *queues, int *n, struct air *a, const struct home *h,
                       const struct wires *w, struct err *e)
{
    *n = 0;
    for (int i = 0; i < h->n_nodes; i++) {
        const int ends[2] = {w->node_tap[i], w->switch_tap[i]};
        for (int way = 0; way < 2 && ends[0] >= 0; way++) {
            struct queue *q = &queues[(*n)++];
            *q = (struct queue){.from = ends[way], .to = ends[!way], .way = &a->ways[i][way]};
            if (!(q->frames = calloc(AIR_QUEUE, sizeof *q->frames)))
                return err_set(e, ERR_NO_MEMORY, "no memory for the frames of a link");
        }
    }
    return 0;
}

int air_carry(const struct home *h, const struct wires *w, struct err *e)
{
    struct queue queues[2 * HOME_MAX_NODES];
    struct epoll_event events[2 * HOME_MAX_NODES + 1];
    struct air a;
    int n, rc, timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    int64_t start_ns = clock_ns();
    air_init(&a, h, 1);
    if ((rc = open_queues(queues, &n, &a, h, w, e)))
        return rc;
    struct epoll_event want = {.events = EPOLLIN, .data.u32 = (uint32_t)n};
    bool bad = timer < 0 || poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, timer, &want);
    for (int i = 0; i < n && !bad; i++) {
        want.data.u32 = (uint32_t)i;
        bad = epoll_ctl(poll, EPOLL_CTL_ADD, queues[i].from, &want);
    }
    if (bad)
        return err_errno(e, ERR_FAILED, "the links' devices cannot be waited for");
    for (;;) {
        int got = epoll_wait(poll, events, 2 * HOME_MAX_NODES + 1, -1);
        if (got < 0 && errno != EINTR)
            return err_errno(e, ERR_FAILED, "the links' devices cannot be waited for");
        for (int i = 0; i < got; i++)
            if (events[i].data.u32 < (uint32_t)n)
                take_frames(&queues[events[i].data.u32], start_ns);
        for (int i = 0; i < n; i++)
            hand_out(&queues[i]);
        set_timer(timer, queues, n);
    }
}
