// What is known of a ring as JSON, and back: see ring_report.h.
#include "app/ring_report.h"

#include <math.h>
#include <string.h>

static const char *const wires[WIRE_ACTIVATION_COUNT] = {"f32", "f16"};

// ---- Writing.

static json_t *write_times(const struct timings_report *t, int node)
{
    const struct timings_node *x = &t->nodes[node];
    return json_pack("{s:i, s:f, s:f, s:f, s:f}", "passes", t->n_passes, "compute_ms",
                     x->compute_ms, "hop_us", x->hop_us, "disk_wait_ms", x->wait_ms, "send_us",
                     x->send_us);
}

static json_t *write_node(const struct node_report *r, int i)
{
    const struct node_memory *m = &r->memory[i];
    json_t *windows = json_array();
    for (int k = 0; k < r->table.n_rounds; k++)
        json_array_append_new(windows, json_pack("[i, i]", r->table.lo[k][i], r->table.hi[k][i]));
    json_t *node = json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:o, s:o}", "name", r->names[i],
                             "head", i == r->table.n_nodes - 1, "windows", windows,
                             "resident_bytes", (json_int_t)m->resident, "streamed_bytes",
                             (json_int_t)m->streamed, "slot_bytes", (json_int_t)m->slots, "token",
                             write_times(&r->decode, i), "prompt", write_times(&r->prompts, i));
    if (node && r->predicted.pass_ms > 0)
        json_object_set_new(node, "planned", write_times(&r->predicted, i));
    return node;
}

static json_t *write_pass(const struct timings_trace *t, const struct timings_pass *p)
{
    json_t *stops = json_array();
    for (int r = 0; r < t->n_rounds; r++)
        for (int m = 0; m < t->n_nodes; m++) {
            const struct timings_stop *s = timings_stop_of(t, p, r, m);
            json_array_append_new(stops,
                                  json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "round", r,
                                            "node", m, "received_us", s->received_us, "started_us",
                                            s->started_us, "computed_us", s->computed_us, "sent_us",
                                            s->sent_us, "disk_wait_us", s->waited_us));
        }
    return json_pack("{s:f, s:f, s:o}", "embedded_us", p->embedded_us, "sent_us", p->sent_us,
                     "stops", stops);
}

json_t *ring_report_json(const struct node_report *r, const struct timings_trace *last)
{
    json_t *nodes = json_array();
    for (int i = 0; i < r->table.n_nodes; i++)
        json_array_append_new(nodes, write_node(r, i));
    json_t *json = json_pack("{s:i, s:s, s:f, s:f, s:o}", "rounds", r->table.n_rounds, "wire",
                             wires[r->activation], "token_ms", r->decode.pass_ms, "prompt_pass_ms",
                             r->prompts.pass_ms, "nodes", nodes);
    if (json && r->predicted.pass_ms > 0)
        json_object_set_new(json, "planned_token_ms", json_real(r->predicted.pass_ms));
    if (json && last->n_passes)
        json_object_set_new(json, "last_token", write_pass(last, &last->passes[0]));
    return json;
}

// ---- Reading. Counts are checked before anything is sized by them.

static int foreign(struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "a head tells of its ring in words that this program does not know; it may be "
                   "of another version");
}

// A number that is there and finite.
static bool number(const json_t *object, const char *key, double *out)
{
    const json_t *value = json_object_get(object, key);
    *out = json_number_value(value);
    return json_is_number(value) && isfinite(*out);
}

static bool integer(const json_t *value, int64_t most, int64_t *out)
{
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0 && *out <= most;
}

static bool read_times(const json_t *json, struct timings_report *t, int node)
{
    struct timings_node *x = &t->nodes[node];
    int64_t passes;
    bool all = integer(json_object_get(json, "passes"), INT32_MAX, &passes) &&
               number(json, "compute_ms", &x->compute_ms) && number(json, "hop_us", &x->hop_us) &&
               number(json, "disk_wait_ms", &x->wait_ms) && number(json, "send_us", &x->send_us);
    t->n_passes = (int)passes;
    return all;
}

static bool read_windows(const json_t *json, struct window_table *t, int node)
{
    if (json_array_size(json) != (size_t)t->n_rounds)
        return false;
    for (int r = 0; r < t->n_rounds; r++) {
        int64_t lo, hi;
        const json_t *window = json_array_get(json, (size_t)r);
        if (!integer(json_array_get(window, 0), WIRE_MAX_LAYERS, &lo) ||
            !integer(json_array_get(window, 1), WIRE_MAX_LAYERS, &hi))
            return false;
        t->lo[r][node] = (uint16_t)lo;
        t->hi[r][node] = (uint16_t)hi;
    }
    return true;
}

static bool read_node(const json_t *json, struct node_report *r, int node)
{
    const json_t *name = json_object_get(json, "name"), *planned = json_object_get(json, "planned");
    int64_t resident, streamed, slots;
    if (!json_is_string(name) ||
        !integer(json_object_get(json, "resident_bytes"), INT64_MAX, &resident) ||
        !integer(json_object_get(json, "streamed_bytes"), INT64_MAX, &streamed) ||
        !integer(json_object_get(json, "slot_bytes"), INT64_MAX, &slots) ||
        !read_windows(json_object_get(json, "windows"), &r->table, node) ||
        !read_times(json_object_get(json, "token"), &r->decode, node) ||
        !read_times(json_object_get(json, "prompt"), &r->prompts, node))
        return false;
    err_quote(r->names[node], WIRE_NAME, json_string_value(name), (int)json_string_length(name));
    r->memory[node] = (struct node_memory){(uint64_t)resident, (uint64_t)streamed, (uint64_t)slots};
    return !planned || read_times(planned, &r->predicted, node);
}

static int read_pass(const json_t *json, const struct window_table *table,
                     struct timings_trace *last, struct err *e)
{
    const json_t *stops = json_object_get(json, "stops");
    size_t n = (size_t)table->n_nodes * (size_t)table->n_rounds;
    if (json_array_size(stops) != n)
        return foreign(e);
    int rc = timings_trace_new(last, table->n_nodes, table->n_rounds, 1, e);
    if (rc)
        return rc;
    struct timings_pass *p = &last->passes[0];
    p->n_tokens = 1;
    bool all = number(json, "embedded_us", &p->embedded_us) && number(json, "sent_us", &p->sent_us);
    for (size_t i = 0; all && i < n; i++) {
        const json_t *x = json_array_get(stops, i);
        struct timings_stop *s = &p->stops[i];
        all = number(x, "received_us", &s->received_us) &&
              number(x, "started_us", &s->started_us) &&
              number(x, "computed_us", &s->computed_us) && number(x, "sent_us", &s->sent_us) &&
              number(x, "disk_wait_us", &s->waited_us);
    }
    return all ? 0 : foreign(e);
}

int ring_report_read(struct node_report *out, struct timings_trace *last, const json_t *json,
                     struct err *e)
{
    const json_t *nodes = json_object_get(json, "nodes"),
                 *token = json_object_get(json, "last_token");
    const char *wire = json_string_value(json_object_get(json, "wire"));
    size_t n = json_array_size(nodes);
    int64_t rounds;
    struct err wrong = {0};
    *out = (struct node_report){0};
    *last = (struct timings_trace){0};
    if (!integer(json_object_get(json, "rounds"), PLAN_MAX_ROUNDS, &rounds) || !rounds || !n ||
        n > PLAN_MAX_NODES || !wire || !number(json, "token_ms", &out->decode.pass_ms) ||
        !number(json, "prompt_pass_ms", &out->prompts.pass_ms))
        return foreign(e);
    out->activation = strcmp(wire, wires[WIRE_F16]) ? WIRE_F32 : WIRE_F16;
    out->table.n_nodes = (int)n;
    out->table.n_rounds = (int)rounds;
    if (!number(json, "planned_token_ms", &out->predicted.pass_ms))
        out->predicted.pass_ms = 0;
    for (int i = 0; i < out->table.n_nodes; i++)
        if (!read_node(json_array_get(nodes, (size_t)i), out, i))
            return foreign(e);
    out->table.n_layers = out->table.hi[rounds - 1][n - 1];
    if (windows_check(&out->table, &wrong))
        return foreign(e);
    return token ? read_pass(token, &out->table, last, e) : 0;
}
