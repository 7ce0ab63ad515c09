// Numbers from elsewhere: whether a plan can be made from them, and what lies between those that
// were measured.
#include "plan/profile.h"

#include <math.h>

static bool is_rate(double x)
{
    return isfinite(x) && x > 0;
}

static bool is_amount(double x)
{
    return isfinite(x) && x >= 0;
}

// ---- machines ----------------------------------------------------------------------------------

static int refuse(struct err *e, const char *name, const char *what, double value, const char *how)
{
    return err_set(e, ERR_USAGE, "%.*s: %s cannot be %g; %s", PLAN_NAME - 1, name, what, value,
                   how);
}

static int check_speed(const struct plan_speed *s, const char *name, const char *what,
                       struct err *e)
{
    bool any = false;
    for (int f = 0; f < PLAN_FORMS; f++)
        for (int t = 0; t < PLAN_TYPES; t++)
            for (int w = 0; w < PLAN_WIDTHS; w++) {
                double x = s->product[f][t][w];
                if (!is_amount(x))
                    return err_set(e, ERR_USAGE,
                                   "%.*s: the time of weight type %d on its %s cannot be %g; it "
                                   "is a positive number of seconds for a byte",
                                   PLAN_NAME - 1, name, t, what, x);
                any = any || x > 0;
            }
    if (!any)
        return err_set(e, ERR_USAGE,
                       "%.*s: nothing says how fast its %s is; give the time of one weight type "
                       "at least",
                       PLAN_NAME - 1, name, what);
    const double others[] = {s->layer, s->token, s->attend, s->launch};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!is_amount(others[i]))
            return refuse(e, name, "a time", others[i], "times are seconds, 0 or more");
    return 0;
}

static int check_group(const struct plan_machine *m, const char *what, int group,
                       const double *rates, struct err *e)
{
    if (group < -1 || group >= PLAN_GROUPS)
        return err_set(e, ERR_USAGE, "%.*s: %s %d is impossible; groups are 0 to %d, -1 is none",
                       PLAN_NAME - 1, m->name, what, group, PLAN_GROUPS - 1);
    if (group >= 0 && rates && !is_rate(rates[group]))
        return refuse(e, m->name, "the rate of what it shares with others", rates[group],
                      "give the bytes a second that they get together");
    return 0;
}

static int check_machine(const struct plan_cluster *c, const struct plan_machine *m, struct err *e)
{
    int rc = check_speed(&m->cpu, m->name, "processor", e);
    if (!rc && m->vram)
        rc = check_speed(&m->gpu, m->name, "GPU", e);
    if (!rc && m->vram && !is_rate(m->copy))
        rc = refuse(e, m->name, "the rate of copies to its GPU", m->copy,
                    "give bytes a second, as memory that counts is on a GPU");
    if (!rc && !is_amount(m->disk))
        rc = refuse(e, m->name, "the rate of its disk", m->disk,
                    "give bytes a second, or 0 where nothing is to be read while computing");
    if (!rc)
        rc = check_group(m, "disk group", m->disk_group, c->disk_rates, e);
    if (!rc)
        rc = check_group(m, "network group", m->net_group, c->net_rates, e);
    return rc ? rc : check_group(m, "group of processors", m->core_group, NULL, e);
}

int profile_check(const struct plan_cluster *c, struct err *e)
{
    if (c->n < 1 || c->n > PLAN_MAX_NODES)
        return err_set(e, ERR_USAGE, "a plan for %d machines is impossible; give 1 to %d", c->n,
                       PLAN_MAX_NODES);
    for (int i = 0; i < c->n; i++) {
        int rc = check_machine(c, &c->machines[i], e);
        if (rc)
            return rc;
        for (int j = 0; j < c->n; j++) {
            const struct plan_link *l = &c->links[i][j];
            if (i == j || (is_amount(l->latency) && is_rate(l->rate)))
                continue;
            return err_set(e, ERR_USAGE,
                           "the way from %.*s to %.*s cannot have a latency of %g s and %g "
                           "bytes a second; give a latency of 0 or more and a rate above 0",
                           PLAN_NAME - 1, c->machines[i].name, PLAN_NAME - 1, c->machines[j].name,
                           l->latency, l->rate);
        }
    }
    return 0;
}

// ---- models ------------------------------------------------------------------------------------

static int check_layer(const struct plan_layer *l, const char *what, int number, struct err *e)
{
    if (l->n_stacks < 0 || l->n_stacks > PLAN_STACKS || l->window < 0)
        return err_set(e, ERR_FAILED, "%s %d has %d kinds of weights; 0 to %d can be planned", what,
                       number, l->n_stacks, PLAN_STACKS);
    if (l->bytes >> 50 || l->kv_bytes >> 50)
        return err_set(e, ERR_FAILED,
                       "%s %d has %.3g bytes of weights and %.3g of cache for a position; no plan "
                       "can be made for more than 2^50",
                       what, number, (double)l->bytes, (double)l->kv_bytes);
    uint64_t sum = 0;
    for (int i = 0; i < l->n_stacks; i++) {
        const struct plan_stack *s = &l->stacks[i];
        if (s->type >= PLAN_TYPES)
            return err_set(e, ERR_FAILED, "%s %d: weight type %u is not known", what, number,
                           (unsigned)s->type);
        if (s->n_experts < 0 || s->n_used < 0 || s->n_used > s->n_experts)
            return err_set(e, ERR_FAILED, "%s %d: %d experts of %d cannot be used", what, number,
                           s->n_used, s->n_experts);
        if (s->bytes > l->bytes - sum)
            return err_set(e, ERR_FAILED,
                           "%s %d: its kinds of weights have more bytes than all together", what,
                           number);
        sum += s->bytes;
    }
    return 0;
}

int profile_check_model(const struct plan_model *m, struct err *e)
{
    if (m->n_layers < 1 || m->n_layers > PLAN_MAX_LAYERS)
        return err_set(e, ERR_FAILED, "a plan for %d layers is impossible; give 1 to %d",
                       m->n_layers, PLAN_MAX_LAYERS);
    if (!m->width)
        return err_set(e, ERR_FAILED, "the model has no width; give the floats of a hidden state");
    for (int i = 0; i < m->n_layers; i++) {
        int rc = check_layer(&m->layers[i], "layer", i, e);
        if (rc)
            return rc;
    }
    return check_layer(&m->output, "the output after layer", m->n_layers - 1, e);
}

// ---- between what was measured -----------------------------------------------------------------

// Of the narrowest pass that was measured; 0: none was.
static double measured(const double *times)
{
    for (int w = 0; w < PLAN_WIDTHS; w++)
        if (times[w] > 0)
            return times[w];
    return 0;
}

// Times of the type in this form or else the other; else of the type that takes longest.
static const double *times_of(const struct plan_speed *s, enum plan_form form, uint32_t type)
{
    const enum plan_form other = form == PLAN_ROWS ? PLAN_LANES : PLAN_ROWS;
    if (type < PLAN_TYPES && measured(s->product[form][type]) > 0)
        return s->product[form][type];
    if (type < PLAN_TYPES && measured(s->product[other][type]) > 0)
        return s->product[other][type];
    const double *slowest = s->product[form][0];
    for (int f = 0; f < PLAN_FORMS; f++)
        for (int t = 0; t < PLAN_TYPES; t++)
            if (measured(s->product[f][t]) > measured(slowest))
                slowest = s->product[f][t];
    return slowest;
}

double profile_product(const struct plan_speed *s, enum plan_form form, uint32_t type,
                       double tokens)
{
    const double *times = times_of(s, form, type);
    double low = 0, low_n = 0;
    for (int w = 0; w < PLAN_WIDTHS; w++) {
        double n = plan_widths[w];
        if (!(times[w] > 0))
            continue;
        if (tokens <= n) // below the first that was measured nothing is quicker
            return low_n > 0 ? low + (times[w] - low) * (tokens - low_n) / (n - low_n) : times[w];
        low = times[w];
        low_n = n;
    }
    return low_n > 0 ? low * tokens / low_n : 0;
}
