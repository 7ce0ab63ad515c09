// The inside of the planner: what it looks at again and again, and the steps of its search.
//
//     tables    what layers cost every machine, hops           solve_tables.c
//     share     a node's layers: which of them on its GPU      solve_share.c
//     ring      a distribution: its period, its prediction     solve_ring.c, solve_flow.c,
//                                                              solve_predict.c
//     split     the best layer counts for k rounds, an order
//               of machines and a bound on the period          solve_split.c
//     search    over rounds, orders and bounds                 solve_search.c, solve_order.c
//
// Given k and a bound D on the period, what a node costs depends on its own layers only, so a
// dynamic programme over the machines finds the best counts: exact where layers are alike, and for
// k = 1 with the real bytes of every layer. D is the smallest with which the sum of the nodes fits.
// Rings that are good by the formulas of plan.h are then foretold with rounds that differ
// (solve_flow.c), and the best of them is taken, unless a->exact asks for the formulas alone.
// Where the programme is not exact (unlike layers in several rounds, disks that several machines
// share, other objectives than latency), its results are starting points: moves of single layers
// are tried with the real bytes, and small problems are searched through. A GPU gets a number of
// layers, the first of each window: as many as fit where it is faster, which is best for layers
// that are alike, and good where they differ.
#pragma once

#include "plan/cost.h"

enum {
    SOLVE_CHUNKS = 6,   // sizes of a prompt's chunk that are weighed
    SOLVE_TOGETHER = 8, // chunks that go round together when there are several rounds
};

struct solve_limits {
    int rounds;
    int order[PLAN_MAX_NODES]; // machines, the head last
    double bound, headroom;
    double price[PLAN_MAX_NODES]; // of machines: seconds for a byte that it streams
    bool needed[PLAN_MAX_NODES];  // gets a layer at least
    int most[PLAN_MAX_NODES];     // layers that it may get; none: it is left out
};

struct solve {
    const struct plan_cluster *c;
    const struct plan_model *m;
    struct plan_ask a; // with defaults; a.chunk stays 0 where it is free
    int n, n_layers;
    bool placed;            // which layers a machine gets matters, not only how many
    bool by_place;          // and one round is planned with the real layers of every window
    bool equal_hops;        // of one token, between any two
    bool grouped;           // a disk group has several members
    struct cost_sums *sums; // (n, n_layers + 1): of layers [0, i)
    struct cost_sums output;
    // Sizes of a prompt's chunk, and tokens of each when the prompt is cut evenly.
    int n_chunks, chunks[SOLVE_CHUNKS], tokens[SOLVE_CHUNKS];
    struct cost_sums *chunk_sums; // (n_chunks, n, n_layers + 1)
    uint16_t *held;               // (n, n_layers + 1): layers of [0, i) that its file has
    double hops[PLAN_MAX_NODES][PLAN_MAX_NODES];
    double *room;              // of solve_split
    struct solve_limits costs; // those that the room has costs for
    // Share of a period that disks may be busy; the search lowers it for rings that stand rounds
    // that differ.
    double headroom;
};

int solve_open(struct solve *s, const struct plan_cluster *c, const struct plan_model *m,
               const struct plan_ask *a, struct err *e);
void solve_close(struct solve *s);
const struct cost_sums *solve_sums(const struct solve *s, int machine); // (n_layers + 1)
const struct cost_sums *solve_chunk_sums(const struct solve *s, int chunk, int machine);

// ---- a node ------------------------------------------------------------------------------------

// Layers of a machine: those of its windows, or so many of the mean when there are none.
struct solve_part {
    int machine, layers, rounds;
    bool windows;
    uint16_t lo[PLAN_MAX_ROUNDS], hi[PLAN_MAX_ROUNDS];
    bool summed;             // what follows is there
    struct cost_share plain; // the share without a GPU, of one token
    int most_on_gpu;
};

// `gpu_layers` of the part on the GPU, with sums of that chunk size; -1: of one token only.
void solve_share(struct cost_share *out, const struct solve *s, const struct solve_part *p,
                 int gpu_layers, int chunk);
// How many layers of the part its GPU has room for.
int solve_most_on_gpu(const struct solve *s, const struct solve_part *p);
// The cheapest way to run the part: seconds of its own and price x streamed bytes, its disk not
// busy beyond the bound. INFINITY: it cannot.
double solve_node(struct plan_node *out, const struct solve *s, const struct solve_part *p,
                  double bound, double price);

// ---- a ring ------------------------------------------------------------------------------------

struct solve_ring {
    int n, rounds; // in the ring's order, the head last
    int at[PLAN_MAX_NODES], layers[PLAN_MAX_NODES];
};

// By the formulas of plan.h. Whether a token takes no longer than `bound`.
bool solve_keeps(const struct solve *s, const struct solve_ring *r, double bound);
// The period; INFINITY: some node has no room. nodes (n) may be NULL.
double solve_period(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes);
// The period of nodes with the slots that they have when tokens are followed through the rounds;
// sets their `wait` (solve_flow.c).
double solve_flow(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes);
// Seconds of a prompt in chunks, so many of which go round together; slots are full when it comes.
double solve_flow_prompt(const struct solve *s, const struct solve_ring *r,
                         const struct plan_node *nodes, const struct window_table *t, int chunk,
                         int chunks, int together);
// Seconds for each token when all users' tokens follow each other.
double solve_flow_users(const struct solve *s, const struct solve_ring *r,
                        const struct plan_node *nodes, const struct window_table *t);
// What is foretold: the formulas' period when a->exact, else with rounds that differ, and the slots
// that are best for them.
double solve_time(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes);
// Everything that a plan says. Returns the objective, INFINITY as above.
double solve_foretell(struct plan *out, const struct solve *s, const struct solve_ring *r);
struct solve_part solve_part_of(const struct solve *s, const struct solve_ring *r,
                                const struct window_table *t, int node);

// ---- counts ------------------------------------------------------------------------------------

// Costs for `rounds`, bound, prices and the most layers, unless they are there from the last time;
// solve_split uses them for any order.
void solve_costs(struct solve *s, const struct solve_limits *l);
// The least sum over nodes, with its counts in `out`; INFINITY: there is none.
double solve_split(struct solve *s, const struct solve_limits *l, struct solve_ring *out);

// ---- search ------------------------------------------------------------------------------------

struct solve_task {
    bool needed[PLAN_MAX_NODES];
    int most[PLAN_MAX_NODES];
    int min_rounds, max_rounds;
    double gain; // what more rounds, or another order, must save at least: a share of the period
};

// The best ring, its period in *t, which is at first what must be beaten (INFINITY). False: none.
bool solve_search(struct solve *s, const struct solve_task *task, struct solve_ring *best,
                  double *t);

// Whether there are at most so many distributions, times orders and rounds.
bool solve_is_little(const struct solve *s, const struct solve_task *task, int n_orders,
                     double most);
// `by` layers from machine order[i] to order[j], either of which may have none before or after.
// False: that may not be.
bool solve_move(struct solve_ring *out, const struct solve *s, const struct solve_ring *r,
                const struct solve_limits *l, int i, int j, int by);
// The ring whose objective is best when that is not the latency alone.
bool solve_weigh(struct solve *s, const struct solve_task *task, struct solve_ring *best);

enum { SOLVE_ORDERS = 24, SOLVE_FEW = 5 }; // SOLVE_FEW machines have no more orders
// Orders that are worth trying, the listed one first. `present`: machines of the best ring so far,
// or NULL at first.
int solve_orders(const struct solve *s, const struct solve_ring *present,
                 int orders[SOLVE_ORDERS][PLAN_MAX_NODES]);
// The ring's order, machines that it leaves out before the head. order (n of all)
void solve_order_of(const struct solve *s, const struct solve_ring *r, int *order);
