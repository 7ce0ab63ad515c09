// This program as the head of a ring: see head.h.
#include "app/head.h"

#include "app/amounts.h"
#include "app/interrupt.h"
#include "app/listen.h"
#include "cluster/identity.h"
#include "cluster/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 200, NAME_COLUMNS = 26 };

struct head {
    struct node *node;
    struct window_table table;
    enum wire_activation activation;
    char token_file[4096]; // empty: none
    bool terminal;
    char line[256]; // the waiting line as it stands
    uint32_t n_notes;
};

// ---- Options.

bool head_wanted(const struct options *o, struct err *e)
{
    const enum option_id others[] = {OPT_LAYERS, OPT_ROUNDS, OPT_WIRE, OPT_TOKEN_FILE};
    if (options_int(o, OPT_WORKERS) > 0)
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (options_typed(o, others[i])) // the environment may hold them for other runs
            err_set(e, ERR_USAGE,
                    "--%s is for a ring of several machines; say how many with "
                    "--workers",
                    option_table[others[i]].name);
    return false;
}

// "3,2,3": totals per node, head last.
static int parse_layers(const char *text, int n_nodes, int *layers, struct err *e)
{
    const char *at = text;
    for (int i = 0; i < n_nodes; i++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 0 || n > MODEL_MAX_LAYERS || *end != (i < n_nodes - 1 ? ',' : 0))
            return err_set(e, ERR_USAGE,
                           "--layers wants %d numbers with commas between, the layers of each "
                           "worker and of this head last; '%s' is something else",
                           n_nodes, text);
        layers[i] = (int)n;
        at = end + 1;
    }
    return 0;
}

static int make_table(struct head *h, const struct model *m, const struct options *o, struct err *e)
{
    int n_nodes = (int)options_int(o, OPT_WORKERS) + 1, layers[PLAN_MAX_NODES];
    int n_layers = model_hparams(m)->n_layers, rc = 0;
    const char *text = options_text(o, OPT_LAYERS);
    windows_even(n_layers, n_nodes, layers);
    if (text)
        rc = parse_layers(text, n_nodes, layers, e);
    return rc ? rc
              : windows_split(&h->table, n_layers, n_nodes, layers, (int)options_int(o, OPT_ROUNDS),
                              e);
}

static int open_node(struct head *h, const struct options *o, struct err *e)
{
    char folder[IDENTITY_PATH], host[128] = "";
    const char *listen = options_text(o, OPT_LISTEN), *file = options_text(o, OPT_TOKEN_FILE);
    struct node_options n = {
        .folder = folder, .name = options_text(o, OPT_NAME), .port = NODE_PORT};
    int rc = identity_folder(folder, e);
    if (!rc && listen)
        rc = listen_parse(listen, host, sizeof host, &n.port, e);
    n.host = *host ? host : NULL;
    if (!rc)
        rc = node_open(&h->node, &n, e);
    if (rc || !file)
        return rc;
    char line[TOKEN_TEXT_MAX + 1];
    int size = snprintf(line, sizeof line, "%s\n", node_token(h->node));
    snprintf(h->token_file, sizeof h->token_file, "%s", file);
    return identity_write_private(file, line, (size_t)size, true, e);
}

int head_open(struct head **out, const struct model *m, const struct local_options *local,
              const struct options *o, struct err *e)
{
    struct head *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return err_set(e, ERR_NO_MEMORY, "out of memory");
    h->terminal = isatty(STDERR_FILENO);
    h->activation = (enum wire_activation)options_enum(o, OPT_WIRE);
    int rc = make_table(h, m, o, e);
    interrupt_catch(); // whoever sees the token file may ask for the end
    if (!rc)
        rc = open_node(h, o, e);
    struct node_ring ring = {
        .model = m, .table = h->table, .engine = *local, .activation = h->activation};
    if (!rc)
        rc = node_begin(h->node, &ring, e);
    if (rc) {
        head_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void head_close(struct head *h)
{
    if (!h)
        return;
    node_close(h->node);
    if (*h->token_file)
        unlink(h->token_file); // this head is not to be found any more
    free(h);
}

struct pipeline *head_pipeline(struct head *h)
{
    return node_pipeline(h->node);
}

// ---- Waiting.

static void clear_line(struct head *h)
{
    if (h->terminal && *h->line)
        fputs("\r\033[K", stderr);
    *h->line = 0;
}

// On a terminal the line is rewritten in place, elsewhere each change is a line.
static void show_line(struct head *h, const char *line)
{
    if (!strcmp(line, h->line))
        return;
    snprintf(h->line, sizeof h->line, "%s", line);
    if (h->terminal)
        fprintf(stderr, "\r\033[K%s", line);
    else
        fprintf(stderr, "%s\n", line);
}

static int count(const struct node_status *s, enum member_state state)
{
    int n = 0;
    for (int i = 0; i < s->n_members; i++)
        n += s->members[i].state == state;
    return n;
}

static void show_notes(struct head *h, const struct node_status *s)
{
    if (s->n_notes > h->n_notes)
        clear_line(h);
    if (s->n_notes - h->n_notes > NODE_NOTES)
        h->n_notes = s->n_notes - NODE_NOTES;
    for (; h->n_notes < s->n_notes; h->n_notes++)
        fprintf(stderr, "%s\n", s->notes[h->n_notes % NODE_NOTES]);
}

static void show_status(struct head *h, const struct node_status *s)
{
    char line[sizeof h->line];
    const char *what = "waiting for workers";
    enum member_state wanted = MEMBER_PAIRED;
    if (s->phase == DEPLOY_LOADING) {
        what = "workers that have loaded their layers";
        wanted = MEMBER_READY;
    } else if (s->phase == DEPLOY_LINKING) {
        what = "workers that have found each other";
        wanted = MEMBER_LINKED;
    }
    size_t n = (size_t)snprintf(line, sizeof line, "%s: %d of %d", what, count(s, wanted),
                                h->table.n_nodes - 1);
    for (int i = 0; i < s->n_members && n < sizeof line; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %s", i ? ", " : " (",
                              s->members[i].name, membership_name(s->members[i].state));
    if (s->n_members && n + 1 < sizeof line)
        snprintf(line + n, sizeof line - n, ")");
    show_line(h, line);
}

static void print_name(const struct node_report *r, int node)
{
    char name[64];
    snprintf(name, sizeof name, "%d %s%s", node + 1, r->names[node],
             node == r->table.n_nodes - 1 ? " (head)" : "");
    fprintf(stderr, "  %-*s", NAME_COLUMNS, name);
}

// Whether some node reads weights from disk for each pass, or has to since it ran short of memory.
static bool some_streams(const struct node_report *r)
{
    bool some = false;
    for (int i = 0; i < r->table.n_nodes; i++)
        some |= r->memory[i].streamed > 0 || r->decode.nodes[i].wait_ms > 0;
    return some;
}

// "613 MiB + 150 MiB from disk"
static void print_memory(const struct node_memory *m)
{
    char resident[AMOUNT_BYTES], streamed[AMOUNT_BYTES];
    amount_size(resident, m->resident);
    amount_size(streamed, m->streamed);
    if (m->streamed)
        fprintf(stderr, " %s + %s from disk", resident, streamed);
    else
        fprintf(stderr, " %s", m->resident ? resident : "mapped");
}

static void print_map(struct head *h)
{
    struct node_report r;
    node_report(h->node, &r);
    const struct window_table *t = &r.table;
    fprintf(stderr, "layer map: %d layers, %d nodes, k = %d\n  %-*s", t->n_layers, t->n_nodes,
            t->n_rounds, NAME_COLUMNS, "node");
    for (int k = 0; k < t->n_rounds; k++)
        fprintf(stderr, " round %-3d", k + 1);
    fputs(" weights in memory\n", stderr);
    for (int i = 0; i < t->n_nodes; i++) {
        print_name(&r, i);
        for (int k = 0; k < t->n_rounds; k++) {
            char window[24] = "-";
            if (t->hi[k][i] - t->lo[k][i] == 1)
                snprintf(window, sizeof window, "%d", t->lo[k][i]);
            else if (t->hi[k][i] > t->lo[k][i])
                snprintf(window, sizeof window, "%d-%d", t->lo[k][i], t->hi[k][i] - 1);
            fprintf(stderr, " %-9s", window);
        }
        print_memory(&r.memory[i]);
        fputc('\n', stderr);
    }
    if (h->activation == WIRE_F16)
        fputs("activations travel as F16: the answer is close to one node's, not bit-equal\n",
              stderr);
}

int head_gather(struct head *h, struct err *e)
{
    struct node_status s = {0};
    fprintf(stderr, "on each of the other machines: rondo join %s\n", node_token(h->node));
    while (s.phase != DEPLOY_RUNNING) {
        node_wait(h->node, WAIT_MS, &s);
        show_notes(h, &s);
        if (s.ended.code)
            return err_set(e, s.ended.code, "%s", s.ended.text);
        if (interrupt_seen()) {
            clear_line(h);
            return INTERRUPT_EXIT_CODE;
        }
        if (s.phase != DEPLOY_RUNNING)
            show_status(h, &s);
    }
    clear_line(h);
    print_map(h);
    return 0;
}

// ---- Times.

void head_print_times(struct head *h, int64_t ttft_ns, int64_t tpot_ns)
{
    struct node_report r;
    node_report(h->node, &r);
    fprintf(stderr, "first token after %.1f ms, then one every %.2f ms\n", (double)ttft_ns / 1e6,
            (double)tpot_ns / 1e6);
    if (!r.decode.n_passes)
        return;
    bool disk = some_streams(&r);
    fprintf(stderr, "times of a token (medians of %d):\n  %-*s %10s %12s%s\n", r.decode.n_passes,
            NAME_COLUMNS, "node", "compute", "hop to it", disk ? "  disk wait" : "");
    for (int i = 0; i < r.table.n_nodes; i++) {
        const struct timings_node *t = &r.decode.nodes[i];
        print_name(&r, i);
        fprintf(stderr, " %7.3f ms %9.0f us", t->compute_ms, t->hop_us);
        if (disk)
            fprintf(stderr, " %7.3f ms", t->wait_ms);
        fputc('\n', stderr);
    }
}

static json_t *json_times(const struct timings_report *t, int node)
{
    return json_pack("{s:i, s:f, s:f, s:f}", "passes", t->n_passes, "compute_ms",
                     t->nodes[node].compute_ms, "hop_us", t->nodes[node].hop_us, "disk_wait_ms",
                     t->nodes[node].wait_ms);
}

json_t *head_json(struct head *h)
{
    struct node_report r;
    node_report(h->node, &r);
    json_t *nodes = json_array();
    for (int i = 0; i < r.table.n_nodes; i++) {
        json_t *windows = json_array();
        for (int k = 0; k < r.table.n_rounds; k++)
            json_array_append_new(windows, json_pack("[i, i]", r.table.lo[k][i], r.table.hi[k][i]));
        json_array_append_new(
            nodes,
            json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:o, s:o}", "name", r.names[i], "head",
                      i == r.table.n_nodes - 1, "windows", windows, "resident_bytes",
                      (json_int_t)r.memory[i].resident, "streamed_bytes",
                      (json_int_t)r.memory[i].streamed, "slot_bytes", (json_int_t)r.memory[i].slots,
                      "token", json_times(&r.decode, i), "prompt", json_times(&r.prompts, i)));
    }
    return json_pack("{s:i, s:s, s:o}", "rounds", r.table.n_rounds, "wire",
                     h->activation == WIRE_F16 ? "f16" : "f32", "nodes", nodes);
}
