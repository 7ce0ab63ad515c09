// Plans side by side: see plan_cases.h.
#include "app/plan_cases.h"

#include "app/devices.h"
#include "app/plan_page.h"
#include "app/sheet.h"
#include "plan/json_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int most_devices = 8; // that --what-if takes

int plan_case_make(struct plan *out, const struct plan_cluster *c, const struct plan_setting *s,
                   const struct plan_ask *a, struct err *e)
{
    struct plan_ask ask = *a;
    memset(out, 0, sizeof *out);
    if (!ask.layers_given)
        return plan_make(out, c, &s->model, &ask, e);
    ask.rounds = ask.rounds ? ask.rounds : 1;
    return plan_predict(out, c, &s->model, &ask, e);
}

static struct plan_case *add(struct plan_cases *l, const char *title)
{
    if (l->n == PLAN_CASES)
        return NULL;
    struct plan_case *one = &l->list[l->n++];
    *one = (struct plan_case){0};
    snprintf(one->title, sizeof one->title, "%s", title);
    return one;
}

void plan_case_add(struct plan_cases *l, const char *title, const struct plan *p,
                   const struct plan_cluster *c, int rc, const struct err *why)
{
    struct plan_case *one = add(l, title);
    if (!one)
        return;
    one->possible = !rc;
    if (rc) {
        one->why = *why;
        return;
    }
    one->tpot = p->tpot;
    one->ttft = p->ttft;
    one->throughput = p->throughput;
    one->rounds = p->table.n_rounds;
    plan_page_layers(one->layers, sizeof one->layers, p, c);
}

// ---- other choices -----------------------------------------------------------------------------

struct scratch { // too large for the stack
    struct plan plan;
    struct plan_cluster cluster;
};

static void try_case(struct plan_cases *l, const char *title, struct scratch *t,
                     const struct plan_setting *s, const struct plan_ask *a)
{
    struct err why = {0};
    int rc = plan_case_make(&t->plan, &t->cluster, s, a, &why);
    plan_case_add(l, title, &t->plan, &t->cluster, rc, &why);
}

static void compare_absent(struct plan_cases *l, const struct plan *p, const struct plan_cluster *c)
{
    char title[PLAN_CASE_TITLE];
    for (int i = 0; i < p->n_absent; i++) {
        const struct plan_absent *a = &p->absent[i];
        snprintf(title, sizeof title, "with %s too", c->machines[a->machine].name);
        struct plan_case *one = add(l, title);
        if (!one)
            return;
        one->possible = a->possible;
        one->tpot = a->tpot;
        err_set(&one->why, ERR_NO_MEMORY, "it has no room for a single layer");
    }
}

// Whether the machine with the most layers had better be the head.
static void compare_head(struct plan_cases *l, struct scratch *t, const struct plan *p,
                         const struct plan_cluster *c, const struct plan_setting *s,
                         const struct plan_ask *a)
{
    char title[PLAN_CASE_TITLE];
    int at[PLAN_MAX_NODES], n = 0, most = 0;
    for (int i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].layers > p->nodes[most].layers)
            most = i;
    const int head = p->nodes[most].machine;
    if (head == c->n - 1)
        return;
    for (int i = 0; i < c->n; i++)
        if (i != head)
            at[n++] = i;
    at[n++] = head;
    snprintf(title, sizeof title, "%s as the head", c->machines[head].name);
    profile_pick(&t->cluster, c, at, n);
    try_case(l, title, t, s, a);
}

void plan_cases_compare(struct plan_cases *l, const struct plan *p, const struct plan_cluster *c,
                        const struct plan_setting *s)
{
    char title[PLAN_CASE_TITLE];
    const int head = c->n - 1;
    struct scratch *t = malloc(sizeof *t);
    if (!t)
        return;
    plan_case_add(l, "this plan", p, c, 0, NULL);
    struct plan_ask a = s->ask;
    a.layers_given = false;
    t->cluster = *c;
    if (s->ask.layers_given)
        try_case(l, "the best plan", t, s, &a);
    if (p->table.n_rounds > 1) {
        struct plan_ask once = a;
        once.rounds = 1;
        try_case(l, "one round", t, s, &once);
    }
    for (int i = 0; i < p->n_nodes - 1; i++) {
        snprintf(title, sizeof title, "without %s", c->machines[p->nodes[i].machine].name);
        profile_without(&t->cluster, c, p->nodes[i].machine);
        try_case(l, title, t, s, &a);
    }
    compare_absent(l, p, c);
    if (p->n_nodes > 1) {
        snprintf(title, sizeof title, "%s alone", c->machines[head].name);
        profile_pick(&t->cluster, c, &head, 1);
        try_case(l, title, t, s, &a);
    }
    compare_head(l, t, p, c, s, &a);
    if (c->n > 1) {
        struct plan_ask even = a;
        even.layers_given = true;
        even.rounds = 1;
        windows_even(s->model.n_layers, c->n, even.layers);
        t->cluster = *c;
        try_case(l, "as many layers for all", t, s, &even);
    }
    free(t);
}

// ---- other machines ----------------------------------------------------------------------------

static int open_devices(struct profile_device *out, int *n, const char *text, struct err *e)
{
    char name[256];
    for (*n = 0; *text; text += *text == ',') {
        size_t length = strcspn(text, ",");
        if (!length || length >= sizeof name)
            return err_set(e, ERR_USAGE,
                           "--what-if wants names with commas between; one is empty "
                           "or very long");
        if (*n == most_devices)
            return err_set(e, ERR_USAGE,
                           "--what-if takes %d machines at most; describe more in a "
                           "file for --cluster",
                           most_devices);
        snprintf(name, sizeof name, "%.*s", (int)length, text);
        int rc = device_open(&out[(*n)++], name, e);
        if (rc)
            return rc;
        text += length;
    }
    return 0;
}

static void title_all(char *out, size_t size, const struct profile_device *d, int n)
{
    size_t used = (size_t)snprintf(out, size, "with ");
    for (int i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", d[i].machine.name);
}

static int join_and_try(struct plan_cases *l, struct plan_setting *s, struct plan_setting *t,
                        const struct profile_device *d, int n, struct err *e)
{
    char title[PLAN_CASE_TITLE];
    struct plan *p = malloc(sizeof *p);
    struct err why = {0};
    int rc = p ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    *t = *s;
    for (int i = 0; i < n && !rc; i++)
        rc = profile_join(&t->cluster, t->network, &d[i], e);
    if (!rc) {
        int failed = plan_case_make(p, &t->cluster, t, &t->ask, &why);
        title_all(title, sizeof title, d, n);
        plan_case_add(l, n ? title : "as it is", p, &t->cluster, failed, &why);
    }
    free(p);
    return rc;
}

int plan_cases_what_if(struct plan_cases *l, struct plan_setting *s, const char *devices,
                       struct err *e)
{
    struct profile_device *d = calloc((size_t)most_devices, sizeof *d);
    struct plan_setting *t = malloc(sizeof *t);
    int n = 0, rc = d && t ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    if (!rc)
        rc = open_devices(d, &n, devices, e);
    if (!rc)
        rc = join_and_try(l, s, t, NULL, 0, e);
    for (int i = 0; i < n && n > 1 && !rc; i++)
        rc = join_and_try(l, s, t, &d[i], 1, e);
    if (!rc)
        rc = join_and_try(l, s, t, d, n, e);
    if (!rc)
        *s = *t;
    free(t);
    free(d);
    return rc;
}

// ---- telling -----------------------------------------------------------------------------------

static const struct plan_case *first_possible(const struct plan_cases *l)
{
    for (int i = 0; i < l->n; i++)
        if (l->list[i].possible)
            return &l->list[i];
    return NULL;
}

static void add_case(struct sheet *s, const struct plan_case *one, const struct plan_case *first,
                     bool users)
{
    char time[PLAN_TIME_TEXT];
    sheet_add(s, "%s", one->title);
    if (!one->possible) {
        for (int i = 0; i < 5; i++)
            sheet_add(s, "%s", i ? "" : "-");
        // What to do about it is for those who want it.
        sheet_add(s, "%.*s", (int)strcspn(one->why.text, ";"), one->why.text);
        return;
    }
    plan_page_time(time, one->tpot);
    sheet_add(s, "%s", time);
    if (one == first)
        sheet_add(s, "%s", "");
    else
        sheet_add(s, "%+.0f %%", (one->tpot / first->tpot - 1) * 100);
    plan_page_time(time, one->ttft);
    sheet_add(s, "%s", one->ttft > 0 ? time : "");
    if (users && one->throughput > 0)
        sheet_add(s, "%.1f", one->throughput);
    else
        sheet_add(s, "%s", "");
    if (one->rounds)
        sheet_add(s, "%d", one->rounds);
    else
        sheet_add(s, "%s", "");
    sheet_add(s, "%s", one->layers);
}

void plan_cases_print(const struct plan_cases *l, const struct plan_setting *s)
{
    static const char *const titles[] = {"",         "a token", "",      "first token",
                                         "tokens/s", "rounds",  "layers"};
    static const bool right[] = {false, true, true, true, true, true, false};
    const struct plan_case *first = first_possible(l);
    struct sheet t;
    sheet_init(&t, titles, right, sizeof right);
    for (int i = 0; i < l->n; i++)
        add_case(&t, &l->list[i], first, s->ask.users > 1);
    sheet_print_columns(&t);
    sheet_fini(&t);
}

json_t *plan_cases_json(const struct plan_cases *l)
{
    json_t *list = json_array();
    for (int i = 0; i < l->n; i++) {
        const struct plan_case *one = &l->list[i];
        json_t *j = json_pack("{s:s, s:b}", "what", one->title, "possible", (int)one->possible);
        if (one->possible) {
            json_object_set_new(j, "tpot_ms", fields_make_number(one->tpot * 1e3));
            json_object_set_new(j, "ttft_ms",
                                one->ttft > 0 ? fields_make_number(one->ttft * 1e3) : json_null());
            json_object_set_new(j, "rounds", json_integer(one->rounds));
            json_object_set_new(j, "layers", json_string(one->layers));
        } else
            json_object_set_new(j, "why", json_string(one->why.text));
        json_array_append_new(list, j);
    }
    return list;
}
