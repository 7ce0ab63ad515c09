// The loops around the dot products of scalar/: rows as they lie in a file, and rows in lane form.
#include "kernels/lanes.h"
#include "kernels/scalar/scalar.h"

void scalar_matmul(const struct matmul_args *a, scalar_dot *dot)
{
    for (int r = a->row_lo; r < a->row_hi; r++) {
        const uint8_t *w = (const uint8_t *)a->w + (size_t)r * a->w_stride;
        for (int t = 0; t < a->n_tokens; t++)
            a->out[(size_t)t * a->out_stride + (size_t)r] =
                dot(0, w, (const uint8_t *)a->x + (size_t)t * a->x_stride, a->n_in);
    }
}

// Takes one block of a row out of its lanes at a time.
void scalar_matmul_lanes(const struct matmul_args *a, uint32_t type, scalar_dot *dot)
{
    const struct wtype_info *info = wtype_info(type);
    size_t act_bytes = act_row_bytes(kernels_for(ISA_SCALAR)->format[type].act, info->width);
    for (int r = a->row_lo; r < a->row_hi; r++) {
        size_t row = (size_t)r, group = row / LANE_ROWS * LANE_ROWS;
        for (int t = 0; t < a->n_tokens; t++) {
            const uint8_t *w = (const uint8_t *)a->w + group * a->w_stride;
            const uint8_t *x = (const uint8_t *)a->x + (size_t)t * a->x_stride;
            float acc = 0;
            for (size_t b = 0; b < a->n_in / info->width; b++, x += act_bytes) {
                uint8_t block[LANE_MAX_BLOCK];
                lanes_take(type, block, w + b * LANE_ROWS * info->bytes, r % LANE_ROWS);
                acc = dot(acc, block, x, info->width);
            }
            a->out[(size_t)t * a->out_stride + row] = acc;
        }
    }
}
