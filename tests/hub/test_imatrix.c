// Importance matrices: both file formats, sums, what is refused, and what quantizing makes of them.
#include "support.h"

#include "faulty_disk.h"
#include "gguf/writer.h"
#include "gguf_bytes.h"
#include "hub/importance.h"
#include "hub/quantization.h"
#include "kernels/kernels.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_IN = 256, N_OUT = 32, EXPERTS = 3 };
#define MATRIX "blk.0.ffn_up.weight"
#define STACK  "blk.0.ffn_up_exps.weight"

static const uint64_t matrix_dims[] = {N_IN, N_OUT}, stack_dims[] = {N_IN, N_OUT, EXPERTS};

// A model of one matrix and one stack of experts.
static struct gguf *model(void)
{
    struct err e = {0};
    struct gguf_writer *w;
    struct gguf *g;
    assert_ok(gguf_writer_open(&w, test_file("model.gguf"), &e), &e);
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_u32(w, "llama.block_count", 1);
    gguf_declare(w, MATRIX, WT_F32, 2, matrix_dims);
    gguf_declare(w, STACK, WT_F32, 3, stack_dims);
    for (int i = 0; i < N_IN * N_OUT * (1 + EXPERTS); i++) {
        float x = sinf((float)i * 1.7f);
        gguf_write(w, &x, sizeof x);
    }
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(&g, test_file("model.gguf"), &e), &e);
    return g;
}

// What columns see: column c of expert x gets (c + 1) / 100 * (x + 1), but expert 1 gets nothing.
static float input_of(int column, int expert)
{
    return (float)(column + 1) / 100 * (float)(expert + 1);
}

static struct imatrix_sums *sums_of(const struct gguf *g)
{
    struct err e = {0};
    struct imatrix_sums *s;
    assert_ok(imatrix_sums_new(&s, g, &e), &e);
    uint32_t matrix = gguf_tensor_piece(g, gguf_find_tensor(g, MATRIX));
    uint32_t stack = gguf_tensor_piece(g, gguf_find_tensor(g, STACK));
    for (int n = 0; n < 4; n++)
        for (int x = -1; x < EXPERTS; x++) {
            float row[N_IN];
            for (int c = 0; c < N_IN; c++)
                row[c] = input_of(c, x < 0 ? 0 : x) * (n & 1 ? -1 : 1);
            if (x != 1)
                imatrix_sums_add(s, x < 0 ? matrix : stack + (uint32_t)x, row);
        }
    return s;
}

static void assert_importance(const struct imatrix *m, const struct gguf *g)
{
    struct err e = {0};
    float w[N_IN];
    assert_int_equal(imatrix_weights(m, gguf_find_tensor(g, MATRIX), 0, w, &e), 0);
    for (int c = 0; c < N_IN; c++)
        assert_true(fabsf(w[c] / w[0] - (float)((c + 1) * (c + 1))) < 0.01f * w[c] / w[0]);
    for (int x = 0; x < EXPERTS; x++) {
        int rc = imatrix_weights(m, gguf_find_tensor(g, STACK), (uint64_t)x, w, &e);
        assert_int_equal(rc, x == 1);
        if (x == 2)
            assert_true(fabsf(w[9] / w[0] - 100) < 0.01f);
    }
    assert_int_equal(e.code, 0);
}

static void sums_become_a_file_and_the_file_importance(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf *g = model(), *file;
    struct imatrix *m;
    struct imatrix_sums *s = sums_of(g);
    size_t reached, all;
    uint64_t n;
    imatrix_sums_count(s, &reached, &all);
    assert_true(reached == 3 && all == 4);
    assert_ok(imatrix_sums_write(s, test_file("im.gguf"), "a text", 5, 512, &e), &e);
    assert_ok(imatrix_open(&m, test_file("im.gguf"), &e), &e);
    assert_int_equal(imatrix_n_entries(m), 2);
    assert_int_equal(imatrix_n_chunks(m), 5);
    assert_true(imatrix_dataset(m).length == 6 && !memcmp(imatrix_dataset(m).text, "a text", 6));
    assert_importance(m, g);
    // As llama.cpp lays it out.
    assert_ok(gguf_open(&file, test_file("im.gguf"), &e), &e);
    const struct gguf_tensor *t = gguf_find_tensor(file, STACK ".in_sum2");
    const struct gguf_tensor *counts = gguf_find_tensor(file, STACK ".counts");
    assert_true(t->type == WT_F32 && t->dims[0] == N_IN && t->dims[1] == EXPERTS);
    assert_true(counts->dims[0] == 1 && counts->dims[1] == EXPERTS);
    assert_true(gguf_get_u64(file, "imatrix.chunk_size", &n) && n == 512);
    gguf_free(file);
    imatrix_free(m);
    imatrix_sums_free(s);
    gguf_free(g);
}

// ---- the old format ----------------------------------------------------------------------------

static void dat_entry(struct gguf_bytes *b, const char *name, uint32_t calls, int n_matrices)
{
    bytes_u32(b, (uint32_t)strlen(name));
    bytes_add(b, name, strlen(name));
    bytes_u32(b, calls);
    bytes_u32(b, (uint32_t)(N_IN * n_matrices));
    for (int x = 0; x < n_matrices; x++)
        for (int c = 0; c < N_IN; c++)
            bytes_f32(b, x == 1 ? 0 : input_of(c, x) * input_of(c, x));
}

static struct gguf_bytes dat(bool end)
{
    struct gguf_bytes b = {0};
    bytes_u32(&b, 2);
    dat_entry(&b, STACK, 4, EXPERTS);
    dat_entry(&b, MATRIX, 4, 1);
    if (end) {
        bytes_u32(&b, 77);
        bytes_u32(&b, 3);
        bytes_add(&b, "set", 3);
    }
    return b;
}

static void old_files_are_read_with_and_without_their_end(void **state)
{
    (void)state;
    struct gguf *g = model();
    for (int end = 0; end < 2; end++) {
        struct err e = {0};
        struct imatrix *m;
        struct gguf_bytes b = dat(end);
        test_write(test_file("old.dat"), b.data, b.size);
        assert_ok(imatrix_open(&m, test_file("old.dat"), &e), &e);
        assert_importance(m, g);
        assert_int_equal(imatrix_n_chunks(m), end ? 77 : 0);
        assert_int_equal(imatrix_dataset(m).length, end ? 3 : 0);
        imatrix_free(m);
        bytes_free(&b);
    }
    gguf_free(g);
}

static void old_files_that_are_cut_short_are_refused(void **state)
{
    (void)state;
    struct gguf_bytes b = dat(false);
    for (size_t n = 0; n < b.size; n += n < 80 ? 1 : 61) {
        struct err e = {0};
        struct imatrix *m;
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, b.data, n);
        assert_int_equal(imatrix_parse(&m, copy, n, "cut.dat", &e), ERR_FAILED);
        assert_non_null(strstr(e.text, "cut.dat: "));
        assert_null(m);
        free(copy);
    }
    bytes_free(&b);
}

static void refused(const void *data, size_t size, const char *says)
{
    struct err e = {0};
    struct imatrix *m;
    assert_int_equal(imatrix_parse(&m, data, size, "x.dat", &e), ERR_FAILED);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void what_is_no_importance_matrix_is_refused(void **state)
{
    (void)state;
    size_t size;
    struct gguf_bytes b = {0};
    gguf_free(model());
    uint8_t *model_bytes = test_read(test_file("model.gguf"), &size);
    refused(model_bytes, size, "no importance matrix");
    free(model_bytes);
    refused("hello, this is a text and nothing else", 38, "no importance matrix");
    bytes_u32(&b, 2);
    dat_entry(&b, MATRIX, 1, 1);
    dat_entry(&b, MATRIX, 1, 1);
    refused(b.data, b.size, "two entries for 'blk.0.ffn_up.weight'");
    bytes_free(&b);
    bytes_u32(&b, UINT32_MAX);
    bytes_zeros(&b, 64);
    refused(b.data, b.size, "no importance matrix");
    bytes_free(&b);
    bytes_u32(&b, 1);
    bytes_u32(&b, 1);
    bytes_add(&b, "x", 1);
    bytes_u32(&b, 1);
    bytes_u32(&b, UINT32_MAX); // more values than there are
    refused(b.data, b.size, "entry 1 of 1 is damaged");
    bytes_free(&b);
}

static void a_gguf_without_counts_is_refused(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf_writer *w;
    struct imatrix *m;
    float x[4] = {1, 1, 1, 1};
    assert_ok(gguf_writer_open(&w, test_file("counts.gguf"), &e), &e);
    gguf_put_string(w, "general.type", "imatrix", 7);
    gguf_declare(w, "a.weight.in_sum2", WT_F32, 1, (uint64_t[]){4});
    gguf_write(w, x, sizeof x);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    assert_int_equal(imatrix_open(&m, test_file("counts.gguf"), &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "'a.weight' has no counts"));
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    struct err e = {0}, f = {0};
    struct imatrix *m;
    assert_int_equal(imatrix_open(&m, "/nowhere/im.gguf", &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "/nowhere/im.gguf: cannot be read: No such file"));
    test_write(test_file("empty.dat"), "", 0);
    assert_int_equal(imatrix_open(&m, test_file("empty.dat"), &f), ERR_FAILED);
    assert_non_null(strstr(f.text, "is empty"));
}

// ---- quantizing with it ------------------------------------------------------------------------

static int plan_with(const struct gguf_bytes *b, struct quantize_plan *p, const struct gguf *g,
                     struct err *e)
{
    struct imatrix *m;
    assert_ok(imatrix_parse(&m, b->data, b->size, "x.dat", e), e);
    struct quantization how = {.recipe = recipe_find("Q4_K_M"),
                               .importance = m,
                               .importance_name = "x.dat",
                               .output_type = -1,
                               .embedding_type = -1};
    int rc = quantize_plan(p, g, &how, e);
    if (rc)
        imatrix_free(m);
    return rc;
}

static void importance_of_another_model_is_refused(void **state)
{
    (void)state;
    struct gguf *g = model();
    struct quantize_plan p;
    struct err e = {0}, f = {0};
    struct gguf_bytes b = {0};
    bytes_u32(&b, 1);
    dat_entry(&b, MATRIX, 1, 2); // twice the columns
    assert_int_equal(plan_with(&b, &p, g, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "is of another model"));
    bytes_free(&b);
    static const float wrong[] = {NAN, -1, INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bytes_u32(&b, 1);
        dat_entry(&b, MATRIX, 1, 1);
        memcpy(b.data + b.size - 40, &wrong[i], sizeof wrong[i]);
        f = (struct err){0};
        assert_int_equal(plan_with(&b, &p, g, &f), ERR_FAILED);
        assert_non_null(strstr(f.text, "no sum of squares"));
        bytes_free(&b);
    }
    gguf_free(g);
}

// Mean square error of column c of a tensor's matrix `index` after a way through the file.
static double column_error(const struct gguf *g, const struct gguf *q, const char *name, int index,
                           int column)
{
    const struct gguf_tensor *t[2] = {gguf_find_tensor(g, name), gguf_find_tensor(q, name)};
    float *x[2];
    for (int i = 0; i < 2; i++) {
        size_t size, n = (size_t)N_IN * N_OUT * t[i]->n_pieces;
        uint8_t *file = test_read(gguf_path(i ? q : g), &size);
        x[i] = malloc(n * sizeof **x);
        kernels_for(ISA_SCALAR)->format[t[i]->type].decode(x[i], file + t[i]->offset, n);
        free(file);
    }
    double sum = 0;
    for (int r = 0; r < N_OUT; r++) {
        size_t at = ((size_t)index * N_OUT + (size_t)r) * N_IN + (size_t)column;
        sum += ((double)x[0][at] - (double)x[1][at]) * ((double)x[0][at] - (double)x[1][at]);
    }
    free(x[0]);
    free(x[1]);
    return sum / N_OUT;
}

static void experts_are_weighed_each_by_its_own_inputs(void **state)
{
    (void)state;
    struct gguf *g = model(), *q;
    struct err e = {0};
    struct quantize_plan p;
    struct gguf_bytes b = {0};
    bytes_u32(&b, 1);
    bytes_u32(&b, (uint32_t)strlen(STACK));
    bytes_add(&b, STACK, strlen(STACK));
    bytes_u32(&b, 1);
    bytes_u32(&b, N_IN * EXPERTS);
    for (int i = 0; i < N_IN * EXPERTS; i++) // expert 0: column 5, expert 1: nothing, 2: column 9
        bytes_f32(&b, i == 5 || i == 2 * N_IN + 9 ? 1 : i / N_IN == 1 ? 0 : 1e-5f);
    assert_ok(plan_with(&b, &p, g, &e), &e);
    assert_int_equal(p.n_matrices, 4);
    assert_int_equal(p.n_unweighted, 2); // the single matrix, and expert 1
    assert_ok(quantize_write(&p, test_file("weighed.gguf"), NULL, NULL, &e), &e);
    assert_ok(gguf_open(&q, test_file("weighed.gguf"), &e), &e);
    double five = column_error(g, q, STACK, 0, 5), nine = column_error(g, q, STACK, 2, 9);
    assert_true(five < 0.1 * column_error(g, q, STACK, 2, 5));
    assert_true(nine < 0.1 * column_error(g, q, STACK, 0, 9));
    assert_true(column_error(g, q, STACK, 1, 5) > five);
    struct gguf_string name;
    uint64_t n;
    assert_true(gguf_get_string(q, "quantize.imatrix.file", &name) && name.length == 5);
    assert_true(gguf_get_u64(q, "quantize.imatrix.entries_count", &n) && n == 1);
    imatrix_free((struct imatrix *)p.how.importance);
    quantize_plan_free(&p);
    bytes_free(&b);
    gguf_free(q);
    gguf_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_become_a_file_and_the_file_importance),
        cmocka_unit_test(old_files_are_read_with_and_without_their_end),
        cmocka_unit_test(old_files_that_are_cut_short_are_refused),
        cmocka_unit_test(what_is_no_importance_matrix_is_refused),
        cmocka_unit_test(a_gguf_without_counts_is_refused),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(importance_of_another_model_is_refused),
        cmocka_unit_test(experts_are_weighed_each_by_its_own_inputs),
    };
    return cmocka_run_group_tests_name("imatrix", tests, NULL, NULL);
}
