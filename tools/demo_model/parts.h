// Parts of the model, forwards and backwards: norms, rotary positions, softmax, SwiGLU, matrices.
// `count` is tokens everywhere.
#pragma once

#include "lane.h"

void parts_norm(int count, int dim, const float *x, const float *gain, float *inverse, float *out);
// Adds to d_x, so that the residual stream's own gradient is kept.
void parts_norm_backward(int count, int dim, const float *x, const float *gain,
                         const float *inverse, const float *d_out, float *d_x, float *d_gain);

// Turns adjacent pairs by their angles; direction -1 undoes it.
void parts_rotate(const struct lane *lane, float *qkv, float direction);

// Softmax over the first `seen` of `width` values; the rest becomes 0.
void parts_softmax(float *row, int seen, int width, float scale);

void parts_swiglu(int count, int ffn, const float *gate_up, float *hidden);
void parts_swiglu_backward(int count, int ffn, const float *gate_up, const float *d_hidden,
                           float *d_gate_up);

// y = x w^T, or y += x w^T, for a weight matrix with one row per output.
void parts_linear(int count, int in, int out, const float *x, const float *w, float *y,
                  int accumulate);
void parts_linear_backward(int count, int in, int out, const float *x, const float *w,
                           const float *d_y, float *d_x, float *d_w);
