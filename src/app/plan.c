// rondo plan: who would run which layers of a model, why, and how long a token would take.
#include "app/devices.h"
#include "app/help.h"
#include "app/output.h"
#include "app/plan_cases.h"
#include "app/plan_page.h"
#include "app/plan_upgrades.h"
#include "app/plan_why.h"
#include "app/verbs.h"
#include "base/check.h"
#include "plan/simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct planned { // large: heap
    struct plan_setting setting;
    struct plan_cluster cluster; // that the plan's machines are in
    struct plan plan;
    struct plan_why why;
    struct plan_cases compare, what_if;
    struct plan_order order; // of --apply
};

// ---- a plan that is given ----------------------------------------------------------------------

// Nodes without layers are no nodes, but for the head.
static void leave_out_idle(struct plan_order *o)
{
    struct window_table *t = &o->table;
    int n = 0;
    for (int i = 0; i < o->n_nodes; i++) {
        if (!o->layers[i] && i < o->n_nodes - 1)
            continue;
        memmove(o->names[n], o->names[i], PLAN_NAME);
        o->layers[n] = o->layers[i];
        for (int r = 0; r < t->n_rounds; r++) {
            t->lo[r][n] = t->lo[r][i];
            t->hi[r][n] = t->hi[r][i];
        }
        n++;
    }
    o->n_nodes = t->n_nodes = n;
}

// Windows that no formula foretells are simulated.
static int simulate_windows(struct planned *x, struct err *e)
{
    struct simulated *sim = malloc(sizeof *sim);
    const struct simulate_options how = {0};
    struct plan *p = &x->plan;
    if (!sim)
        return err_set(e, ERR_NO_MEMORY, "no memory to simulate the plan");
    p->table = x->order.table;
    int rc = simulate(sim, p, &x->cluster, &x->setting.model, &x->setting.ask, &how, e);
    if (!rc) {
        p->tpot = sim->tpot;
        p->ttft = sim->ttft;
        p->throughput = sim->throughput;
        for (int i = 0; i < p->n_nodes; i++) {
            p->nodes[i].compute = sim->nodes[i].compute;
            p->nodes[i].wait = sim->nodes[i].wait;
            p->nodes[i].disk = sim->nodes[i].disk;
            p->nodes[i].hop = sim->nodes[i].hop;
        }
    }
    free(sim);
    return rc;
}

static int apply(struct planned *x, const char *path, struct err *e)
{
    char file[256];
    json_t *json;
    struct plan_ask *a = &x->setting.ask;
    int rc = device_read_json(&json, path, file, sizeof file, e);
    if (rc)
        return rc;
    rc = plan_json_read(&x->order, json, x->setting.model.n_layers, file, e);
    json_decref(json);
    if (rc)
        return rc;
    leave_out_idle(&x->order);
    rc = plan_setting_order(&x->cluster, &x->setting.cluster, &x->order, file, e);
    if (rc)
        return rc;
    a->layers_given = a->fixed_order = true;
    a->rounds = x->order.table.n_rounds;
    a->chunk = x->order.chunk;
    memcpy(a->layers, x->order.layers, sizeof a->layers);
    rc = plan_case_make(&x->plan, &x->cluster, &x->setting, a, e);
    return rc || plan_order_is_even(&x->order) ? rc : simulate_windows(x, e);
}

static int save(const struct planned *x, const char *path, struct err *e)
{
    int rc = 0;
    char shown[256];
    json_t *json = plan_json(&x->plan, &x->cluster, &x->setting.model);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    FILE *f = text ? fopen(path, "w") : NULL;
    err_quote(shown, sizeof shown, path, (int)strlen(path));
    if (!text)
        rc = err_set(e, ERR_NO_MEMORY, "%s: no memory to write it", shown);
    else if (!f)
        rc = err_errno(e, ERR_FAILED, "%s: cannot be created", shown);
    bool bad = f && (fputs(text, f) < 0 || fputc('\n', f) == EOF);
    if (f && (fclose(f) || bad) && !rc)
        rc = err_errno(e, ERR_FAILED, "%s: cannot be written", shown);
    free(text);
    json_decref(json);
    return rc;
}

// ---- telling -----------------------------------------------------------------------------------

static int print_json(const struct planned *x, struct err *e)
{
    json_t *why = json_array();
    for (int i = 0; i < x->why.n; i++)
        json_array_append_new(why, json_string(x->why.text[i]));
    json_t *json =
        json_pack("{s:o, s:o, s:o}", "plan", plan_json(&x->plan, &x->cluster, &x->setting.model),
                  "why", why, "cluster", profile_json_cluster(&x->cluster));
    if (json && x->compare.n)
        json_object_set_new(json, "compare", plan_cases_json(&x->compare));
    if (json && x->what_if.n)
        json_object_set_new(json, "what_if", plan_cases_json(&x->what_if));
    return output_json(json, e);
}

static void print_page(const struct planned *x)
{
    struct plan_look look = plan_look_of_terminal();
    if (x->what_if.n) {
        plan_cases_print(&x->what_if, &x->setting);
        printf("\nwith all of them:\n\n");
    }
    plan_page_print(&x->plan, &x->cluster, &x->setting, &look);
    printf("\n");
    for (int i = 0; i < x->why.n; i++) {
        fputs("- ", stdout);
        help_wrap(stdout, x->why.text[i], 2, 2);
    }
    if (x->compare.n) {
        printf("\n");
        plan_cases_print(&x->compare, &x->setting);
    }
}

static int make(struct planned *x, const struct options *o, struct err *e)
{
    const char *file = options_text(o, OPT_APPLY), *devices = options_text(o, OPT_WHAT_IF);
    int rc = plan_setting_read(&x->setting, o, e);
    if (!rc && devices)
        rc = plan_cases_what_if(&x->what_if, &x->setting, devices, e);
    if (rc)
        return rc;
    x->cluster = x->setting.cluster;
    return file ? apply(x, file, e)
                : plan_case_make(&x->plan, &x->cluster, &x->setting, &x->setting.ask, e);
}

static int run(const struct options *o, struct err *e)
{
    const char *path = options_text(o, OPT_SAVE);
    if (options_flag(o, OPT_DEVICES)) {
        device_list();
        return 0;
    }
    struct planned *x = calloc(1, sizeof *x);
    int rc = x ? make(x, o, e) : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    if (!rc)
        plan_why_find(&x->why, &x->plan, &x->cluster, &x->setting);
    if (!rc && options_flag(o, OPT_COMPARE)) {
        plan_cases_compare(&x->compare, &x->plan, &x->cluster, &x->setting);
        plan_upgrades_compare(&x->compare, &x->plan, &x->cluster, &x->setting);
    }
    if (!rc && path)
        rc = save(x, path, e);
    if (!rc && options_flag(o, OPT_JSON))
        rc = print_json(x, e);
    else if (!rc)
        print_page(x);
    free(x);
    return rc;
}

const struct verb verb_plan = {
    .name = "plan",
    .summary = "who would run which layers of a model, how fast, and why",
    .usage = "[MODEL]",
    .text =
        "Finds the best way to share a model among machines: layers of each, times that a token "
        "goes round the ring, what stays in memory and what is read from disk for each token. It "
        "prints the layers, the memory of each machine, what a token and a prompt would take, and "
        "the reasons. Nothing is run, and the machines need not be there.\n\n"
        "MODEL is a file, a model's name, or like:SHAPE for a model that need not be there, as "
        "like:70b or like:8b:Q8_0. Shapes are those of rondo synth.\n\n"
        "Machines come from --cluster FILE, JSON as {\"machines\": [{\"device\": \"pi5-8gb\"}, "
        "{\"device\": \"desktop-ddr4-32gb\"}]}, with typical devices (--devices lists them) or "
        "with "
        "numbers of your own, the head last; docs/PLAN.md says more. Without it, this machine is "
        "measured.\n\n"
        "What should I buy:\nrondo plan like:70b --what-if pi5-8gb,desktop-ddr5-64gb\n\n"
        "Who helps, and how much:\nrondo plan 8b.gguf --cluster home.json --compare\n\n"
        "What of my own idea:\n"
        "rondo plan 8b.gguf --cluster home.json --layers 8,24 --rounds 2",
    .options = (const struct verb_option[]){{OPT_CLUSTER, NULL},    {OPT_WHAT_IF, NULL},
                                            {OPT_DEVICES, NULL},    {OPT_MODEL_LIKE, NULL},
                                            {OPT_COMPARE, NULL},    {OPT_OBJECTIVE, "answer"},
                                            {OPT_CTX, "0"},         {OPT_PROMPT_TOKENS, "256"},
                                            {OPT_USERS, "1"},       {OPT_PLAN_LAYERS, NULL},
                                            {OPT_PLAN_ROUNDS, "0"}, {OPT_SAVE, NULL},
                                            {OPT_APPLY, NULL},      {OPT_NO_GPU, NULL},
                                            {OPT_BATCH, "512"},     {OPT_KV, "f16"},
                                            {OPT_MEMORY, "auto"},   {OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},      {OPT_ISA, "auto"},
                                            {OPT_AGAIN, NULL},      {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .min_args = 0,
    .max_args = 1,
    .run = run,
};
