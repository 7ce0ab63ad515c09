// Tables that the search looks at: sums of layers for every machine, hops, layers of files.
#include "plan/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PLACES = 1 << 22 };
static const int chunk_sizes[SOLVE_CHUNKS] = {16, 32, 64, 128, 256, PLAN_BATCH};

const struct cost_sums *solve_sums(const struct solve *s, int machine)
{
    return s->sums + (size_t)machine * (size_t)(s->n_layers + 1);
}

const struct cost_sums *solve_chunk_sums(const struct solve *s, int chunk, int machine)
{
    return s->chunk_sums +
           ((size_t)chunk * (size_t)s->n + (size_t)machine) * (size_t)(s->n_layers + 1);
}

static bool same_layer(const struct plan_layer *a, const struct plan_layer *b)
{
    if (a->n_stacks != b->n_stacks || a->bytes != b->bytes || a->kv_bytes != b->kv_bytes ||
        a->window != b->window)
        return false;
    for (int i = 0; i < a->n_stacks; i++) {
        const struct plan_stack *x = &a->stacks[i], *y = &b->stacks[i];
        if (x->type != y->type || x->bytes != y->bytes || x->n_experts != y->n_experts ||
            x->n_used != y->n_used)
            return false;
    }
    return true;
}

// Sums of [0, i) for all i and machines; neighbours that are the same are looked at once.
static void sum_layers(struct cost_sums *out, const struct solve *s, const struct plan_ask *a)
{
    for (int at = 0; at < s->n; at++) {
        struct cost_sums one = {0};
        for (int i = 0; i < s->n_layers; i++, out++) {
            if (!i)
                memset(out, 0, sizeof *out);
            if (!i || !same_layer(&s->m->layers[i], &s->m->layers[i - 1]))
                cost_of_layer(&one, s->c, at, s->m, a, i);
            out[1] = out[0];
            cost_add(&out[1], &one);
        }
        out++;
    }
}

static void add_chunk(struct solve *s, int size)
{
    int chunks = (s->a.prompt + size - 1) / size;
    s->chunks[s->n_chunks] = size;
    s->tokens[s->n_chunks++] = (s->a.prompt + chunks - 1) / chunks;
}

// What a whole short prompt is one chunk of says nothing of longer ones.
static void find_chunks(struct solve *s)
{
    if (s->a.chunk > 0)
        add_chunk(s, s->a.chunk);
    for (int i = 0; i < SOLVE_CHUNKS && !(s->a.chunk > 0); i++) {
        if (chunk_sizes[i] >= s->a.prompt && chunk_sizes[i] < PLAN_CHUNK)
            continue;
        add_chunk(s, chunk_sizes[i]);
        if (chunk_sizes[i] >= s->a.prompt)
            break;
    }
}

static bool find_held(struct solve *s)
{
    bool all = true;
    for (int at = 0; at < s->n; at++) {
        uint16_t *held = s->held + (size_t)at * (size_t)(s->n_layers + 1);
        for (int i = 0; i < s->n_layers; i++) {
            bool has = !s->a.has_given || layer_set_has(&s->a.has[at], i);
            held[i + 1] = (uint16_t)(held[i] + has);
            all = all && has;
        }
    }
    return all;
}

static void find_hops(struct solve *s)
{
    double least = INFINITY, most = 0;
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->n; j++) {
            if (i == j)
                continue;
            double t = s->hops[i][j] = cost_hop(s->c, s->m, &s->a, i, j, 1);
            least = t < least ? t : least;
            most = t > most ? t : most;
        }
    s->equal_hops = !(most > least * (1 + 1e-9));
}

static bool shares_disk(const struct plan_cluster *c)
{
    for (int i = 0; i < c->n; i++)
        for (int j = 0; j < i; j++)
            if (c->machines[i].disk_group >= 0 &&
                c->machines[i].disk_group == c->machines[j].disk_group)
                return true;
    return false;
}

int solve_open(struct solve *s, const struct plan_cluster *c, const struct plan_model *m,
               const struct plan_ask *a, struct err *e)
{
    *s = (struct solve){.c = c, .m = m, .a = *a, .headroom = 1};
    int rc = profile_check(c, e);
    if (!rc)
        rc = profile_check_model(m, e);
    if (rc)
        return rc;
    cost_defaults(&s->a);
    s->a.chunk = a->chunk > 0 ? a->chunk : 0;
    s->n = c->n;
    s->n_layers = m->n_layers;
    find_chunks(s);
    size_t each = (size_t)s->n_layers + 1, all = (size_t)s->n * each;
    for (int i = 1; i < s->n_layers; i++)
        s->placed = s->placed || !same_layer(&m->layers[i], &m->layers[0]);
    s->sums = calloc(all, sizeof *s->sums);
    s->chunk_sums = calloc(all * (size_t)s->n_chunks, sizeof *s->chunk_sums);
    s->held = calloc(all, sizeof *s->held);
    if (s->held && !find_held(s))
        s->placed = true;
    // Costs, and twice what machines up to one cost; of each place where that is not too much.
    s->by_place = s->placed && all * each <= MOST_PLACES;
    s->room = calloc(all * (s->by_place ? each : 1) + 2 * all, sizeof *s->room);
    if (!s->sums || !s->chunk_sums || !s->held || !s->room) {
        solve_close(s);
        return err_set(e, ERR_NO_MEMORY, "no memory to plan %d layers on %d machines", s->n_layers,
                       s->n);
    }
    struct plan_ask ask = s->a;
    ask.chunk = PLAN_CHUNK;
    sum_layers(s->sums, s, &ask);
    cost_of_layer(&s->output, c, s->n - 1, m, &ask, s->n_layers);
    for (int i = 0; i < s->n_chunks; i++) {
        ask.chunk = s->tokens[i];
        sum_layers(s->chunk_sums + (size_t)i * all, s, &ask);
    }
    find_hops(s);
    s->grouped = shares_disk(c);
    return 0;
}

void solve_close(struct solve *s)
{
    free(s->sums);
    free(s->chunk_sums);
    free(s->held);
    free(s->room);
}
