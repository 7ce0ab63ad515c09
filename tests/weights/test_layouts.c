// How weights lie: the decision, and that what was turned is the rows, turned.
#include "support.h"

#include "kernels/lanes.h"
#include "tiny_model.h"
#include "weights/layouts.h"

#include <stdlib.h>
#include <string.h>

// ---- the decision ------------------------------------------------------------------------------

// Layers 0 to 3: a matrix that can and a vector that cannot each; then the output, 4.
static const struct layout_item items[] = {
    {100, 0, true}, {7, 0, false}, {100, 1, true}, {7, 1, false},  {100, 2, true},
    {7, 2, false},  {50, 3, true}, {7, 3, false},  {500, 4, true},
};
enum { ITEMS = sizeof items / sizeof *items };

static void check_choice(enum weights_form form, uint64_t budget, const char *want)
{
    enum layout got[ITEMS];
    uint64_t bytes = 0, taken = layouts_choose(got, items, ITEMS, form, budget);
    for (int i = 0; i < ITEMS; i++) {
        if (got[i] != (want[i] == 'L' ? LAYOUT_LANES : LAYOUT_ROWS))
            fail_msg("budget %llu: item %d", (unsigned long long)budget, i);
        bytes += want[i] == 'L' ? items[i].bytes : 0;
    }
    assert_int_equal(taken, bytes);
}

static void layers_are_turned_from_the_first_on_while_the_budget_lasts(void **state)
{
    (void)state;
    check_choice(WEIGHTS_AUTO, 0, ".........");
    check_choice(WEIGHTS_AUTO, 99, ".........");
    check_choice(WEIGHTS_AUTO, 100, "L........");
    check_choice(WEIGHTS_AUTO, 299, "L.L......");
    check_choice(WEIGHTS_AUTO, 300, "L.L.L....");
    check_choice(WEIGHTS_AUTO, 350, "L.L.L.L..");
    check_choice(WEIGHTS_AUTO, 849, "L.L.L.L..");
    check_choice(WEIGHTS_AUTO, 850, "L.L.L.L.L");
    check_choice(WEIGHTS_AUTO, UINT64_MAX, "L.L.L.L.L");
}

static void a_form_that_is_asked_for_needs_no_budget(void **state)
{
    (void)state;
    check_choice(WEIGHTS_ROWS, UINT64_MAX, ".........");
    check_choice(WEIGHTS_LANES, 0, "L.L.L.L.L");
}

// ---- turning -----------------------------------------------------------------------------------

// Every piece is needed, a layer each, and settled; each must be its rows, in whatever layout.
static void check_pieces(const char *path, const struct weights_options *o, int n_threads,
                         int *n_lanes)
{
    struct err e = {0};
    struct gguf *g;
    struct weights *w;
    struct backend *b;
    struct backend_options backend = {.n_threads = n_threads, .isa = ISA_COUNT};
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(weights_open(&w, g, o, &e), &e);
    assert_ok(backend_open_cpu(&b, &backend, &e), &e);
    for (uint32_t i = 0; i < gguf_n_pieces(g); i++)
        weights_need(w, i, (int)i);
    assert_ok(weights_settle(w, b, NULL, &e), &e);
    struct piece_source s = weights_source(w);
    *n_lanes = 0;
    for (uint32_t i = 0; i < gguf_n_pieces(g); i++) {
        struct gguf_piece p = gguf_piece_at(g, i);
        const struct gguf_tensor *t = p.tensor;
        enum layout layout;
        const uint8_t *got = s.acquire(s.ctx, i, &layout, &e);
        uint8_t *rows = test_read(path, NULL);
        if (layout == LAYOUT_ROWS) {
            assert_memory_equal(got, rows + p.offset, p.size);
        } else {
            size_t row_bytes, bytes = wtype_info(t->type)->bytes;
            assert_true(wtype_row_bytes(t->type, t->dims[0], &row_bytes));
            for (size_t r = 0; r < t->dims[1]; r++)
                for (size_t at = 0; at < row_bytes; at += bytes) {
                    uint8_t block[LANE_MAX_BLOCK];
                    lanes_take(t->type, block,
                               got + r / LANE_ROWS * LANE_ROWS * row_bytes + LANE_ROWS * at,
                               (int)(r % LANE_ROWS));
                    assert_memory_equal(block, rows + p.offset + r * row_bytes + at, bytes);
                }
            ++*n_lanes;
        }
        free(rows);
    }
    struct weights_report report = weights_report(w);
    assert_int_equal(report.lanes.matrices, *n_lanes);
    weights_free(w);
    backend_free(b);
    gguf_free(g);
}

static void turned_matrices_are_their_rows(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q8_0, WT_Q4_0, WT_Q4_K, WT_Q6_K};
    const char *path = test_file("turned.gguf");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct tiny_model t = {.type = types[i], .n_embd = 256, .n_ff = 256};
        int n_lanes;
        tiny_model_write(path, &t);
        check_pieces(path, &(struct weights_options){.form = WEIGHTS_LANES}, 1 + (int)i, &n_lanes);
        assert_true(n_lanes > 7);
        check_pieces(path, &(struct weights_options){.form = WEIGHTS_ROWS}, 1, &n_lanes);
        assert_int_equal(n_lanes, 0);
        check_pieces(path, &(struct weights_options){.budget = 1}, 1, &n_lanes);
        assert_int_equal(n_lanes, 0);
    }
}

static void experts_are_turned_one_by_one(void **state)
{
    (void)state;
    const char *path = test_file("experts.gguf");
    struct tiny_model t = {.arch = "qwen3moe", .type = WT_Q8_0, .n_layers = 2};
    int n_lanes, n_some;
    tiny_model_write(path, &t);
    t = tiny_model_filled(&t);
    check_pieces(path, &(struct weights_options){.form = WEIGHTS_LANES}, 2, &n_lanes);
    assert_true(n_lanes > 3 * t.n_layers * t.n_experts);
    // A budget for some, where their kernels are faster; each piece is a layer of its own here.
    check_pieces(path, &(struct weights_options){.budget = 100000}, 2, &n_some);
    assert_true(n_some < n_lanes);
}

static uint64_t seen_done, seen_total;

static void see(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    assert_true(done >= seen_done && done <= total);
    seen_done = done;
    seen_total = total;
}

static void progress_ends_at_all_of_it(void **state)
{
    (void)state;
    const char *path = test_file("progress.gguf");
    struct tiny_model t = {.type = WT_Q8_0, .n_embd = 256, .n_ff = 512};
    struct weights_options o = {.form = WEIGHTS_LANES, .progress = see};
    int n_lanes;
    tiny_model_write(path, &t);
    check_pieces(path, &o, 1, &n_lanes);
    assert_true(seen_total > 0);
    assert_int_equal(seen_done, seen_total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_turned_from_the_first_on_while_the_budget_lasts),
        cmocka_unit_test(a_form_that_is_asked_for_needs_no_budget),
        cmocka_unit_test(turned_matrices_are_their_rows),
        cmocka_unit_test(experts_are_turned_one_by_one),
        cmocka_unit_test(progress_ends_at_all_of_it),
    };
    return cmocka_run_group_tests_name("layouts", tests, NULL, NULL);
}
