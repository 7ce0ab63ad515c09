// An event simulation of the ring: what a plan's token takes when every part of weights is read,
// waits for room, and is used on its own. It shares nothing with the formulas of plan.h but the
// seconds and bytes of single layers and hops, so that one checks the other (tests/plan).
//
// Resources, each of which does one thing after the other:
//     compute of a node   a window's layers in order; nodes of a core group share one processor
//     disk of a node      parts of streamed weights in the order of use, whenever a slot is free,
//                         over the ends of windows and tokens; experts that are known too late go
//                         first. Nodes of a disk group get equal shares of its rate.
//     way of a node       messages to the next node, one behind the other, each arriving `latency`
//                         after it has left; nodes of a net group share its rate
//
// Passes (chunks of a prompt, or tokens of several users) follow each other through the ring in
// groups: all through a window, then all through the next of the node. Streamed parts of a window
// that its slots can hold stay there until the last pass of the group has used them.
// The same input gives the same result. Memory is taken at the start.
#pragma once

#include "plan/plan.h"

enum simulate_kind { SIMULATE_COMPUTE, SIMULATE_WAIT, SIMULATE_READ, SIMULATE_HOP };

struct simulate_span { // of the token that was simulated last, from its beginning
    enum simulate_kind kind;
    int node, round;
    double begin, end;
};

struct simulate_options {
    int parts;  // that slots have room for; 0: 16, and of 4 MiB where slots are larger, up to 64
    int tokens; // at most, until one is like the other; 0: 400
    int group;  // passes of a prompt under way at a time when there are several rounds; 0: 8
    bool no_prompt, no_users;    // ttft or throughput are not wanted
    struct simulate_span *spans; // (max_spans)
    int max_spans;
};

struct simulate_node { // seconds of a token, all rounds
    double compute, wait, disk, hop;
    double read; // bytes
};

struct simulated {
    double tpot, ttft, throughput; // as in struct plan
    int tokens;                    // that were simulated
    bool steady;                   // false: options.tokens was too few to see it
    struct simulate_node nodes[PLAN_MAX_NODES];
    int n_spans;
};

// Of `p` only machines, bytes, the GPU's layers, the chunk and the table are looked at.
int simulate(struct simulated *out, const struct plan *p, const struct plan_cluster *c,
             const struct plan_model *m, const struct plan_ask *a, const struct simulate_options *o,
             struct err *e);
