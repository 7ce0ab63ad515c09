// Other plans beside a plan: what another choice, or another machine, would bring.
#pragma once

#include "app/plan_setting.h"

#include <jansson.h>

enum { PLAN_CASES = 2 * PLAN_MAX_NODES + 8, PLAN_CASE_TITLE = 96, PLAN_CASE_LAYERS = 104 };

struct plan_case {
    char title[PLAN_CASE_TITLE];
    bool possible;
    double tpot, ttft, throughput; // ttft 0: not known
    int rounds;
    char layers[PLAN_CASE_LAYERS];
    struct err why; // not possible
};

struct plan_cases {
    int n;
    struct plan_case list[PLAN_CASES];
};

// The plan that s->ask asks for, of any cluster: the best, or with given layers that one.
int plan_case_make(struct plan *out, const struct plan_cluster *c, const struct plan_setting *s,
                   const struct plan_ask *a, struct err *e);
void plan_case_add(struct plan_cases *l, const char *title, const struct plan *p,
                   const struct plan_cluster *c, int rc, const struct err *why);

// Beside `p`: one round, without each machine, with those left out, the head alone, an even split.
void plan_cases_compare(struct plan_cases *l, const struct plan *p, const struct plan_cluster *c,
                        const struct plan_setting *s);
// Now, with each of the devices ("pi5-8gb,n100-16gb"), and with all. Those that are joined are in
// s->cluster then.
int plan_cases_what_if(struct plan_cases *l, struct plan_setting *s, const char *devices,
                       struct err *e);

// Times relative to the first case that is possible.
void plan_cases_print(const struct plan_cases *l, const struct plan_setting *s);
json_t *plan_cases_json(const struct plan_cases *l);
