// Products with the experts of a mixture against plain loops in double precision: any formats,
// numbers of rows and threads, in rows, lanes and both, whose results must be equal bit for bit.
#include "support.h"

#include "expert_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Rows of different experts each, in any order.
static int32_t *random_ids(struct expert_rig *t, int n, int n_experts, int n_used)
{
    int32_t *ids = expert_rig_zeros((size_t)(n * n_used), sizeof *ids);
    for (int row = 0; row < n; row++)
        for (int j = 0; j < n_used; j++) {
            bool again = true;
            while (again) {
                ids[row * n_used + j] = (int32_t)rng_below(&t->rng, (uint64_t)n_experts);
                again = false;
                for (int k = 0; k < j; k++)
                    again |= ids[row * n_used + k] == ids[row * n_used + j];
            }
        }
    return ids;
}

// ---- products ----------------------------------------------------------------------------------

struct product {
    uint32_t type;
    int n_in, n_out, n_experts, n_used, n;
    bool per_expert, fixed; // fixed: expert j is every row's j-th
    double limit;
};

static int32_t *ids_of(struct expert_rig *t, const struct product *p)
{
    int32_t *ids = random_ids(t, p->n, p->n_experts, p->n_used);
    for (int u = 0; p->fixed && u < p->n * p->n_used; u++)
        ids[u] = u % p->n_used;
    return ids;
}

static void compare(const struct product *p, const float *out, const float *x, const float *exact,
                    const int32_t *ids)
{
    for (int u = 0; u < p->n * p->n_used; u++) {
        const float *in = x + (size_t)(p->per_expert ? u : u / p->n_used) * (size_t)p->n_in;
        const float *w = exact + (size_t)ids[u] * (size_t)p->n_out * (size_t)p->n_in;
        for (int r = 0; r < p->n_out; r++, w += p->n_in) {
            double sum = 0;
            for (int i = 0; i < p->n_in; i++)
                sum += (double)in[i] * (double)w[i];
            expert_rig_near(out[(size_t)u * (size_t)p->n_out + (size_t)r], sum,
                            p->limit * sqrt(p->n_in));
        }
    }
}

// Rows [lo, hi) of the product alone.
static void multiply(struct expert_rig *t, const struct product *p, const struct weight *w,
                     float *out, const float *x, const int32_t *ids, int lo, int hi)
{
    size_t uses = (size_t)((hi - lo) * p->n_used), from = (size_t)(lo * p->n_used);
    size_t x_rows = p->per_expert ? uses : (size_t)(hi - lo);
    size_t x_from = p->per_expert ? from : (size_t)lo;
    size_t n_in = (size_t)p->n_in, n_out = (size_t)p->n_out;
    struct buf *in = expert_rig_buf(t, x + x_from * n_in, x_rows * n_in * sizeof *x);
    struct buf *to = expert_rig_buf(t, NULL, uses * n_out * sizeof *out);
    struct routing r = {.ids = expert_rig_buf(t, ids + from, uses * sizeof *ids),
                        .n_experts = p->n_experts,
                        .n_used = p->n_used};
    list_reset(t->l);
    op_expert_matmul(t->l, to, in, w, &r, p->per_expert, hi - lo);
    expert_rig_run(t);
    buf_read(to, 0, out + from * n_out, uses * n_out * sizeof *out);
    buf_free(in);
    buf_free(to);
    buf_free(r.ids);
}

// With any number of threads, in rows, lanes and both, at once and row by row.
static void check_product(const struct product *p)
{
    static const uint64_t lanes[RIG_THREADS] = {0, UINT64_MAX, 0x5a5a5a5a5a5a5a5aull, 0};
    size_t n_exact = (size_t)p->n_experts * (size_t)p->n_out * (size_t)p->n_in;
    size_t n_uses = (size_t)(p->n * p->n_used), n_out = n_uses * (size_t)p->n_out;
    float *exact = expert_rig_zeros(n_exact, sizeof *exact),
          *out = expert_rig_zeros(n_out, sizeof *out);
    float *first = expert_rig_zeros(n_out, sizeof *first);
    for (int i = 0; i < RIG_THREADS; i++) {
        struct expert_rig t;
        expert_rig_open(&t, expert_rig_threads[i]);
        struct weight w =
            expert_rig_experts(&t, p->type, p->n_in, p->n_out, p->n_experts, lanes[i], exact);
        float *x = expert_rig_numbers(&t, n_uses * (size_t)p->n_in);
        int32_t *ids = ids_of(&t, p);
        multiply(&t, p, &w, out, x, ids, 0, p->n);
        if (!i) {
            compare(p, out, x, exact, ids);
            memcpy(first, out, n_out * sizeof *out);
        }
        assert_memory_equal(out, first, n_out * sizeof *out);
        memset(out, 0, n_out * sizeof *out);
        for (int lo = 0, hi; lo < p->n; lo = hi) {
            hi = lo + 1 + lo % 3 < p->n ? lo + 1 + lo % 3 : p->n; // one, two and three rows
            multiply(&t, p, &w, out, x, ids, lo, hi);
        }
        assert_memory_equal(out, first, n_out * sizeof *out);
        free(x);
        free(ids);
        expert_rig_close(&t);
    }
    free(exact);
    free(out);
    free(first);
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const struct product products[] = {
        {WT_F32, 30, 7, 5, 2, 9, false, false, 1e-6},
        {WT_F16, 64, 100, 8, 2, RIG_ROWS, true, false, 1e-6},
        {WT_Q8_0, 96, 50, 6, 3, 20, true, false, 1e-2},
        {WT_Q4_K, 256, 80, 40, 8, RIG_ROWS, false, false, 2e-2},
        {WT_Q4_K, 512, 48, 4, 1, 33, true, false, 2e-2},
        {WT_MXFP4, 64, 33, 32, 4, 50, false, false, 3e-2},
        {WT_Q6_K, 256, 300, 8, 2, RIG_ROWS, false, false, 2e-2},
        {WT_Q4_0, 64, 640, 16, 8, 1, false, false, 3e-2},
        {WT_Q4_0, 32, 32, 3, 3, 5, true, false, 3e-2}, // all experts, in any order
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        check_product(&products[i]);
}

static void heads_are_experts_that_every_row_uses(void **state)
{
    (void)state;
    static const struct product products[] = {
        {WT_Q8_0, 64, 96, 8, 8, RIG_ROWS, true, true, 1e-2},
        {WT_F16, 32, 40, 5, 5, 7, true, true, 1e-6},
        {WT_Q4_0, 512, 16, 6, 6, 1, true, true, 2e-2},
        {WT_Q5_0, 64, 24, 4, 4, 11, false, true, 2e-2},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        check_product(&products[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(heads_are_experts_that_every_row_uses),
    };
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
