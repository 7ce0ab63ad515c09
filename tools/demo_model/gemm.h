// One matrix product for everything the trainer does.
#pragma once

// A matrix seen through strides: element (i, j) is at[i * row + j * column].
struct view {
    const float *at;
    long row;
    long column;
};

// c = a b, or c += a b; a is m x k, b is k x n, c is m x n with `stride` floats between rows.
void gemm(int m, int n, int k, struct view a, struct view b, float *c, long stride, int accumulate);

static inline struct view rows_of(const float *at, long stride)
{
    return (struct view){at, stride, 1};
}

static inline struct view transposed(const float *at, long stride)
{
    return (struct view){at, 1, stride};
}
