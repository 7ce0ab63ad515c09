// The sets, the programme for each k, and the rounds of both: see the header.
#include "halda_paper.h"

#include "plan/cost.h"

#include <math.h>
#include <string.h>

enum set { M1, M2, M3, M4 };
enum { MAX_TRIES = 32 };
static const double random_reads = 0.5; // of the rate in order

struct device {
    bool dropped;
    enum halda_system system;
    double layer, on_gpu; // seconds of a layer
    double hop, once;     // seconds of a window; of a token
    double room, disk;    // bytes, bytes a second
    int gpu_layers;       // that VRAM has room for
    enum set set;
};

struct halda {
    int n, n_layers;
    double bytes, output; // of a layer with its cache; of the head's matrix
    struct device devices[PLAN_MAX_NODES];
};

static double needs(const struct halda *h, int i, int layers)
{
    const struct device *d = &h->devices[i];
    int cpu = layers > d->gpu_layers ? layers - d->gpu_layers : 0;
    return cpu * h->bytes + (i == h->n - 1 ? h->output : 0);
}

static void look_at(struct halda *h, const struct plan_cluster *c, const struct plan_model *m,
                    const struct plan_ask *a, const enum halda_system *systems)
{
    *h = (struct halda){.n = c->n, .n_layers = m->n_layers, .output = (double)m->output.bytes};
    for (int l = 0; l < m->n_layers; l++) {
        struct cost_sums x;
        cost_of_layer(&x, c, 0, m, a, l);
        h->bytes += (x.bytes + x.cache) / m->n_layers;
    }
    for (int i = 0; i < c->n; i++) {
        const struct plan_machine *at = &c->machines[i];
        struct device *d = &h->devices[i];
        struct cost_sums x;
        *d = (struct device){.system = systems ? systems[i] : HALDA_LINUX, .disk = at->disk};
        for (int l = 0; l < m->n_layers; l++) {
            cost_of_layer(&x, c, i, m, a, l);
            d->layer += x.lanes / m->n_layers;
            d->on_gpu += x.gpu / m->n_layers;
        }
        cost_of_layer(&x, c, i, m, a, m->n_layers);
        d->once = i == c->n - 1 ? x.lanes : 0;
        d->hop = c->n > 1 ? cost_hop(c, m, a, (i + c->n - 1) % c->n, i, 1) : 0;
        double computing = (double)(i == c->n - 1 ? m->computing_head : m->computing);
        d->room = fmax(0, (double)at->memory - (double)at->base - computing);
        d->gpu_layers = d->on_gpu < d->layer ? (int)((double)at->vram / h->bytes) : 0;
        d->set = M4;
    }
}

// ---- sets ---------------------------------------------------------------------------------------

static enum set set_of(const struct halda *h, int i, int layers)
{
    const struct device *d = &h->devices[i];
    if (needs(h, i, layers) <= d->room)
        return M4;
    return d->system == HALDA_LINUX ? M3 : d->system == HALDA_MACOS ? M1 : M2;
}

// Whether a device runs so many layers and stays in its set.
static bool allowed(const struct halda *h, int i, int layers)
{
    const struct device *d = &h->devices[i];
    return set_of(h, i, layers) == d->set && (d->set == M4 || d->disk > 0);
}

// Linear in a set, but where the GPU's share ends.
static double seconds(const struct halda *h, int i, int layers, int k)
{
    const struct device *d = &h->devices[i];
    int gpu = layers < d->gpu_layers ? layers : d->gpu_layers;
    double t = gpu * d->on_gpu + (layers - gpu) * d->layer + d->once + k * d->hop;
    double all = needs(h, i, layers);
    switch (d->set) {
    case M1:
        return t + (all - d->room) / (d->disk * random_reads);
    case M2:
        return t + all / d->disk;
    case M3:
        return t + (all - d->room) / d->disk;
    case M4:
        break;
    }
    return t;
}

// ---- the programme ------------------------------------------------------------------------------

// Windows of each device for k rounds, sets being given; INFINITY: there are none.
static double solve(const struct halda *h, int k, int *windows)
{
    int left = h->n_layers / k;
    double sum = 0;
    for (int i = 0; i < h->n; i++) {
        windows[i] = 0;
        if (h->devices[i].dropped)
            continue;
        int w = 1;
        while (w <= left && !allowed(h, i, k * w))
            w++;
        windows[i] = w;
        left -= w;
        if (left < 0)
            return INFINITY;
    }
    for (; left > 0; left--) {
        int best = -1;
        double least = INFINITY;
        for (int i = 0; i < h->n; i++) {
            if (h->devices[i].dropped || !allowed(h, i, k * (windows[i] + 1)))
                continue;
            double by = seconds(h, i, k * (windows[i] + 1), k) - seconds(h, i, k * windows[i], k);
            if (by < least) {
                least = by;
                best = i;
            }
        }
        if (best < 0)
            return INFINITY;
        windows[best]++;
    }
    for (int i = 0; i < h->n; i++)
        sum += h->devices[i].dropped ? 0 : seconds(h, i, k * windows[i], k);
    return sum;
}

// In proportion to memory, one layer at least: where the sets begin.
static void begin(struct halda *h, int *layers)
{
    double all = 0;
    int given = 0, last = 0;
    for (int i = 0; i < h->n; i++)
        all += h->devices[i].dropped ? 0 : h->devices[i].room + h->devices[i].gpu_layers * h->bytes;
    for (int i = 0; i < h->n; i++) {
        const struct device *d = &h->devices[i];
        layers[i] = 0;
        if (d->dropped)
            continue;
        double share = all > 0 ? (d->room + d->gpu_layers * h->bytes) / all : 0;
        layers[i] = (int)fmax(1, floor(share * h->n_layers));
        given += layers[i];
        last = i;
    }
    layers[last] += h->n_layers - given;
    layers[last] = layers[last] < 1 ? 1 : layers[last];
}

static bool form_sets(struct halda *h, const int *layers)
{
    bool changed = false;
    for (int i = 0; i < h->n; i++) {
        enum set set = set_of(h, i, layers[i]);
        changed |= !h->devices[i].dropped && set != h->devices[i].set;
        h->devices[i].set = set;
    }
    return changed;
}

// Of the devices that are short of memory the one with the slowest disk must do with its memory,
// where another one has some left.
static bool relieve(struct halda *h, const struct halda_plan *p)
{
    int slowest = -1;
    bool left = false;
    for (int i = 0; i < h->n; i++) {
        const struct device *d = &h->devices[i];
        if (d->dropped)
            continue;
        left |= d->set == M4 && needs(h, i, p->layers[i] + p->rounds) <= d->room;
        if (d->set != M4 && (slowest < 0 || d->disk < h->devices[slowest].disk))
            slowest = i;
    }
    if (slowest < 0 || !left)
        return false;
    h->devices[slowest].set = M4;
    return true;
}

static bool solve_all(const struct halda *h, struct halda_plan *out)
{
    struct halda_plan best = {.seconds = INFINITY};
    for (int k = 1; k <= h->n_layers && k <= PLAN_MAX_ROUNDS; k++) {
        int windows[PLAN_MAX_NODES];
        if (h->n_layers % k)
            continue;
        double t = solve(h, k, windows);
        if (!(t < best.seconds))
            continue;
        best.seconds = t;
        best.rounds = k;
        for (int i = 0; i < h->n; i++)
            best.layers[i] = k * windows[i];
    }
    if (best.rounds)
        *out = best;
    return best.rounds > 0;
}

// For the devices that are left.
static bool plan_them(struct halda *h, struct halda_plan *out)
{
    struct halda_plan now = {0};
    bool found = false;
    begin(h, now.layers);
    form_sets(h, now.layers);
    out->seconds = INFINITY;
    for (int i = 0; i < MAX_TRIES; i++) {
        if (!solve_all(h, &now))
            break;
        if (now.seconds < out->seconds) {
            *out = now;
            found = true;
        }
        if (!form_sets(h, now.layers) && !relieve(h, &now))
            break;
    }
    return found;
}

bool halda_plan(struct halda_plan *out, const struct plan_cluster *c, const struct plan_model *m,
                const struct plan_ask *a, const enum halda_system *systems)
{
    struct halda h;
    struct plan_ask ask = *a;
    struct halda_plan now;
    bool found = false;
    cost_defaults(&ask);
    look_at(&h, c, m, &ask, systems);
    memset(out, 0, sizeof *out);
    for (bool again = true; again;) {
        again = false;
        if (!plan_them(&h, &now))
            break;
        *out = now;
        found = true;
        for (int i = 0; i < h.n - 1; i++)
            if (!h.devices[i].dropped && now.layers[i] == 1)
                again = h.devices[i].dropped = true;
    }
    return found;
}
