// What the tests of mixtures of experts share: a device with weights in memory, which count what is
// asked of them and can be made to fail, and a router's choice by plain loops.
#pragma once

#include "backend/backend.h"
#include "base/rng.h"

enum { RIG_ROWS = 70, RIG_WIDTH = 4096, RIG_EXPERTS = 40, RIG_USED = 8, RIG_PIECES = 200 };
enum { RIG_THREADS = 4 };
extern const int expert_rig_threads[RIG_THREADS]; // numbers of threads to be tried

struct expert_rig {
    struct backend *b;
    struct list *l;
    struct rng rng;
    uint8_t *pieces[RIG_PIECES];
    enum layout layouts[RIG_PIECES];
    int held[RIG_PIECES], times[RIG_PIECES]; // acquired and not returned; acquired at all
    int n_pieces, n_acquired;
    int fails_at; // the n-th acquire fails; -1: none

    // Where few pieces of experts may be held at a time; 0: any number, and nobody asks.
    int at_once, n_held, most_held, n_wanted;
    bool expert[RIG_PIECES], wanted[RIG_PIECES]; // is one's; was announced and not acquired yet
    int left;     // that will be acquired or are held; set by who looks at n_behind
    int n_behind; // times that a wave was given back and less was on its way than there is room for
    bool computed; // with what is held
};

void expert_rig_open(struct expert_rig *t, int n_threads);
// So few pieces of experts may be held at a time, or be announced, which all have to be: whatever
// lists do beyond that fails the test.
void expert_rig_open_limited(struct expert_rig *t, int n_threads, int at_once);
void expert_rig_close(struct expert_rig *t);
// Runs the list and checks that every piece was given back.
void expert_rig_run(struct expert_rig *t);

float *expert_rig_numbers(struct expert_rig *t, size_t n); // in [-1, 1); to be freed
void *expert_rig_zeros(size_t n, size_t size);             // to be freed
void expert_rig_near(float got, double want, double limit);
struct buf *expert_rig_buf(struct expert_rig *t, const void *data, size_t size); // NULL: zeros
struct routing expert_rig_routing(struct expert_rig *t, int n, int n_experts, int n_used);
void expert_rig_routing_free(struct routing *r);

// n_experts random matrices in pieces that follow each other; `exact` (n_experts, n_out, n_in) is
// what they decode to. Those whose number has a bit in `lanes` lie in lane form.
struct weight expert_rig_experts(struct expert_rig *t, uint32_t type, int n_in, int n_out,
                                 int n_experts, uint64_t lanes, float *exact);
// Rows of floats as a piece.
struct weight expert_rig_vector(struct expert_rig *t, const float *values, int width, int n_rows);

struct plain_choice {
    struct route_how how;
    int n_experts, n_used;
    bool bias;
};
// One row's experts, in order, and their weights, in double precision.
void plain_route(const struct plain_choice *c, const float *logits, const float *bias, int *ids,
                 double *weights);
