// What `rondo plan` plans with: a model, machines and the question, from the command line.
#pragma once

#include "app/options.h"
#include "plan/plan_json.h"
#include "plan/profile_pick.h"

struct plan_setting {
    struct plan_cluster cluster;
    struct plan_link network[PLAN_MAX_NODES];
    struct plan_model model;
    struct plan_ask ask;
    bool measured; // the cluster is this machine, as measured
    bool no_disk;  // of this machine: the model is none of its files
};

// The verb takes the options of rondo plan. A large struct: heap or static.
int plan_setting_read(struct plan_setting *s, const struct options *o, struct err *e);
// What --objective wants, as weights of struct plan_ask.
void plan_setting_objective(const struct options *o, double *latency, double *first,
                            double *throughput);
// Machines of a layer map that somebody gives: the cluster in the order of the plan's nodes.
int plan_setting_order(struct plan_cluster *out, const struct plan_cluster *c,
                       const struct plan_order *order, const char *file, struct err *e);
