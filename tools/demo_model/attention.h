// Attention of a lane, forwards and backwards: each document by itself, causally.
#pragma once

#include "lane.h"

void attention_forward(struct lane *lane, struct layer_state *state);
void attention_backward(struct lane *lane, const struct layer_state *state, const float *d_attended,
                        float *d_qkv);
