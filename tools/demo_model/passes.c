// The whole model: see passes.h.
#include "passes.h"

#include "attention.h"
#include "parts.h"

#include <math.h>
#include <string.h>

static void layer_forward(struct lane *lane, int l, float *next)
{
    const struct shape *s = &lane->model->shape;
    const float *w = lane->model->weights;
    const struct layer_at *at = &lane->model->layer[l];
    struct layer_state *state = &lane->layer[l];
    int n = lane->count;
    size_t bytes = times(n, s->dim) * sizeof(float);
    parts_norm(n, s->dim, state->input, w + at->attn_norm, state->inverse1, state->normed1);
    parts_linear(n, s->dim, qkv_dim(s), state->normed1, w + at->qkv, state->qkv, 0);
    parts_rotate(lane, state->qkv, 1.0f);
    attention_forward(lane, state);
    memcpy(state->middle, state->input, bytes);
    parts_linear(n, s->dim, s->dim, state->attended, w + at->out, state->middle, 1);
    parts_norm(n, s->dim, state->middle, w + at->ffn_norm, state->inverse2, state->normed2);
    parts_linear(n, s->dim, 2 * s->ffn, state->normed2, w + at->gate_up, state->gate_up, 0);
    parts_swiglu(n, s->ffn, state->gate_up, state->hidden);
    memcpy(next, state->middle, bytes);
    parts_linear(n, s->ffn, s->dim, state->hidden, w + at->down, next, 1);
}

static void layer_backward(struct lane *lane, int l)
{
    const struct shape *s = &lane->model->shape;
    const float *w = lane->model->weights;
    float *g = lane->gradient;
    const struct layer_at *at = &lane->model->layer[l];
    struct layer_state *state = &lane->layer[l];
    int n = lane->count;
    parts_linear_backward(n, s->ffn, s->dim, state->hidden, w + at->down, lane->d_stream,
                          lane->d_hidden, g + at->down);
    parts_swiglu_backward(n, s->ffn, state->gate_up, lane->d_hidden, lane->d_ffn);
    parts_linear_backward(n, s->dim, 2 * s->ffn, state->normed2, w + at->gate_up, lane->d_ffn,
                          lane->d_dim, g + at->gate_up);
    parts_norm_backward(n, s->dim, state->middle, w + at->ffn_norm, state->inverse2, lane->d_dim,
                        lane->d_stream, g + at->ffn_norm);
    parts_linear_backward(n, s->dim, s->dim, state->attended, w + at->out, lane->d_stream,
                          lane->d_dim, g + at->out);
    attention_backward(lane, state, lane->d_dim, lane->d_qkv);
    parts_rotate(lane, lane->d_qkv, -1.0f);
    parts_linear_backward(n, s->dim, qkv_dim(s), state->normed1, w + at->qkv, lane->d_qkv,
                          lane->d_dim, g + at->qkv);
    parts_norm_backward(n, s->dim, state->input, w + at->attn_norm, state->inverse1, lane->d_dim,
                        lane->d_stream, g + at->attn_norm);
}

void passes_forward(struct lane *lane)
{
    const struct shape *s = &lane->model->shape;
    const float *w = lane->model->weights;
    size_t dim = (size_t)s->dim;
    for (int t = 0; t < lane->count; t++) {
        memcpy(lane->layer[0].input + (size_t)t * dim,
               w + lane->model->embedding + lane->tokens[t] * dim, dim * sizeof(float));
    }
    for (int l = 0; l < s->layers; l++)
        layer_forward(lane, l, l + 1 < s->layers ? lane->layer[l + 1].input : lane->output);
    parts_norm(lane->count, s->dim, lane->output, w + lane->model->final_norm, lane->inverse,
               lane->normed);
    parts_linear(lane->count, s->dim, s->vocab, lane->normed, w + lane->model->embedding,
                 lane->logits, 0);
}

void passes_score(struct lane *lane, float scale)
{
    int vocab = lane->model->shape.vocab;
    lane->loss = 0.0;
    for (int t = 0; t < lane->count; t++) {
        float *row = lane->logits + times(t, vocab);
        parts_softmax(row, vocab, vocab, 1.0f);
        lane->loss -= lane->weight[t] * logf(row[lane->targets[t]] + 1e-30f);
        row[lane->targets[t]] -= 1.0f;
        float weight = lane->weight[t] * scale;
        for (int i = 0; i < vocab; i++)
            row[i] *= weight;
    }
}

void passes_backward(struct lane *lane)
{
    const struct shape *s = &lane->model->shape;
    const float *w = lane->model->weights;
    float *g = lane->gradient;
    size_t dim = (size_t)s->dim;
    memset(g, 0, lane->model->count * sizeof(float));
    memset(lane->d_stream, 0, times(lane->count, s->dim) * sizeof(float));
    parts_linear_backward(lane->count, s->dim, s->vocab, lane->normed, w + lane->model->embedding,
                          lane->logits, lane->d_dim, g + lane->model->embedding);
    parts_norm_backward(lane->count, s->dim, lane->output, w + lane->model->final_norm,
                        lane->inverse, lane->d_dim, lane->d_stream, g + lane->model->final_norm);
    for (int l = s->layers - 1; l >= 0; l--)
        layer_backward(lane, l);
    for (int t = 0; t < lane->count; t++) {
        float *to = g + lane->model->embedding + lane->tokens[t] * dim;
        const float *from = lane->d_stream + (size_t)t * dim;
        for (size_t i = 0; i < dim; i++)
            to[i] += from[i];
    }
}
