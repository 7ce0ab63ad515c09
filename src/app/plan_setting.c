// Models, machines and questions for the planner: see plan_setting.h.
#include "app/plan_setting.h"

#include "app/devices.h"
#include "app/keeping.h"
#include "app/model_path.h"
#include "app/speed_sheet.h"
#include "cluster/plan_model.h"
#include "hub/synthesis.h"
#include "weights/budget.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char like_prefix[] = "like:", like_format[] = "Q4_K_M";

// ---- the model ---------------------------------------------------------------------------------

// "70b" or "70b:Q8_0".
static int open_shape(struct gguf **out, const char *text, struct err *e)
{
    struct synthesis s;
    char name[16], quoted[48];
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : 0), text);
    if (!synthesis_preset(name, &s))
        return err_set(e, ERR_USAGE, "there is no shape '%s'; shapes are %s",
                       err_quote(quoted, sizeof quoted, text, (int)length), synthesis_presets());
    const char *format = colon ? colon + 1 : like_format;
    s.mix = mix_find(format);
    if (!s.mix)
        return err_set(e, ERR_USAGE, "there is no weight format '%s'; formats are " MIX_NAMES,
                       err_quote(quoted, sizeof quoted, format, (int)strlen(format)));
    return synthesis_header(&s, out, e);
}

static int open_model(struct gguf **g, struct model **m, const struct options *o, struct err *e)
{
    char path[MODEL_PATH_BYTES];
    const char *name = options_arg(o, 0), *like = options_text(o, OPT_MODEL_LIKE);
    int rc;
    if (!name && !like)
        return err_set(e, ERR_USAGE,
                       "which model? Give the path of one, a model's name, or like:70b for one "
                       "that need not be there");
    if (name && like)
        return err_set(e, ERR_USAGE, "--model-like stands instead of MODEL; give one of them");
    if (name && !strncasecmp(name, like_prefix, sizeof like_prefix - 1))
        like = name + sizeof like_prefix - 1;
    if (like) {
        rc = open_shape(g, like, e);
    } else {
        rc = model_path_find(name, path, sizeof path, e);
        if (!rc)
            rc = gguf_open(g, path, e);
    }
    return rc ? rc : model_open(m, *g, e);
}

static int take_model(struct plan_setting *s, const struct model *m, const struct options *o,
                      struct err *e)
{
    const int trained = model_hparams(m)->context_length, users = (int)options_int(o, OPT_USERS);
    int context = (int)options_int(o, OPT_CTX);
    if (!context)
        context = trained < 4096 ? trained : 4096;
    const struct plan_model_options how = {
        .kv_type = (enum kv_type)options_enum(o, OPT_KV),
        .n_threads = (int)options_int(o, OPT_THREADS),
        .max_batch = (int)options_int(o, OPT_BATCH),
        .max_context = context,
        .n_sessions = users,
    };
    s->ask.context = context * users;
    s->ask.positions = (context + 1) / 2;
    return plan_model_of(&s->model, m, &how, e);
}

// ---- machines ----------------------------------------------------------------------------------

static int measure_here(struct plan_setting *s, const struct model *m, const struct options *o,
                        struct err *e)
{
    static struct speed_sheet sheet;
    uint64_t memory = 0;
    struct plan_machine *here = &s->cluster.machines[0];
    int rc = keeping_memory(options_text(o, OPT_MEMORY), budget_total(""), &memory, e);
    if (!rc)
        rc = speed_sheet_of(&sheet, m, o, e);
    if (rc)
        return rc;
    *here = sheet.machine;
    here->memory = memory ? memory : budget_automatic("");
    here->disk_group = here->net_group = here->core_group = -1;
    if (gethostname(here->name, sizeof here->name) || !*here->name)
        snprintf(here->name, sizeof here->name, "here");
    here->name[sizeof here->name - 1] = 0;
    s->cluster.n = 1;
    s->measured = true;
    s->no_disk = !(here->disk > 0);
    return 0;
}

static void forget_gpus(struct plan_cluster *c)
{
    for (int i = 0; i < c->n; i++)
        c->machines[i].vram = 0;
}

int plan_setting_order(struct plan_cluster *out, const struct plan_cluster *c,
                       const struct plan_order *order, const char *file, struct err *e)
{
    int at[PLAN_MAX_NODES];
    for (int i = 0; i < order->n_nodes; i++) {
        at[i] = -1;
        for (int k = 0; k < c->n; k++)
            if (!strcmp(order->names[i], c->machines[k].name))
                at[i] = k;
        if (at[i] < 0)
            return err_set(e, ERR_USAGE,
                           "%s: node '%s' is none of the machines that are planned for", file,
                           order->names[i]);
    }
    if (at[order->n_nodes - 1] != c->n - 1)
        return err_set(e, ERR_USAGE,
                       "%s: its last node is %s, but the head is %s; the head must be the last",
                       file, order->names[order->n_nodes - 1], c->machines[c->n - 1].name);
    profile_pick(out, c, at, order->n_nodes);
    return 0;
}

// ---- the question ------------------------------------------------------------------------------

static int read_layers(struct plan_setting *s, const char *text, struct err *e)
{
    const char *at = text;
    int n = s->cluster.n;
    for (int i = 0; i < n; i++) {
        char *end;
        long value = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : -1;
        if (value < 0 || value > s->model.n_layers || *end != (i < n - 1 ? ',' : 0))
            return err_set(e, ERR_USAGE,
                           "--layers wants %d number%s from 0 to %d with commas between, the "
                           "head's last; '%s' is something else",
                           n, n == 1 ? "" : "s", s->model.n_layers, text);
        s->ask.layers[i] = (int)value;
        at = end + 1;
    }
    s->ask.layers_given = true;
    return 0;
}

void plan_setting_objective(const struct options *o, double *latency, double *first,
                            double *throughput)
{
    enum { ANSWER, LATENCY, FIRST, THROUGHPUT };
    const double answer_tokens = 256; // a prompt's first token counts as much as one of so many
    int objective = options_enum(o, OPT_OBJECTIVE);
    *latency = objective == ANSWER || objective == LATENCY;
    *first = objective == FIRST ? 1 : objective == ANSWER ? 1 / answer_tokens : 0;
    *throughput = objective == THROUGHPUT;
}

static int read_question(struct plan_setting *s, const struct options *o, struct err *e)
{
    const char *layers = options_text(o, OPT_PLAN_LAYERS);
    const int users = (int)options_int(o, OPT_USERS);
    struct plan_ask *a = &s->ask;
    const int prompt = (int)options_int(o, OPT_PROMPT_TOKENS), one = a->context / users;
    if (prompt > one && options_given(o, OPT_PROMPT_TOKENS))
        return err_set(e, ERR_USAGE,
                       "a prompt of %d tokens does not fit a context of %d; give a larger --ctx",
                       prompt, one);
    a->prompt = prompt < one ? prompt : one;
    a->users = users;
    a->rounds = (int)options_int(o, OPT_PLAN_ROUNDS);
    plan_setting_objective(o, &a->latency, &a->first, &a->throughput);
    if (layers && options_text(o, OPT_APPLY))
        return err_set(e, ERR_USAGE, "--apply has the layers already; give it or --layers");
    if (layers && options_text(o, OPT_WHAT_IF))
        return err_set(e, ERR_USAGE,
                       "--what-if looks for the best layers of more machines; leave out --layers");
    return layers ? read_layers(s, layers, e) : 0;
}

int plan_setting_read(struct plan_setting *s, const struct options *o, struct err *e)
{
    struct gguf *g = NULL;
    struct model *m = NULL;
    const char *file = options_text(o, OPT_CLUSTER);
    memset(s, 0, sizeof *s);
    int rc = file ? device_read_cluster(&s->cluster, s->network, file, e) : 0; // wrong at once
    if (!rc)
        rc = open_model(&g, &m, o, e);
    if (!rc)
        rc = take_model(s, m, o, e);
    if (!rc && !file)
        rc = measure_here(s, m, o, e);
    if (!rc && options_flag(o, OPT_NO_GPU))
        forget_gpus(&s->cluster);
    if (!rc)
        rc = read_question(s, o, e);
    model_free(m);
    gguf_free(g);
    return rc;
}
