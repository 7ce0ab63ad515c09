// Reasons for a plan: see plan_why.h.
#include "app/plan_why.h"

#include "app/amounts.h"
#include "app/plan_cases.h"
#include "app/plan_page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 2, 3))) static void say(struct plan_why *w, const char *format, ...)
{
    va_list args;
    if (w->n == PLAN_REASONS)
        return;
    va_start(args, format);
    vsnprintf(w->text[w->n++], PLAN_REASON, format, args);
    va_end(args);
}

struct sums { // of a token, seconds; of the nodes, bytes
    double compute, wait, hop;
    uint64_t weights, streamed;
    int gpu_layers;
};

static struct sums sums_of(const struct plan *p)
{
    struct sums s = {0};
    for (int i = 0; i < p->n_nodes; i++) {
        s.compute += p->nodes[i].compute;
        s.wait += p->nodes[i].wait;
        s.hop += p->nodes[i].hop;
        s.weights += p->nodes[i].weights;
        s.streamed += p->nodes[i].streamed;
        s.gpu_layers += p->nodes[i].gpu_layers;
    }
    return s;
}

// ---- what sets the pace ------------------------------------------------------------------------

// The disk is busy nearly always; what else takes that long, or waits for it.
static void say_disk(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                     const struct sums *all)
{
    const struct plan_node *n = &p->nodes[p->bound_at];
    const struct plan_machine *m = &c->machines[n->machine];
    const double others = all->compute + all->hop;
    char read[AMOUNT_BYTES], busy[PLAN_TIME_TEXT], rest[PLAN_TIME_TEXT];
    amount_size(read, n->streamed);
    plan_page_time(busy, n->disk);
    plan_page_time(rest, others);
    if (others < 0.95 * p->tpot)
        say(w,
            "The disk of %s sets the pace: it reads %s for each token, which takes %s at %.2f "
            "GB/s; computing and hops alone would take %s.",
            m->name, read, busy, m->disk / 1e9, rest);
    else
        say(w,
            "Nothing waits: computing and hops take %s, and the disk of %s is busy for %s of it "
            "with %s for each token, so that a faster disk or processor alone would bring little.",
            rest, m->name, busy, read);
}

static void say_group(struct plan_why *w, const struct plan *p, const struct plan_cluster *c)
{
    char read[AMOUNT_BYTES], time[PLAN_TIME_TEXT];
    uint64_t bytes = 0;
    for (int i = 0; i < p->n_nodes; i++)
        if (c->machines[p->nodes[i].machine].disk_group == p->bound_at)
            bytes += p->nodes[i].streamed;
    amount_size(read, bytes);
    plan_page_time(time, p->tpot);
    say(w,
        "A disk that several machines share sets the pace: together they read %s for each token, "
        "which takes %s at %.2f GB/s.",
        read, time, c->disk_rates[p->bound_at] / 1e9);
}

static void say_pace(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                     const struct sums *all)
{
    double sum = all->compute + all->wait + all->hop;
    if (p->bound == PLAN_BOUND_DISK) {
        say_disk(w, p, c, all);
    } else if (p->bound == PLAN_BOUND_DISK_GROUP) {
        say_group(w, p, c);
    } else if (p->n_nodes == 1) {
        say(w, "A token is %.0f %% computing and %.0f %% waiting for the disk.",
            100 * all->compute / sum, 100 * all->wait / sum);
    } else {
        say(w,
            "A token visits the machines one after the other, so their times add up: %.0f %% of "
            "it is computing, %.0f %% waiting for disks, %.0f %% the way between machines.",
            100 * all->compute / sum, 100 * all->wait / sum, 100 * all->hop / sum);
    }
}

static void say_memory(struct plan_why *w, const struct plan *p, const struct sums *all)
{
    char read[AMOUNT_BYTES], weights[AMOUNT_BYTES];
    amount_size(read, all->streamed);
    amount_size(weights, all->weights);
    if (!all->streamed)
        say(w, "All %s of weights stay in memory; nothing is read from disks between tokens.",
            weights);
    else
        say(w,
            "Of %s of weights %s have no place in the memory of the machines that run them beside "
            "the rest, and are read from the disk%s for each token, as far as possible while "
            "others compute.",
            weights, read, p->n_nodes > 1 ? "s" : "");
}

// ---- rounds ------------------------------------------------------------------------------------

static void say_rounds(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                       const struct plan_setting *s, const struct sums *all)
{
    char time[PLAN_TIME_TEXT], first[PLAN_TIME_TEXT];
    const int rounds = p->table.n_rounds, other = rounds > 1 ? 1 : 2;
    struct plan_ask a = s->ask;
    struct err why = {0};
    struct plan *q = malloc(sizeof *q);
    a.rounds = other;
    if (!q || p->n_nodes < 2 || s->ask.rounds || plan_case_make(q, c, s, &a, &why)) {
        free(q);
        return;
    }
    plan_page_time(time, q->tpot);
    plan_page_time(first, q->ttft);
    const double more = 100 * (q->tpot / p->tpot - 1);
    if (q->tpot < p->tpot)
        say(w,
            "%d round%s: in %s a token would take %s (%+.1f %%), but the first one %s, and "
            "--objective weighs both.",
            rounds, rounds > 1 ? "s" : "", other == 1 ? "one" : "two", time, more, first);
    else if (rounds > 1)
        say(w,
            "%d rounds, because a disk can then read for the next window while others compute: in "
            "one round a token would take %s (%+.1f %%).",
            rounds, time, more);
    else if (!all->streamed)
        say(w,
            "One round, because nothing is streamed and more rounds are more hops: two would take "
            "%s (%+.1f %%).",
            time, more);
    else
        say(w,
            "One round, because the slots hide reading well enough: two would take %s (%+.1f %%).",
            time, more);
    free(q);
}

// ---- machines ----------------------------------------------------------------------------------

static void say_absent(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                       bool latency)
{
    char time[PLAN_TIME_TEXT];
    for (int i = 0; i < p->n_absent; i++) {
        const struct plan_absent *a = &p->absent[i];
        const char *name = c->machines[a->machine].name;
        plan_page_time(time, a->tpot);
        if (!a->possible)
            say(w, "%s is left out: it has no room for a single layer.", name);
        else if (a->tpot >= p->tpot)
            say(w, "%s is left out: with it a token would take %s (%+.1f %%).", name, time,
                100 * (a->tpot / p->tpot - 1));
        else if (latency)
            say(w,
                "%s is left out: with it a token would take %s (%+.1f %%), too little for having "
                "one machine more.",
                name, time, 100 * (a->tpot / p->tpot - 1));
        else
            say(w,
                "%s is left out: with it a token would take %s (%+.1f %%), but what --objective "
                "asks for would be worse.",
                name, time, 100 * (a->tpot / p->tpot - 1));
    }
}

static void say_notes(struct plan_why *w, const struct plan_setting *s, const struct sums *all)
{
    if (all->gpu_layers)
        say(w,
            "%d layers are planned for GPUs, on which this release does not run yet: --no-gpu "
            "plans what runs today.",
            all->gpu_layers);
    if (s->no_disk)
        say(w, "The model is no file of this machine, so no disk was measured, and nothing can be "
               "planned to be streamed.");
}

void plan_why_find(struct plan_why *w, const struct plan *p, const struct plan_cluster *c,
                   const struct plan_setting *s)
{
    struct sums all = sums_of(p);
    w->n = 0;
    if (p->n_nodes == 1 && c->n > 1 && !s->ask.layers_given)
        say(w, "%s alone is fastest: the others stay idle and cost nothing.",
            c->machines[c->n - 1].name);
    say_pace(w, p, c, &all);
    say_memory(w, p, &all);
    if (!s->ask.layers_given)
        say_rounds(w, p, c, s, &all);
    say_absent(w, p, c, !(s->ask.first > 0) && !(s->ask.throughput > 0));
    say_notes(w, s, &all);
}
