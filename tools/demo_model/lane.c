// Lanes: see lane.h.
#include "lane.h"

#include "memory.h"

#include <stdlib.h>

static const float quiet_weight = 0.2f;

void lane_init(struct lane *lane, const struct model *model, int room, const float *cosine,
               const float *sine)
{
    const struct shape *s = &model->shape;
    lane->model = model;
    lane->room = room;
    lane->cosine = cosine;
    lane->sine = sine;
    lane->start = memory_checked(calloc((size_t)room + 1, sizeof(int)));
    lane->tokens = memory_checked(calloc((size_t)room, sizeof(uint16_t)));
    lane->targets = memory_checked(calloc((size_t)room, sizeof(uint16_t)));
    lane->weight = memory_floats((size_t)room);
    lane->layer = memory_checked(calloc((size_t)s->layers, sizeof(struct layer_state)));
    for (int l = 0; l < s->layers; l++) {
        struct layer_state *state = &lane->layer[l];
        state->input = memory_floats(times(room, s->dim));
        state->inverse1 = memory_floats((size_t)room);
        state->normed1 = memory_floats(times(room, s->dim));
        state->qkv = memory_floats(times(room, qkv_dim(s)));
        state->scores = memory_floats(times(room, s->heads) * (size_t)s->context);
        state->attended = memory_floats(times(room, s->dim));
        state->middle = memory_floats(times(room, s->dim));
        state->inverse2 = memory_floats((size_t)room);
        state->normed2 = memory_floats(times(room, s->dim));
        state->gate_up = memory_floats(times(room, 2 * s->ffn));
        state->hidden = memory_floats(times(room, s->ffn));
    }
    lane->output = memory_floats(times(room, s->dim));
    lane->inverse = memory_floats((size_t)room);
    lane->normed = memory_floats(times(room, s->dim));
    lane->logits = memory_floats(times(room, s->vocab));
    lane->d_stream = memory_floats(times(room, s->dim));
    lane->d_dim = memory_floats(times(room, s->dim));
    lane->d_qkv = memory_floats(times(room, qkv_dim(s)));
    lane->d_ffn = memory_floats(times(room, 2 * s->ffn));
    lane->d_hidden = memory_floats(times(room, s->ffn));
    lane->d_scores = memory_floats(times(LANE_QUERY_BLOCK, s->context));
    lane->gradient = memory_floats(model->count);
}

void lane_free(struct lane *lane)
{
    for (int l = 0; l < lane->model->shape.layers; l++) {
        struct layer_state *state = &lane->layer[l];
        float *arrays[] = {state->input,   state->inverse1, state->normed1, state->qkv,
                           state->scores,  state->attended, state->middle,  state->inverse2,
                           state->normed2, state->gate_up,  state->hidden};
        for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
            free(arrays[i]);
    }
    float *arrays[] = {lane->weight, lane->output,   lane->inverse,  lane->normed,
                       lane->logits, lane->d_stream, lane->d_dim,    lane->d_qkv,
                       lane->d_ffn,  lane->d_hidden, lane->d_scores, lane->gradient};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    free(lane->layer);
    free(lane->start);
    free(lane->tokens);
    free(lane->targets);
}

void lane_fill(struct lane *lane, const struct corpus *corpus, size_t *next)
{
    lane->count = 0;
    lane->documents = 0;
    lane->weight_sum = 0.0;
    for (;;) {
        size_t document = *next % corpus->documents;
        const uint16_t *from = corpus->tokens + corpus->start[document];
        int length = (int)(corpus->start[document + 1] - corpus->start[document]) - 1;
        if (length > lane->model->shape.context)
            length = lane->model->shape.context;
        if (lane->count + length > lane->room)
            break;
        lane->start[lane->documents++] = lane->count;
        for (int i = 0; i < length; i++) {
            float weight = from[i + 1] & CORPUS_QUIET ? quiet_weight : 1.0f;
            lane->tokens[lane->count] = from[i] & (uint16_t)~CORPUS_QUIET;
            lane->targets[lane->count] = from[i + 1] & (uint16_t)~CORPUS_QUIET;
            lane->weight[lane->count++] = weight;
            lane->weight_sum += weight;
        }
        ++*next;
    }
    lane->start[lane->documents] = lane->count;
}
