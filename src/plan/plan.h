// The planner: who runs which layers, in how many rounds, resident or streamed, and what it costs.
//
// A plan is a steady state. One token of one user visits the nodes one after the other, k times:
//
//     own_m = sum over its windows w of max(compute_w, (S_w - B_m) / disk_m)
//     T     = max( sum own_m + k * sum hops,  S_m / disk_m,  group: sum S / rate )
//
// Slots of B_m bytes displace as many resident ones; so S_m, what memory has no room for and B_m
// more, are read for each token, ahead of use as far as the slots go, while others compute: a
// window finds them full and reads the rest of its S_w. Windows of a node differ by a layer, and
// the head's last one has the output too, which matters where a node has few layers. A machine
// without layers is not in the ring and costs no hop. Experts that a token uses are resident with
// the share of all that memory has room for; the others are waited for: own_m grows by their bytes
// over the rate of the disk.
//
// plan_make finds the best of all layer counts, k, B and GPU shares for this model (solve.h says
// for what it is exact); plan_predict says what a given distribution costs; tests/plan compares
// both with an event simulation (simulate.h), brute force and a solver of linear programs.
#pragma once

#include "plan/profile.h"

enum { PLAN_CHUNK = 64 };

// What the plan is for. Objective: latency * TPOT + first * TTFT + throughput * (seconds per token
// of all users together); all zero means latency only.
struct plan_ask {
    int context;   // positions that the caches of all sessions have room for, together
    int positions; // that a token sees while it is predicted; 0: half of the context
    int prompt;    // tokens of the prompt that TTFT is predicted for; 0: 256
    int users;     // answers at the same time, for throughput; 0: 1
    double latency, first, throughput;
    double kv_scale; // bytes of the cache relative to plan_layer.kv_bytes, which are F16; 0: 1
    int activation;  // bytes of one number on the wire; 0: 4
    int max_rounds;  // 0: PLAN_MAX_ROUNDS; the number of layers limits it too
    int rounds;      // exactly so many; 0: the best
    int chunk;       // tokens of a chunk of a prompt; 0: plan_make chooses, others take PLAN_CHUNK
    bool all_machines; // every machine gets a layer at least
    bool fixed_order;  // as the cluster lists them
    // The best by the formulas above, to the last digit. Else what rounds that differ cost is
    // foretold too, and of plans within 1 % one has fewer rounds and machines, so that noise in the
    // profile does not change it.
    bool exact;
    // Layers in all of each machine of the cluster: only these, plan_predict needs them.
    bool layers_given;
    int layers[PLAN_MAX_NODES];
    struct layer_set has[PLAN_MAX_NODES]; // of each machine, when has_given: layers of its file
    bool has_given;
};

struct plan_node {
    int machine;    // index into the cluster
    int layers;     // in all rounds
    int gpu_layers; // of these
    // Bytes.
    uint64_t weights; // of its layers, and on the head of the output matrix
    // In RAM; streamed: read for each token, of which `demand` are experts that are known too late
    // to be read ahead.
    uint64_t resident, streamed, demand, slots;
    uint64_t vram, cache, computing, memory; // cache: KV in RAM; memory: all of RAM
    // Seconds of a token, all rounds together.
    double compute, disk, wait, hop; // disk: that its disk is busy; wait: for it; hop: to this node
    double stage;                    // of one chunk of the prompt
};

struct plan_absent { // a machine that is left out
    int machine;
    bool possible; // it could run one layer at least
    double tpot;   // of the best plan with it, seconds
};

// What bounds the period: a disk that is busy all the time or nearly, else nodes in turn.
enum plan_bound { PLAN_BOUND_SERIAL, PLAN_BOUND_DISK, PLAN_BOUND_DISK_GROUP };

struct plan {
    int n_nodes; // in the ring's order, the head last
    struct plan_node nodes[PLAN_MAX_NODES];
    struct window_table table;
    double tpot, ttft; // seconds, of one user
    double throughput; // tokens a second of all users
    int chunk;         // tokens of a prompt's chunk
    enum plan_bound bound;
    int bound_at; // node, or group, whose disk it is
    int n_absent;
    struct plan_absent absent[PLAN_MAX_NODES];
};

// The best plan. ERR_NO_MEMORY: no distribution has room; the sentence says how much is missing.
int plan_make(struct plan *out, const struct plan_cluster *c, const struct plan_model *m,
              const struct plan_ask *a, struct err *e);
// What a->layers with a->rounds cost, in the cluster's order; machines with 0 layers are left out,
// but the head, which is always there. `absent` stays empty.
int plan_predict(struct plan *out, const struct plan_cluster *c, const struct plan_model *m,
                 const struct plan_ask *a, struct err *e);
