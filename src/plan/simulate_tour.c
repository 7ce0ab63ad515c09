// Cutting a node's windows into steps: streamed bytes and experts are spread over its layers as
// evenly as the engine spreads them.
#include "plan/simulate_tour.h"

#include "plan/cost.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_STEPS = 1 << 22, SPARE_PARTS = 5 };

// What one layer does, before it is cut.
struct layer_work {
    double resident, streamed; // seconds
    double bytes, demand;      // streamed
    bool gpu;
};

struct shares {
    double parts, demand; // streamed of all bytes that each token uses; of experts it uses
    double part;          // bytes
};

// The first ones of each window.
static bool on_gpu(const struct plan_node *n, const struct window_table *t, int node, int layer)
{
    for (int r = 0, done = 0; r < t->n_rounds; r++) {
        int lo = t->lo[r][node], window = t->hi[r][node] - lo;
        if (layer >= lo && layer < lo + window)
            return layer - lo < windows_part(n->gpu_layers, n->layers, done, window);
        done += window;
    }
    return false;
}

static void find_shares(struct shares *s, const struct sim_what *w, int node)
{
    const struct plan_node *n = &w->p->nodes[node];
    const struct window_table *t = &w->p->table;
    double plain = 0, used = 0;
    for (int r = 0; r <= t->n_rounds; r++) {
        bool output = r == t->n_rounds;
        if (output && node < t->n_nodes - 1)
            break;
        int lo = output ? w->m->n_layers : t->lo[r][node];
        int hi = output ? lo + 1 : t->hi[r][node];
        for (int l = lo; l < hi; l++) {
            struct cost_sums x;
            cost_of_layer(&x, w->c, n->machine, w->m, w->a, l);
            if (!output && on_gpu(n, t, node, l))
                continue;
            plain += x.bytes - x.experts;
            used += x.used;
        }
    }
    double parts = (double)(n->streamed - n->demand), slots = (double)n->slots;
    s->parts = plain > 0 ? parts / plain : 0;
    s->demand = used > 0 ? (double)n->demand / used : 0;
    double good = 4 << 20;
    int cut = w->parts > 0 ? w->parts : (int)fmin(64, fmax(16, slots / good));
    s->part = slots > 0 ? slots / cut : parts / 16;
}

static void work_of(struct layer_work *k, const struct sim_what *w, const struct shares *s,
                    int node, int layer)
{
    const struct plan_node *n = &w->p->nodes[node];
    struct cost_sums x;
    bool output = layer == w->m->n_layers;
    cost_of_layer(&x, w->c, n->machine, w->m, w->a, layer);
    *k = (struct layer_work){.gpu = !output && on_gpu(n, &w->p->table, node, layer)};
    bool chunk = w->prompt && !output; // one token of a prompt needs the output
    double lanes = chunk ? x.chunk[0] : x.lanes, rows = chunk ? x.chunk[1] : x.rows;
    if (k->gpu) {
        k->resident = chunk ? x.chunk[2] : x.gpu;
        return;
    }
    double used = chunk ? x.used_by_chunk : x.used;
    double all = x.bytes - x.experts + used;
    k->bytes = s->parts * (x.bytes - x.experts);
    k->demand = s->demand * used;
    double plain = all > 0 ? k->bytes / all : 0, late = all > 0 ? k->demand / all : 0;
    k->streamed = rows * plain;
    k->resident = lanes * (1 - plain - late) + rows * late;
}

static int parts_of(const struct layer_work *k, const struct shares *s)
{
    double n = s->part > 0 ? ceil(k->bytes / s->part - 1e-9) : 0;
    return k->bytes > 0 ? (int)fmax(1, fmin(n, MAX_STEPS / 4)) : 0;
}

// Resident and streamed weights take turns.
static void cut(struct sim_tour *t, int *at, const struct layer_work *k, const struct shares *s)
{
    int n = parts_of(k, s);
    t->steps[(*at)++] =
        (struct sim_step){.seconds = k->resident / (n + 1), .demand = k->demand, .gpu = k->gpu};
    for (int i = 0; i < n; i++) {
        t->steps[(*at)++] = (struct sim_step){.seconds = k->streamed / n, .bytes = k->bytes / n};
        t->steps[(*at)++] = (struct sim_step){.seconds = k->resident / (n + 1)};
        t->part = fmax(t->part, k->bytes / n);
    }
}

static double launch(const struct sim_what *w, int node, const struct sim_step *steps, int n)
{
    const struct plan_machine *at = &w->c->machines[w->p->nodes[node].machine];
    bool cpu = false, gpu = false;
    int tokens = w->prompt ? w->a->chunk : 1;
    for (int i = 0; i < n; i++) {
        cpu |= !steps[i].gpu;
        gpu |= steps[i].gpu;
    }
    double copies = gpu ? 2.0 * tokens * w->m->width * sizeof(float) / at->copy : 0;
    return (cpu ? at->cpu.launch : 0) + (gpu ? at->gpu.launch + copies : 0);
}

// The first parts of a window stay while a group passes: all where they fit with one more, else
// what leaves room for some of those that come and go.
static void hold(struct sim_tour *t, int lo, int hi)
{
    double all = 0, held = 0;
    for (int i = lo; i < hi; i++)
        all += t->steps[i].bytes;
    double most = all + t->part <= t->slots ? all : t->slots - SPARE_PARTS * t->part;
    for (int i = lo; i < hi; i++) {
        held += t->steps[i].bytes;
        t->steps[i].held = t->steps[i].bytes > 0 && held <= most * (1 + 1e-12);
    }
}

// All windows, then the head's output; without memory for steps they are counted.
static int lay(struct sim_tour *t, const struct sim_what *w, const struct shares *s, int node)
{
    const struct window_table *table = &w->p->table;
    int at = 0, rounds = table->n_rounds;
    for (int r = 0; r <= rounds; r++) {
        bool output = r == rounds;
        t->begin[r] = at;
        int lo = output ? w->m->n_layers : table->lo[r][node];
        int hi = output ? lo + (node == table->n_nodes - 1) : table->hi[r][node];
        for (int l = lo; l < hi && at < MAX_STEPS; l++) {
            struct layer_work k;
            work_of(&k, w, s, node, l);
            if (t->steps)
                cut(t, &at, &k, s);
            else
                at += 1 + 2 * parts_of(&k, s);
        }
        int n = at - t->begin[r];
        // The output belongs to the last window, which is launched once.
        if (t->steps && n && !(output && t->begin[r] > t->begin[r - 1]))
            t->steps[t->begin[r]].seconds += launch(w, node, t->steps + t->begin[r], n);
    }
    return t->begin[rounds + 1] = at;
}

int sim_tour_new(struct sim_tour *t, const struct sim_what *w, int node, struct err *e)
{
    struct shares s;
    *t = (struct sim_tour){.slots = (double)w->p->nodes[node].slots};
    find_shares(&s, w, node);
    int n = lay(t, w, &s, node);
    t->steps = n < MAX_STEPS ? calloc((size_t)n + 1, sizeof *t->steps) : NULL;
    if (!t->steps)
        return err_set(e, ERR_NO_MEMORY,
                       "the plan streams in too many parts to be simulated; give nodes more "
                       "memory");
    lay(t, w, &s, node);
    t->slots = fmax(t->slots, t->part);
    for (int r = 0; r < w->p->table.n_rounds && w->passes > 1; r++)
        hold(t, t->begin[r], t->begin[r + 1]);
    return 0;
}

void sim_tour_free(struct sim_tour *t)
{
    free(t->steps);
    t->steps = NULL;
}
