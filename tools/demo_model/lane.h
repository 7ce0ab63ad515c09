// A lane: one thread's share of a step. Its tokens, everything the forward pass leaves for the
// backward pass, and its gradient. One thread at a time uses a lane.
#pragma once

#include "corpus.h"
#include "model.h"

enum { LANE_QUERY_BLOCK = 64 }; // queries attended at once; later keys are not computed

struct layer_state {
    float *input;    // residual stream before attention
    float *inverse1; // 1 / root mean square, per token
    float *normed1;
    float *qkv;
    float *scores; // attention weights, one square per document and head
    float *attended;
    float *middle; // residual stream before the feed-forward part
    float *inverse2;
    float *normed2;
    float *gate_up;
    float *hidden;
};

struct lane {
    const struct model *model;
    int room;  // tokens that fit
    int count; // tokens in use
    int documents;
    int *start; // documents + 1 entries
    uint16_t *tokens;
    uint16_t *targets;
    float *weight;
    double weight_sum;
    struct layer_state *layer;
    float *output; // residual stream after the last layer
    float *inverse;
    float *normed;
    float *logits;
    float *d_stream;
    float *d_dim;
    float *d_qkv;
    float *d_ffn;
    float *d_hidden;
    float *d_scores;
    float *gradient;
    const float *cosine; // rotary table: position x half a head
    const float *sine;
    double loss;
};

void lane_init(struct lane *lane, const struct model *model, int room, const float *cosine,
               const float *sine);
void lane_free(struct lane *lane);
// Fills the lane with the next whole documents that fit.
void lane_fill(struct lane *lane, const struct corpus *corpus, size_t *next);
