// A Chrome trace: see trace.h. The format is that of the Trace Event Format's JSON object: "M"
// names things, "X" is a slice of a thread, "b" and "e" are the ends of an asynchronous one.
#include "app/trace.h"

#include "app/round_slices.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

enum { THREAD_COMPUTE = 1 };

struct tracing {
    FILE *out;
    const struct timings_trace *trace;
    const struct window_table *table;
    const struct timings_pass *pass;
    int node;
    double begun_us; // of the pass at hand
    bool some;       // events were written
};

// One event, a line of its own; takes the reference. One at a time: a trace has a hundred thousand.
static void put(struct tracing *t, json_t *event)
{
    if (!event)
        return; // no memory: it is left out
    fputs(t->some ? ",\n" : "\n", t->out);
    t->some = true;
    json_dumpf(event, t->out, JSON_COMPACT | JSON_REAL_PRECISION(13));
    json_decref(event);
}

static void put_names(struct tracing *t, int node, const char *name)
{
    char text[WIRE_NAME + 16];
    snprintf(text, sizeof text, "%.*s%s", WIRE_NAME, name,
             node == t->trace->n_nodes - 1 ? " (head)" : "");
    put(t, json_pack("{s:s, s:s, s:i, s:{s:s}}", "name", "process_name", "ph", "M", "pid", node + 1,
                     "args", "name", text));
    put(t, json_pack("{s:s, s:s, s:i, s:{s:i}}", "name", "process_sort_index", "ph", "M", "pid",
                     node + 1, "args", "sort_index", node));
    put(t, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M", "pid",
                     node + 1, "tid", THREAD_COMPUTE, "args", "name", "compute loop"));
}

// "layers 4-7", "embedding"
static void window_text(const struct tracing *t, const struct slice *s, char *out, size_t size)
{
    if (s->round < 0) {
        snprintf(out, size, "embedding");
        return;
    }
    int lo = t->table->lo[s->round][t->node], hi = t->table->hi[s->round][t->node];
    if (hi - lo > 1)
        snprintf(out, size, "layers %d-%d", lo, hi - 1);
    else if (hi > lo)
        snprintf(out, size, "layer %d", lo);
    else
        snprintf(out, size, "no layer");
}

static json_t *args_of(const struct tracing *t, int round)
{
    return json_pack("{s:I, s:i, s:i}", "pass", (json_int_t)t->pass->pass, "tokens",
                     t->pass->n_tokens, "round", round);
}

static void put_ends(struct tracing *t, const char *name, const char *category, int round,
                     double from_us, double to_us)
{
    char id[64];
    snprintf(id, sizeof id, "%llu.%d.%d", (unsigned long long)t->pass->pass, round, t->node);
    put(t, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:o}", "name", name, "cat", category,
                     "ph", "b", "id", id, "pid", t->node + 1, "tid", THREAD_COMPUTE, "ts",
                     t->begun_us + from_us, "args", args_of(t, round)));
    put(t,
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:f}", "name", name, "cat", category, "ph", "e",
                  "id", id, "pid", t->node + 1, "tid", THREAD_COMPUTE, "ts", t->begun_us + to_us));
}

static void put_slice(void *ctx, const struct slice *s)
{
    struct tracing *t = ctx;
    char window[48];
    if (s->kind == SLICE_RECEIVE || s->kind == SLICE_SEND) {
        put_ends(t, slice_names[s->kind], "link", s->round, s->from_us, s->to_us);
        return;
    }
    window_text(t, s, window, sizeof window);
    put(t, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:o}", "name",
                     s->kind == SLICE_WAIT ? slice_names[s->kind] : window, "cat",
                     slice_names[s->kind], "ph", "X", "pid", t->node + 1, "tid", THREAD_COMPUTE,
                     "ts", t->begun_us + s->from_us, "dur", s->to_us - s->from_us, "args",
                     args_of(t, s->round)));
}

static void put_pass(struct tracing *t)
{
    char name[48];
    int n = t->pass->n_tokens;
    snprintf(name, sizeof name, n == 1 ? "pass of %d token" : "pass of %d tokens", n);
    t->node = t->trace->n_nodes - 1;
    put_ends(t, name, "pass", 0, 0, slices_end_us(t->trace, t->pass));
    for (t->node = 0; t->node < t->trace->n_nodes; t->node++)
        slices_of(t->trace, t->pass, t->node, put_slice, t);
}

void trace_write(FILE *out, const struct timings_trace *t, const struct window_table *table,
                 const char (*names)[WIRE_NAME])
{
    struct tracing w = {.out = out, .trace = t, .table = table};
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", out);
    for (int m = 0; m < t->n_nodes; m++)
        put_names(&w, m, names[m]);
    for (int i = 0; i < t->n_passes; i++) {
        w.pass = &t->passes[i];
        w.begun_us = (double)(w.pass->begun_ns - t->passes[0].begun_ns) / 1e3;
        put_pass(&w);
    }
    fputs("\n]}\n", out);
}
