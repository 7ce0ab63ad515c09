// Plans as JSON and back: see plan_json.h.
#include "plan/plan_json.h"

#include "plan/json_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const bounds[] = {[PLAN_BOUND_SERIAL] = "compute",
                                     [PLAN_BOUND_DISK] = "disk",
                                     [PLAN_BOUND_DISK_GROUP] = "disk group"};

// ---- writing -----------------------------------------------------------------------------------

static json_t *make_ms(double seconds)
{
    return fields_make_number(seconds * 1e3);
}

static json_t *make_bytes(uint64_t bytes)
{
    return json_integer((json_int_t)bytes);
}

static json_t *make_windows(const struct window_table *t, int node)
{
    json_t *list = json_array();
    for (int r = 0; r < t->n_rounds; r++) {
        char text[32] = "";
        int lo = t->lo[r][node], hi = t->hi[r][node];
        if (hi > lo)
            snprintf(text, sizeof text, "%d-%d", lo, hi - 1);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *make_node(const struct plan *p, const struct plan_cluster *c, int node)
{
    const struct plan_node *n = &p->nodes[node];
    return json_pack(
        "{s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "name", c->machines[n->machine].name, "layers", n->layers, "gpu_layers", n->gpu_layers,
        "windows", make_windows(&p->table, node), "weights_bytes", make_bytes(n->weights),
        "resident_bytes", make_bytes(n->resident), "streamed_bytes", make_bytes(n->streamed),
        "slots_bytes", make_bytes(n->slots), "cache_bytes", make_bytes(n->cache), "computing_bytes",
        make_bytes(n->computing), "memory_bytes", make_bytes(n->memory), "vram_bytes",
        make_bytes(n->vram), "compute_ms", make_ms(n->compute), "disk_ms", make_ms(n->disk),
        "wait_ms", make_ms(n->wait), "hop_ms", make_ms(n->hop), "stage_ms", make_ms(n->stage));
}

static json_t *make_absent(const struct plan *p, const struct plan_cluster *c)
{
    json_t *list = json_array();
    for (int i = 0; i < p->n_absent; i++) {
        const struct plan_absent *a = &p->absent[i];
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", c->machines[a->machine].name,
                                              "tpot_ms_with_it",
                                              a->possible ? make_ms(a->tpot) : json_null()));
    }
    return list;
}

json_t *plan_json(const struct plan *p, const struct plan_cluster *c, const struct plan_model *m)
{
    json_t *nodes = json_array();
    for (int i = 0; i < p->n_nodes; i++)
        json_array_append_new(nodes, make_node(p, c, i));
    const char *at =
        p->bound == PLAN_BOUND_DISK ? c->machines[p->nodes[p->bound_at].machine].name : "";
    return json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "model", m->name,
                     "model_layers", m->n_layers, "rounds", p->table.n_rounds, "chunk", p->chunk,
                     "tpot_ms", make_ms(p->tpot), "ttft_ms", make_ms(p->ttft), "tokens_per_s",
                     fields_make_number(p->throughput), "nodes", nodes, "bound", bounds[p->bound],
                     "bound_at", at, "left_out", make_absent(p, c));
}

// ---- reading -----------------------------------------------------------------------------------

// "3-7", "3" or "".
static bool read_window(const char *text, int n_layers, int *lo, int *hi)
{
    char *end;
    *lo = *hi = 0;
    if (!*text)
        return true;
    if (*text < '0' || *text > '9')
        return false;
    long first = strtol(text, &end, 10), last = first;
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        last = strtol(end + 1, &end, 10);
    if (*end || first > last || last >= n_layers)
        return false;
    *lo = (int)first;
    *hi = (int)last + 1;
    return true;
}

static int read_windows(const struct fields *list, struct plan_order *o, int node)
{
    int sum = 0;
    size_t n = fields_list(list, PLAN_MAX_ROUNDS);
    if (!list->e->code && n != (size_t)o->table.n_rounds)
        fields_refuse(list, "has %zu windows; a node needs one for each of the %d rounds", n,
                      o->table.n_rounds);
    for (size_t r = 0; r < n && !list->e->code; r++) {
        struct fields one = fields_at(list, r);
        const char *text = json_string_value(one.json);
        int lo = 0, hi = 0;
        if (!text || !read_window(text, o->table.n_layers, &lo, &hi))
            fields_refuse(&one, "must be layers of the model's %d as in \"3-7\", or \"\"",
                          o->table.n_layers);
        o->table.lo[r][node] = (uint16_t)lo;
        o->table.hi[r][node] = (uint16_t)hi;
        sum += hi - lo;
    }
    return sum;
}

static void read_node(const struct fields *f, struct plan_order *o, int node, bool *windows)
{
    static const char *const names[] = {
        "name",         "layers",          "gpu_layers", "windows",    "weights_bytes",
        "cache_bytes",  "slots_bytes",     "vram_bytes", "compute_ms", "resident_bytes",
        "memory_bytes", "disk_ms",         "wait_ms",    "hop_ms",     "streamed_bytes",
        "stage_ms",     "computing_bytes", NULL};
    if (!fields_object(f, names) || !fields_need(f, "name"))
        return;
    const char *name = fields_text(f, "name", PLAN_NAME);
    struct fields list = fields_in(f, "windows"), at = fields_in(f, "name");
    snprintf(o->names[node], PLAN_NAME, "%s", name ? name : "");
    for (int i = 0; i < node; i++)
        if (!strcmp(o->names[i], o->names[node]))
            fields_refuse(&at, "another node is called '%s' too", o->names[node]);
    if (node && *windows != (list.json != NULL))
        fields_refuse(f, "either all nodes have \"windows\", or none");
    *windows = list.json != NULL;
    if (!list.json) {
        fields_need(f, "layers");
        o->layers[node] = fields_int(f, "layers", 0, o->table.n_layers);
        return;
    }
    o->layers[node] = read_windows(&list, o, node);
    if (json_object_get(f->json, "layers") &&
        fields_int(f, "layers", 0, o->table.n_layers) != o->layers[node])
        fields_refuse(f, "its windows have %d layers, and \"layers\" says something else",
                      o->layers[node]);
}

// Windows without layers stand where the pass is, as windows_check wants them.
static void place_empty(struct window_table *t)
{
    uint16_t at = 0;
    for (int r = 0; r < t->n_rounds; r++)
        for (int n = 0; n < t->n_nodes; n++) {
            if (t->lo[r][n] == t->hi[r][n])
                t->lo[r][n] = t->hi[r][n] = at;
            at = t->hi[r][n];
        }
}

static void finish(const struct fields *f, struct plan_order *o, bool windows)
{
    struct err why = {0};
    struct window_table *t = &o->table;
    int sum = 0, rc;
    for (int i = 0; i < o->n_nodes; i++)
        sum += o->layers[i];
    if (sum != t->n_layers) {
        fields_refuse(f, "its nodes have %d layers together; the model has %d", sum, t->n_layers);
        return;
    }
    if (windows) {
        place_empty(t);
        rc = windows_check(t, &why);
    } else
        rc = windows_split(t, t->n_layers, o->n_nodes, o->layers, t->n_rounds, &why);
    if (rc)
        fields_refuse(f, "%s", why.text);
}

static void read_order(const struct fields *f, struct plan_order *o)
{
    static const char *const names[] = {"model",        "model_layers", "rounds",   "chunk",
                                        "tpot_ms",      "ttft_ms",      "nodes",    "bound",
                                        "tokens_per_s", "bound_at",     "left_out", NULL};
    bool windows = false;
    if (!fields_object(f, names))
        return;
    struct fields list = fields_in(f, "nodes"), layers = fields_in(f, "model_layers");
    int n = fields_int(f, "model_layers", 1, PLAN_MAX_LAYERS);
    if (layers.json && !f->e->code && n != o->table.n_layers)
        fields_refuse(&layers, "the plan is for a model of %d layers; this one has %d", n,
                      o->table.n_layers);
    o->chunk = fields_int(f, "chunk", 0, 1 << 20);
    o->table.n_rounds = fields_int(f, "rounds", 1, PLAN_MAX_ROUNDS);
    if (!o->table.n_rounds)
        o->table.n_rounds = 1;
    o->n_nodes = o->table.n_nodes = (int)fields_list(&list, PLAN_MAX_NODES);
    if (!o->n_nodes)
        fields_refuse(&list, "must list one node at least, the head last");
    for (int i = 0; i < o->n_nodes && !f->e->code; i++) {
        struct fields one = fields_at(&list, (size_t)i);
        read_node(&one, o, i, &windows);
    }
    if (!f->e->code)
        finish(f, o, windows);
}

int plan_json_read(struct plan_order *out, const json_t *json, int n_layers, const char *file,
                   struct err *e)
{
    struct err mine = {0};
    struct fields root = {.file = file, .json = json, .e = &mine};
    *out = (struct plan_order){.table.n_layers = n_layers};
    read_order(&root, out);
    return mine.code ? err_set(e, mine.code, "%s", mine.text) : 0;
}

bool plan_order_is_even(const struct plan_order *o)
{
    struct window_table even;
    const struct window_table *t = &o->table;
    if (windows_split(&even, t->n_layers, t->n_nodes, o->layers, t->n_rounds, NULL))
        return false;
    for (int r = 0; r < t->n_rounds; r++)
        for (int n = 0; n < t->n_nodes; n++)
            if (t->hi[r][n] - t->lo[r][n] != even.hi[r][n] - even.lo[r][n])
                return false;
    return true;
}
