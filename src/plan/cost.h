// What layers cost a machine: the one place where the formulas of plan.h stand.
//
//     layer -> sums (seconds and bytes) -> sums of many -> node: memory, slots, reading, times
//
// Solver, prediction and brute force all add up sums and ask cost_node, so they cannot differ in
// what a distribution costs; the simulation (simulate.h) finds the time on its own.
#pragma once

#include "plan/plan.h"

// Of a layer on a machine, or of several.
struct cost_sums {
    double bytes;         // of weights
    double experts;       // of these, weights of experts: all of them,
    double used;          // those that a token uses,
    double used_by_chunk; // and those that a chunk's tokens use together
    double cache;         // of keys and values, for a->context positions
    double lanes;         // seconds of one token when the weights are resident,
    double rows;          // and when they are streamed
    double gpu;           // and on the machine's GPU; 0 without one
    double chunk[3]; // the same three of a chunk of a->chunk tokens in the middle of a->prompt;
                     // 0 of the output matrix, which one token of a prompt needs
};

// Of what is not said, what is meant: zeros become the values that plan.h names.
void cost_defaults(struct plan_ask *a);

// Layer `layer` on c->machines[machine]; m->n_layers: the head's output matrix, the tokens' rows of
// the embedding with it.
void cost_of_layer(struct cost_sums *out, const struct plan_cluster *c, int machine,
                   const struct plan_model *m, const struct plan_ask *a, int layer);
void cost_add(struct cost_sums *to, const struct cost_sums *s);

// What a node runs in all rounds, the head's output matrix among `cpu`.
struct cost_share {
    struct cost_sums cpu, gpu; // layers for the processor, and for the GPU
    int layers, gpu_layers;    // layers counts both
    bool head;
};

// The node's figures but for hop and stage. Slots are as small as hides reading behind computing:
// its own in windows and that of others, `bound` being the time of a token (INFINITY: not known),
// beyond which the disk must not be busy. ERR_NO_MEMORY: it cannot run that.
// own time of the node = compute + wait.
int cost_node(struct plan_node *out, const struct plan_cluster *c, int machine,
              const struct plan_model *m, const struct plan_ask *a, const struct cost_share *s,
              int rounds, double bound, struct err *e);
// With slots of so many bytes, at least m->slots_least where something is streamed.
int cost_node_with(struct plan_node *out, const struct plan_cluster *c, int machine,
                   const struct plan_model *m, const struct plan_ask *a, const struct cost_share *s,
                   int rounds, double slots, struct err *e);
enum { COST_SLOTS = 6 };
// Bytes of slots from m->slots_least to `most`, ascending, between which the node's own time
// changes linearly. Returns how many; 0: there is no choice.
int cost_slots(double slots[COST_SLOTS], const struct plan_cluster *c, int machine,
               const struct plan_model *m, const struct cost_share *s, int rounds, double most);
// Seconds that the node is busy with a chunk of a prompt when chunks follow each other: what is
// streamed is read once for as many chunks as its slots can share a reading among.
double cost_stage(const struct plan_node *n, const struct plan_cluster *c, const struct plan_ask *a,
                  const struct cost_share *s, int rounds, int chunks);
// What slots that hold a window for the chunks behind have room for: a share of all that is
// streamed ahead, a part's room in addition.
double cost_shared_window(int layers, int rounds);
// Bytes that it reads for a chunk then.
double cost_stage_bytes(const struct plan_node *n, const struct cost_share *s, int rounds,
                        int chunks);

// One token's hidden state (or `tokens` of them) from machine to machine.
double cost_hop(const struct plan_cluster *c, const struct plan_model *m, const struct plan_ask *a,
                int from, int to, int tokens);
