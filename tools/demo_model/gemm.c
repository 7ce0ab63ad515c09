// A blocked single-precision matrix product.
//
// Both operands are copied into small panels that fit the caches, and a kernel keeps a
// TILE_ROWS x TILE_COLUMNS piece of the result in vector registers while it runs along k. The
// vectors are the compiler's generic ones, so the file is plain C on any machine and fast where
// the vectors are wide. Each thread has its own panels; callers split the work.
#include "gemm.h"

#include <string.h>

enum {
    LANES = 16,
    TILE_ROWS = 12,
    TILE_COLUMNS = 2 * LANES,
    BLOCK_K = 256,
    BLOCK_M = 96,
    BLOCK_N = 512,
};

typedef float Vector __attribute__((vector_size(LANES * sizeof(float))));

static _Thread_local _Alignas(64) float panel_a[BLOCK_M * BLOCK_K];
static _Thread_local _Alignas(64) float panel_b[BLOCK_N * BLOCK_K];

// Panels of TILE_ROWS rows, each stored k-major; rows past the end are zero.
static void pack_a(int m, int k, struct view a)
{
    float *out = panel_a;
    for (int i0 = 0; i0 < m; i0 += TILE_ROWS, out += TILE_ROWS * k) {
        int rows = m - i0 < TILE_ROWS ? m - i0 : TILE_ROWS;
        if (rows < TILE_ROWS)
            memset(out, 0, sizeof(float) * TILE_ROWS * (size_t)k);
        const float *from = a.at + i0 * a.row;
        if (a.row == 1) {
            for (int p = 0; p < k; p++)
                for (int i = 0; i < rows; i++)
                    out[p * TILE_ROWS + i] = from[p * a.column + i];
        } else {
            for (int i = 0; i < rows; i++)
                for (int p = 0; p < k; p++)
                    out[p * TILE_ROWS + i] = from[i * a.row + p * a.column];
        }
    }
}

// Panels of TILE_COLUMNS columns, each stored k-major; columns past the end are zero.
static void pack_b(int n, int k, struct view b)
{
    float *out = panel_b;
    for (int j0 = 0; j0 < n; j0 += TILE_COLUMNS, out += TILE_COLUMNS * k) {
        int columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
        const float *from = b.at + j0 * b.column;
        if (columns < TILE_COLUMNS)
            memset(out, 0, sizeof(float) * TILE_COLUMNS * (size_t)k);
        if (b.column == 1) {
            for (int p = 0; p < k; p++)
                memcpy(out + p * TILE_COLUMNS, from + p * b.row, sizeof(float) * (size_t)columns);
        } else {
            for (int j = 0; j < columns; j++)
                for (int p = 0; p < k; p++)
                    out[p * TILE_COLUMNS + j] = from[j * b.column + p * b.row];
        }
    }
}

static void store_tile(Vector sum[TILE_ROWS][2], int rows, int columns, float *c, long stride,
                       int accumulate)
{
    for (int i = 0; i < rows; i++) {
        float line[TILE_COLUMNS];
        memcpy(line, sum[i], sizeof line);
        float *to = c + i * stride;
        for (int j = 0; j < columns; j++)
            to[j] = accumulate ? to[j] + line[j] : line[j];
    }
}

static void run_tile(int k, const float *a, const float *b, int rows, int columns, float *c,
                     long stride, int accumulate)
{
    Vector sum[TILE_ROWS][2] = {0};
    for (int p = 0; p < k; p++) {
        Vector left;
        Vector right;
        memcpy(&left, b, sizeof left);
        memcpy(&right, b + LANES, sizeof right);
#pragma GCC unroll 16
        for (int i = 0; i < TILE_ROWS; i++) {
            sum[i][0] += a[i] * left;
            sum[i][1] += a[i] * right;
        }
        a += TILE_ROWS;
        b += TILE_COLUMNS;
    }
    if (rows < TILE_ROWS || columns < TILE_COLUMNS) {
        store_tile(sum, rows, columns, c, stride, accumulate);
        return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++) {
        Vector old[2] = {0};
        if (accumulate)
            memcpy(old, c + i * stride, sizeof old);
        sum[i][0] += old[0];
        sum[i][1] += old[1];
        memcpy(c + i * stride, sum[i], sizeof old);
    }
}

static void run_block(int m, int n, int k, float *c, long stride, int accumulate)
{
    for (int j = 0; j < n; j += TILE_COLUMNS) {
        int columns = n - j < TILE_COLUMNS ? n - j : TILE_COLUMNS;
        for (int i = 0; i < m; i += TILE_ROWS) {
            int rows = m - i < TILE_ROWS ? m - i : TILE_ROWS;
            run_tile(k, panel_a + (long)i * k, panel_b + (long)j * k, rows, columns,
                     c + i * stride + j, stride, accumulate);
        }
    }
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

void gemm(int m, int n, int k, struct view a, struct view b, float *c, long stride, int accumulate)
{
    for (int j = 0; j < n; j += BLOCK_N) {
        int nb = smaller(n - j, BLOCK_N);
        for (int p = 0; p < k; p += BLOCK_K) {
            int kb = smaller(k - p, BLOCK_K);
            struct view b_part = {b.at + p * b.row + j * b.column, b.row, b.column};
            pack_b(nb, kb, b_part);
            for (int i = 0; i < m; i += BLOCK_M) {
                int mb = smaller(m - i, BLOCK_M);
                struct view a_part = {a.at + i * a.row + p * a.column, a.row, a.column};
                pack_a(mb, kb, a_part);
                run_block(mb, nb, kb, c + i * stride + j, stride, accumulate || p > 0);
            }
        }
    }
}
