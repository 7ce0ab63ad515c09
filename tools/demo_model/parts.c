// Parts of the model: see parts.h.
#include "parts.h"

#include "gemm.h"

#include <math.h>

void parts_norm(int count, int dim, const float *x, const float *gain, float *inverse, float *out)
{
    for (int t = 0; t < count; t++, x += dim, out += dim) {
        float sum = 0.0f;
        for (int i = 0; i < dim; i++)
            sum += x[i] * x[i];
        float scale = 1.0f / sqrtf(sum / (float)dim + NORM_EPSILON);
        inverse[t] = scale;
        for (int i = 0; i < dim; i++)
            out[i] = x[i] * scale * gain[i];
    }
}

void parts_norm_backward(int count, int dim, const float *x, const float *gain,
                         const float *inverse, const float *d_out, float *d_x, float *d_gain)
{
    for (int t = 0; t < count; t++, x += dim, d_out += dim, d_x += dim) {
        float scale = inverse[t];
        float dot = 0.0f;
        for (int i = 0; i < dim; i++)
            dot += d_out[i] * gain[i] * x[i];
        float pull = dot * scale * scale * scale / (float)dim;
        for (int i = 0; i < dim; i++) {
            d_x[i] += d_out[i] * gain[i] * scale - x[i] * pull;
            d_gain[i] += d_out[i] * x[i] * scale;
        }
    }
}

void parts_rotate(const struct lane *lane, float *qkv, float direction)
{
    const struct shape *s = &lane->model->shape;
    int half = head_dim(s) / 2;
    int pairs = (s->dim + kv_dim(s)) / 2;
    for (int d = 0; d < lane->documents; d++) {
        for (int t = lane->start[d]; t < lane->start[d + 1]; t++) {
            float *row = qkv + times(t, qkv_dim(s));
            const float *cosine = lane->cosine + times(t - lane->start[d], half);
            const float *sine = lane->sine + times(t - lane->start[d], half);
            for (int p = 0; p < pairs; p++) {
                float c = cosine[p % half];
                float n = sine[p % half] * direction;
                float x = row[2 * p];
                float y = row[2 * p + 1];
                row[2 * p] = x * c - y * n;
                row[2 * p + 1] = x * n + y * c;
            }
        }
    }
}

void parts_softmax(float *row, int seen, int width, float scale)
{
    float top = row[0];
    for (int j = 1; j < seen; j++)
        top = row[j] > top ? row[j] : top;
    float sum = 0.0f;
    for (int j = 0; j < seen; j++) {
        row[j] = expf((row[j] - top) * scale);
        sum += row[j];
    }
    float inverse = 1.0f / sum;
    for (int j = 0; j < seen; j++)
        row[j] *= inverse;
    for (int j = seen; j < width; j++)
        row[j] = 0.0f;
}

void parts_swiglu(int count, int ffn, const float *gate_up, float *hidden)
{
    for (int t = 0; t < count; t++, gate_up += 2 * ffn, hidden += ffn)
        for (int i = 0; i < ffn; i++)
            hidden[i] = gate_up[i] / (1.0f + expf(-gate_up[i])) * gate_up[ffn + i];
}

void parts_swiglu_backward(int count, int ffn, const float *gate_up, const float *d_hidden,
                           float *d_gate_up)
{
    for (int t = 0; t < count; t++) {
        for (int i = 0; i < ffn; i++) {
            float gate = gate_up[i];
            float open = 1.0f / (1.0f + expf(-gate));
            d_gate_up[ffn + i] = d_hidden[i] * gate * open;
            d_gate_up[i] = d_hidden[i] * gate_up[ffn + i] * open * (1.0f + gate * (1.0f - open));
        }
        gate_up += 2 * ffn;
        d_gate_up += 2 * ffn;
        d_hidden += ffn;
    }
}

void parts_linear(int count, int in, int out, const float *x, const float *w, float *y,
                  int accumulate)
{
    gemm(count, out, in, rows_of(x, in), transposed(w, in), y, out, accumulate);
}

void parts_linear_backward(int count, int in, int out, const float *x, const float *w,
                           const float *d_y, float *d_x, float *d_w)
{
    gemm(count, in, out, rows_of(d_y, out), rows_of(w, in), d_x, in, 0);
    gemm(out, in, count, transposed(d_y, out), rows_of(x, in), d_w, in, 1);
}
