// Plans of a ring: see head_plan.h.
#include "app/head_plan.h"

#include "app/devices.h"
#include "model/shard.h"
#include "plan/profile_json.h"

#include <stdlib.h>
#include <string.h>

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

int head_plan_by_hand(struct window_table *out, int n_layers, const struct options *o,
                      struct err *e)
{
    int n_nodes = (int)options_int(o, OPT_WORKERS) + 1, layers[PLAN_MAX_NODES], rc = 0;
    int rounds = (int)options_int(o, OPT_ROUNDS);
    const char *text = options_text(o, OPT_LAYERS);
    *out = (struct window_table){0};
    if (options_text(o, OPT_APPLY) && (text || options_flag(o, OPT_EVEN)))
        return err_set(e, ERR_USAGE,
                       "--apply has the layers already; leave out --layers and --even");
    if (!text && !options_flag(o, OPT_EVEN))
        return 0;
    if (text && options_flag(o, OPT_EVEN))
        return err_set(e, ERR_USAGE, "--layers says who runs what, and so does --even; use one");
    windows_even(n_layers, n_nodes, layers);
    if (text)
        rc = parse_layers(text, n_nodes, layers, e);
    return rc ? rc : windows_split(out, n_layers, n_nodes, layers, rounds ? rounds : 1, e);
}

int head_plan_saved(struct plan_order *out, int n_layers, const struct options *o, struct err *e)
{
    const char *path = options_text(o, OPT_APPLY);
    char file[256];
    json_t *json;
    *out = (struct plan_order){0};
    if (!path)
        return 0;
    int rc = device_read_json(&json, path, file, sizeof file, e);
    if (rc)
        return rc;
    rc = plan_json_read(out, json, n_layers, file, e);
    json_decref(json);
    if (!rc && out->n_nodes - 1 > (int)options_int(o, OPT_WORKERS))
        rc = err_set(e, ERR_USAGE, "%s is a plan for %d workers; wait for them with --workers %d",
                     file, out->n_nodes - 1, out->n_nodes - 1);
    return rc;
}

int head_plan_write_survey(const char *path, const struct node_survey *s, struct err *e)
{
    json_t *json = profile_json_cluster(&s->cluster);
    int bad = json ? json_dump_file(json, path, JSON_INDENT(2)) : 0;
    bool none = !json;
    json_decref(json);
    if (none)
        return err_set(e, ERR_NO_MEMORY, "no memory for what the machines said");
    return bad ? err_errno(e, ERR_FAILED, "cannot write %s", path) : 0;
}

// ---- what a plan means -------------------------------------------------------------------------

static void say_absent(const struct planning *p, const struct plan_absent *x)
{
    const char *name = p->cluster.machines[x->machine].name;
    const struct plan *plan = &p->plan;
    if (!x->possible)
        fprintf(stderr, "%s takes no part: it has no room for a layer\n", name);
    else if (x->tpot > 0)
        fprintf(stderr, "%s takes no part: with it a token would take %.1f ms instead of %.1f ms\n",
                name, x->tpot * 1e3, plan->tpot * 1e3);
    else
        fprintf(stderr, "%s takes no part: no plan with it is as quick\n", name);
}

static void say_plan(const struct planning *p)
{
    const struct plan *plan = &p->plan;
    if (plan->n_nodes == 1)
        fprintf(stderr,
                "this machine runs the model alone, which is the quickest: %.1f ms a "
                "token foretold; the others wait\n",
                plan->tpot * 1e3);
    else
        fprintf(stderr,
                "planned: %.1f ms a token foretold, first token of a prompt of %d after "
                "%.0f ms\n",
                plan->tpot * 1e3, p->ask.prompt ? p->ask.prompt : 256, plan->ttft * 1e3);
    for (int i = 0; i < plan->n_absent; i++)
        say_absent(p, &plan->absent[i]);
}

// ---- making one --------------------------------------------------------------------------------

static int even(struct node_plan *ring, const struct planning_wants *w, const struct node_survey *s,
                struct err *e)
{
    int layers[PLAN_MAX_NODES], n_layers = model_hparams(w->model)->n_layers;
    int n_nodes = s->cluster.n;
    fputs("not everybody could say what it can do; all get the same number of layers\n", stderr);
    *ring = (struct node_plan){0};
    for (int i = 0; i < n_nodes - 1; i++)
        ring->members[i] = s->members[i];
    windows_even(n_layers, n_nodes, layers);
    return windows_split(&ring->table, n_layers, n_nodes, layers, w->rounds ? w->rounds : 1, e);
}

struct planning *head_plan_foresee(struct node_plan *ring, const struct planning_wants *w,
                                   const struct node_survey *s)
{
    struct planning *p = NULL;
    struct err unseen = {0}; // the ring runs all the same
    if (!s->known || planning_new(&p, w, s, &unseen))
        return NULL;
    if (!planning_make(p, &unseen) && !planning_ring(p, ring, &unseen))
        return p;
    planning_free(p);
    return NULL;
}

int head_plan_make(struct planning **out, struct node_plan *ring, const struct planning_wants *w,
                   const struct node_survey *s, struct err *e)
{
    *out = NULL;
    if (!s->known)
        return even(ring, w, s, e);
    struct planning *p;
    int rc = planning_new(&p, w, s, e);
    if (!rc)
        rc = planning_make(p, e);
    if (!rc)
        rc = planning_ring(p, ring, e);
    if (rc) {
        planning_free(p);
        return rc;
    }
    say_plan(p);
    *out = p;
    return 0;
}
