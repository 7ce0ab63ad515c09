// This program as the head of a ring: see head.h.
#include "app/head.h"

#include "app/gantt.h"
#include "app/head_plan.h"
#include "app/interrupt.h"
#include "app/listen.h"
#include "app/plan_setting.h"
#include "app/ring_report.h"
#include "app/status_socket.h"
#include "app/terminal.h"
#include "app/trace.h"
#include "base/log.h"
#include "cluster/identity.h"
#include "cluster/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 200 };

struct head {
    struct node *node;
    struct local_options engine;
    struct planning_wants wants;
    struct plan_order order;    // of --apply
    int layers[PLAN_MAX_NODES]; // by hand
    char survey[4096];          // file to be written; empty: none
    struct planning *planning;  // NULL: not planned (yet), or by hand
    int n_workers;              // that are waited for
    enum wire_activation activation;
    char token_file[4096]; // empty: none
    bool terminal, told;   // told: how to join
    bool by_hand;          // layers
    char line[256];        // the waiting line as it stands
    uint32_t n_notes;
    char model[256]; // as it was named, for rondo nodes
    FILE *trace;     // NULL: none is wanted
    struct status_socket *status;
};

static json_t *document(void *ctx);

// ---- Options.

bool head_wanted(const struct options *o, struct err *e)
{
    const enum option_id others[] = {OPT_LAYERS, OPT_EVEN,       OPT_ROUNDS,
                                     OPT_WIRE,   OPT_TOKEN_FILE, OPT_TRACE,
                                     OPT_APPLY,  OPT_OBJECTIVE,  OPT_SURVEY};
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

// Now: nobody shall compute for an hour and learn then that there is no room for what it took.
static int open_trace(struct head *h, const struct options *o, struct err *e)
{
    const char *path = options_text(o, OPT_TRACE);
    if (!path)
        return 0;
    h->trace = fopen(path, "we");
    return h->trace ? 0 : err_errno(e, ERR_FAILED, "cannot write the trace %s", path);
}

static void tell_token(struct head *h)
{
    fprintf(stderr, "on each of the other machines: rondo join %s\n", node_token(h->node));
    h->told = true;
}

static void choose(struct head *h, const struct model *m, const struct local_options *local,
                   const struct options *o)
{
    h->n_workers = (int)options_int(o, OPT_WORKERS);
    h->engine = *local;
    h->engine.weights.progress = NULL; // a planned ring is loaded when that is over
    h->wants = (struct planning_wants){
        .model = m,
        .engine = &h->engine,
        .activation = h->activation,
        .rounds = (int)options_int(o, OPT_ROUNDS),
    };
    plan_setting_objective(o, &h->wants.latency, &h->wants.first, &h->wants.throughput);
    if (options_text(o, OPT_SURVEY))
        snprintf(h->survey, sizeof h->survey, "%s", options_text(o, OPT_SURVEY));
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
    const char *model = options_arg(o, 0);
    err_quote(h->model, sizeof h->model, model, (int)strlen(model));
    struct window_table table;
    choose(h, m, local, o);
    int rc = head_plan_by_hand(&table, model_hparams(m)->n_layers, o, e);
    h->by_hand = table.n_nodes;
    for (int i = 0; i < table.n_nodes; i++)
        h->layers[i] = windows_layers(&table, i);
    if (!rc)
        rc = head_plan_saved(&h->order, model_hparams(m)->n_layers, o, e);
    if (h->order.n_nodes)
        h->wants.order = &h->order;
    if (!rc)
        rc = open_trace(h, o, e);
    interrupt_catch(); // whoever sees the token file may ask for the end
    if (!rc)
        rc = open_node(h, o, e);
    if (!rc && table.n_nodes) // now: workers may load while this head does
        tell_token(h);
    struct node_ring ring = {
        .model = m,
        .table = table,
        .n_workers = h->n_workers,
        .survey = !options_flag(o, OPT_EVEN),
        .known = table.n_nodes,
        .engine = table.n_nodes ? *local : h->engine,
        .activation = h->activation,
    };
    if (!rc)
        rc = node_begin(h->node, &ring, e);
    struct err unseen = {0}; // the ring is worth more than being shown
    if (!rc && status_socket_open(&h->status, document, h, &unseen))
        log_warn("rondo nodes will not see this head: %s", unseen.text);
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
    status_socket_close(h->status);
    node_close(h->node);
    planning_free(h->planning);
    if (h->trace)
        fclose(h->trace);
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
    if (s->phase == DEPLOY_SURVEYING) {
        what = "asking what each machine can do; workers here";
    } else if (s->phase == DEPLOY_LOADING) {
        what = "workers that have loaded their layers";
        wanted = MEMBER_READY;
    } else if (s->phase == DEPLOY_LINKING) {
        what = "workers that have found each other";
        wanted = MEMBER_LINKED;
    }
    size_t n = (size_t)snprintf(line, sizeof line, "%s: %d of %d", what, count(s, wanted),
                                s->n_wanted ? s->n_wanted : h->n_workers);
    for (int i = 0; i < s->n_members && n < sizeof line; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %s", i ? ", " : " (",
                              s->members[i].name, membership_name(s->members[i].state));
    if (s->n_members && n + 1 < sizeof line)
        snprintf(line + n, sizeof line - n, ")");
    show_line(h, line);
}

static void print_map(struct head *h)
{
    struct node_report r;
    node_report(h->node, &r);
    ring_report_map(stderr, &r);
}

static int plan(struct head *h, struct err *e)
{
    struct node_survey *s = malloc(sizeof *s);
    struct node_plan *ring = malloc(sizeof *ring);
    int rc = s && ring ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    planning_free(h->planning);
    h->planning = NULL;
    clear_line(h);
    if (!rc && !node_survey(h->node, s)) {
        if (*h->survey && s->known)
            rc = head_plan_write_survey(h->survey, s, e);
        if (!rc)
            rc = head_plan_make(&h->planning, ring, &h->wants, s, e);
        if (!rc)
            rc = node_plan(h->node, ring, e);
    }
    free(s);
    free(ring);
    return rc > 0 ? 0 : rc; // too late: somebody left, and it begins again
}

// Layers by hand: what they will take, where that can be told at once.
static void foresee(struct head *h)
{
    struct node_survey *s = malloc(sizeof *s);
    struct node_plan *ring = malloc(sizeof *ring);
    h->wants.layers = h->layers;
    if (s && ring && !node_survey(h->node, s))
        h->planning = head_plan_foresee(ring, &h->wants, s);
    if (h->planning)
        node_foretell(h->node, &ring->foretold);
    free(s);
    free(ring);
}

int head_gather(struct head *h, struct err *e)
{
    struct node_status s = {0};
    if (!h->told)
        tell_token(h);
    while (s.phase != DEPLOY_RUNNING) {
        node_wait(h->node, WAIT_MS, &s);
        show_notes(h, &s);
        if (s.ended.code)
            return err_set(e, s.ended.code, "%s", s.ended.text);
        if (interrupt_seen()) {
            clear_line(h);
            return INTERRUPT_EXIT_CODE;
        }
        bool planned = s.phase == DEPLOY_PLANNING;
        int rc = planned ? plan(h, e) : 0;
        if (rc)
            return rc;
        if (!planned && s.phase != DEPLOY_RUNNING)
            show_status(h, &s);
    }
    clear_line(h);
    if (h->by_hand)
        foresee(h);
    print_map(h);
    return 0;
}

// ---- Between answers.

// The ring takes otherwise than foretold: what was learned is planned with.
static int learn(struct head *h, const struct node_drift *d, struct err *e)
{
    struct node_plan *ring = malloc(sizeof *ring);
    int rc =
        ring ? planning_learn(h->planning, d, e) : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    bool other = rc == 1;
    if (rc >= 0)
        rc = planning_ring(h->planning, ring, e);
    if (!rc && !other)
        node_foretell(h->node, &ring->foretold);
    if (!rc && other) {
        fprintf(stderr,
                "tokens take %+.0f %% of what was foretold; another plan is better: %.1f ms "
                "a token foretold\n",
                100 * (d->ratio - 1), h->planning->plan.tpot * 1e3);
        rc = node_plan(h->node, ring, e);
        if (rc >= 0)
            rc = head_gather(h, e);
    }
    free(ring);
    return rc;
}

int head_refresh(struct head *h, struct err *e)
{
    struct node_drift d;
    node_drift(h->node, &d);
    return d.drifted && h->planning ? learn(h, &d, e) : 0;
}

// ---- Times.

static void print_gantt(const struct node_report *r, const struct timings_trace *last)
{
    const struct gantt_look look = {.columns = terminal_columns(STDERR_FILENO),
                                    .utf8 = terminal_utf8()};
    char *text = last->n_passes ? gantt_text(last, last->passes, r->names, &look) : NULL;
    fputs(text ? text : "", stderr);
    free(text);
}

void head_print_times(struct head *h, int64_t ttft_ns, int64_t tpot_ns)
{
    struct node_report r;
    struct timings_trace last;
    node_report(h->node, &r);
    fprintf(stderr, "first token after %.1f ms, then one every %.2f ms\n", (double)ttft_ns / 1e6,
            (double)tpot_ns / 1e6);
    ring_report_times(stderr, &r);
    if (!node_last(h->node, &last, NULL)) {
        print_gantt(&r, &last);
        timings_trace_free(&last);
    }
}

json_t *head_json(struct head *h)
{
    struct node_report r;
    struct timings_trace last;
    node_report(h->node, &r);
    if (node_last(h->node, &last, NULL))
        return NULL;
    json_t *json = ring_report_json(&r, &last);
    timings_trace_free(&last);
    return json;
}

int head_trace(struct head *h, struct err *e)
{
    struct node_report r;
    struct timings_trace recent;
    if (!h->trace)
        return 0;
    node_report(h->node, &r);
    int rc = node_recent(h->node, &recent, e);
    if (rc)
        return rc;
    trace_write(h->trace, &recent, &r.table, r.names);
    timings_trace_free(&recent);
    bool failed = ferror(h->trace);
    failed |= fclose(h->trace) != 0;
    h->trace = NULL;
    return failed ? err_set(e, ERR_FAILED, "the trace could not be written; the disk may be full")
                  : 0;
}

// ---- rondo nodes.

static const char *const phases[] = {
    [DEPLOY_IDLE] = "idle",           [DEPLOY_GATHERING] = "waiting for workers",
    [DEPLOY_SURVEYING] = "measuring", [DEPLOY_PLANNING] = "planning",
    [DEPLOY_LOADING] = "loading",     [DEPLOY_LINKING] = "linking",
    [DEPLOY_RUNNING] = "running",
};

// On the status socket's thread.
static json_t *document(void *ctx)
{
    struct head *h = ctx;
    struct node_status s = {0};
    node_wait(h->node, 0, &s);
    json_t *members = json_array();
    for (int i = 0; i < s.n_members; i++)
        json_array_append_new(members, json_pack("{s:s, s:s}", "name", s.members[i].name, "state",
                                                 membership_name(s.members[i].state)));
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:i, s:o}", "pid", (int)getpid(), "version",
                             RONDO_VERSION, "model", h->model, "state", phases[s.phase], "workers",
                             h->n_workers, "members", members);
    if (json && (s.phase == DEPLOY_RUNNING || s.ended.code))
        json_object_set_new(json, "ring", head_json(h));
    return json;
}
