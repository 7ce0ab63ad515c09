// Attention: see attention.h. Queries go in blocks, so that keys after a block are never
// computed.
#include "attention.h"

#include "gemm.h"
#include "parts.h"

#include <math.h>
#include <string.h>

// One head over one document: pointers to its part of each array.
struct head {
    int length;
    int size;    // of the head
    long stride; // of qkv rows
    long dim;    // of attended rows
    float scale;
    const float *q;
    const float *k;
    const float *v;
    float *scores;
};

static struct head head_of(const struct lane *lane, const struct layer_state *state, int document,
                           int head, size_t scores_at)
{
    const struct shape *s = &lane->model->shape;
    const float *row = state->qkv + times(lane->start[document], qkv_dim(s));
    int kv_head = head / (s->heads / s->kv_heads);
    struct head h = {
        .length = lane->start[document + 1] - lane->start[document],
        .size = head_dim(s),
        .stride = qkv_dim(s),
        .dim = s->dim,
        .scale = 1.0f / sqrtf((float)head_dim(s)),
        .q = row + times(head, head_dim(s)),
        .k = row + s->dim + times(kv_head, head_dim(s)),
        .v = row + s->dim + kv_dim(s) + times(kv_head, head_dim(s)),
        .scores = state->scores + scores_at,
    };
    return h;
}

static void head_forward(const struct head *h, float *attended)
{
    for (int from = 0; from < h->length; from += LANE_QUERY_BLOCK) {
        int to = from + LANE_QUERY_BLOCK < h->length ? from + LANE_QUERY_BLOCK : h->length;
        float *scores = h->scores + times(from, h->length);
        gemm(to - from, to, h->size, rows_of(h->q + from * h->stride, h->stride),
             transposed(h->k, h->stride), scores, h->length, 0);
        for (int t = from; t < to; t++)
            parts_softmax(h->scores + times(t, h->length), t + 1, to, h->scale);
        gemm(to - from, h->size, to, rows_of(scores, h->length), rows_of(h->v, h->stride),
             attended + from * h->dim, h->dim, 0);
    }
}

static void softmax_backward(const float *weights, float *d, int width, float scale)
{
    float dot = 0.0f;
    for (int j = 0; j < width; j++)
        dot += weights[j] * d[j];
    for (int j = 0; j < width; j++)
        d[j] = weights[j] * (d[j] - dot) * scale;
}

static void head_backward(const struct head *h, const float *d_attended, float *d_scores,
                          float *d_q, float *d_k, float *d_v)
{
    for (int from = 0; from < h->length; from += LANE_QUERY_BLOCK) {
        int to = from + LANE_QUERY_BLOCK < h->length ? from + LANE_QUERY_BLOCK : h->length;
        int rows = to - from;
        const float *scores = h->scores + times(from, h->length);
        const float *d_out = d_attended + from * h->dim;
        gemm(rows, to, h->size, rows_of(d_out, h->dim), transposed(h->v, h->stride), d_scores,
             h->length, 0);
        gemm(to, h->size, rows, transposed(scores, h->length), rows_of(d_out, h->dim), d_v,
             h->stride, 1);
        for (int t = 0; t < rows; t++) {
            softmax_backward(scores + times(t, h->length), d_scores + times(t, h->length), to,
                             h->scale);
        }
        gemm(rows, h->size, to, rows_of(d_scores, h->length), rows_of(h->k, h->stride),
             d_q + from * h->stride, h->stride, 0);
        gemm(to, h->size, rows, transposed(d_scores, h->length),
             rows_of(h->q + from * h->stride, h->stride), d_k, h->stride, 1);
    }
}

void attention_forward(struct lane *lane, struct layer_state *state)
{
    const struct shape *s = &lane->model->shape;
    size_t scores_at = 0;
    for (int d = 0; d < lane->documents; d++) {
        for (int head = 0; head < s->heads; head++) {
            struct head h = head_of(lane, state, d, head, scores_at);
            head_forward(&h, state->attended + times(lane->start[d], s->dim) +
                                 times(head, head_dim(s)));
            scores_at += times(h.length, h.length);
        }
    }
}

void attention_backward(struct lane *lane, const struct layer_state *state, const float *d_attended,
                        float *d_qkv)
{
    const struct shape *s = &lane->model->shape;
    size_t scores_at = 0;
    memset(d_qkv, 0, times(lane->count, qkv_dim(s)) * sizeof(float));
    for (int d = 0; d < lane->documents; d++) {
        for (int head = 0; head < s->heads; head++) {
            struct head h = head_of(lane, state, d, head, scores_at);
            head_backward(&h, d_attended + times(lane->start[d], s->dim) + times(head, head_dim(s)),
                          lane->d_scores, d_qkv + (h.q - state->qkv), d_qkv + (h.k - state->qkv),
                          d_qkv + (h.v - state->qkv));
            scores_at += times(h.length, h.length);
        }
    }
}
