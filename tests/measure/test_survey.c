// What a machine can do for a model: everything that was asked for is a number that a plan can be
// made with, and nothing else is filled.
#include "support.h"

#include "measure/disk_rate.h"
#include "measure/survey.h"
#include "measure/survey_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct survey_ask small(const uint32_t *types, int n)
{
    return (struct survey_ask){.types = types,
                               .n_types = n,
                               .width = 320, // no multiple of a block
                               .n_ff = 700,
                               .n_heads = 10,
                               .n_kv_heads = 2,
                               .head_dim = 32,
                               .kv_type = KV_F16,
                               .backend = {.n_threads = 2, .isa = ISA_COUNT},
                               .fd = -1,
                               .budget_ns = 1000000};
}

static void what_was_asked_is_measured(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q4_K, WT_F32, WT_IQ2_XXS};
    struct plan_cluster *c = calloc(1, sizeof *c);
    struct plan_machine *m = &c->machines[0];
    struct err e = {0};
    struct survey_ask a = small(types, 3);
    m->memory = 77;
    assert_ok(survey_machine(m, &a, &e), &e);
    c->n = 1;
    assert_ok(profile_check(c, &e), &e);
    assert_int_equal(m->memory, 77);
    assert_true(m->cpu.layer > 0 && m->cpu.attend > 0 && m->cpu.launch > 0 && m->disk == 0);
    bool lanes = kernels_for(isa_detect())->format[WT_Q4_K].matmul_lanes !=
                 kernels_for(ISA_SCALAR)->format[WT_Q4_K].matmul_lanes;
    for (uint32_t t = 0; t < PLAN_TYPES; t++)
        for (int w = 0; w < PLAN_WIDTHS; w++) {
            bool asked = t == WT_Q4_K || t == WT_F32 || t == WT_IQ2_XXS;
            assert_int_equal(m->cpu.product[PLAN_ROWS][t][w] > 0, asked);
            assert_int_equal(m->cpu.product[PLAN_LANES][t][w] > 0, t == WT_Q4_K && lanes);
        }
    // More tokens take longer, by far.
    const double *rows = m->cpu.product[PLAN_ROWS][WT_F32];
    assert_true(rows[2] > rows[0]);
    free(c);
}

static void the_file_is_read(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q8_0};
    struct plan_machine *m = calloc(1, sizeof *m);
    struct err e = {0};
    struct survey_ask a = small(types, 1);
    const char *path = test_file("weights");
    a.size = 24 << 20;
    a.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint8_t *data = malloc(a.size);
    memset(data, 7, a.size);
    assert_int_equal(write(a.fd, data, a.size), (ssize_t)a.size);
    assert_int_equal(fsync(a.fd), 0);
    assert_ok(survey_machine(m, &a, &e), &e);
    // Where nothing goes past the page cache, which holds all of this file, there is no rate.
    struct disk_way way;
    assert_ok(disk_rate_of_models(&way, a.fd, a.size, 1000000, &e), &e);
    assert_int_equal(m->disk > 0, way.measured);
    close(a.fd);
    a.fd = open(test_file("empty"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    a.size = 0;
    assert_int_equal(survey_machine(m, &a, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "empty"));
    close(a.fd);
    free(data);
    free(m);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static void what_was_found_is_kept(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q4_K, WT_F32}, other[] = {WT_Q8_0};
    static struct plan_machine m, same;
    char folder[SURVEY_PATH], path[SURVEY_PATH], another[SURVEY_PATH];
    struct err e = {0};
    bool fresh;
    snprintf(folder, sizeof folder, "%s", test_file("kept"));
    assert_int_equal(mkdir(folder, 0700), 0);
    struct survey_keep keep = {.folder = folder};
    struct survey_ask a = small(types, 2), b = small(other, 1);
    assert_ok(survey_cached(&m, &a, &keep, &fresh, &e), &e);
    assert_true(fresh);
    assert_ok(survey_cached(&same, &a, &keep, &fresh, &e), &e);
    assert_false(fresh);
    // Nine digits are kept.
    assert_float_equal(same.cpu.product[PLAN_ROWS][WT_Q4_K][2] * 1e9,
                       m.cpu.product[PLAN_ROWS][WT_Q4_K][2] * 1e9, 1e-5);
    assert_float_equal(same.cpu.attend * 1e9, m.cpu.attend * 1e9, 1e-5);
    assert_int_equal(same.disk_group, -1);
    survey_path(path, &a, &keep);
    survey_path(another, &b, &keep);
    assert_string_not_equal(path, another);

    static const char *const damaged[] = {
        "",
        "{",
        "[1, 2]",
        "{\"survey\": 1}",
        "{\"survey\": 2, \"products\": {}}",
        "{\"survey\": 1, \"products\": {\"Q4_K\": [[1, 2, -3], [1, 2, 3]]}, \"layer\": 0, "
        "\"token\": 0, \"attend\": 0, \"launch\": 0, \"disk\": 0}",
        "{\"survey\": 1, \"products\": {\"Q9_Z\": [[1, 2, 3], [1, 2, 3]]}, \"layer\": 0, "
        "\"token\": 0, \"attend\": 0, \"launch\": 0, \"disk\": 0}",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        write_text(path, damaged[i]);
        assert_ok(survey_cached(&same, &a, &keep, &fresh, &e), &e);
        assert_true(fresh);
    }
    assert_ok(survey_cached(&same, &a, &keep, &fresh, &e), &e);
    assert_false(fresh);
    keep.again = true;
    assert_ok(survey_cached(&same, &a, &keep, &fresh, &e), &e);
    assert_true(fresh);
    keep = (struct survey_keep){.folder = "/nowhere/to/be/found"};
    assert_ok(survey_cached(&same, &a, &keep, &fresh, &e), &e);
    assert_true(fresh);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const uint32_t none[] = {WT_I32};
    struct plan_machine *m = calloc(1, sizeof *m);
    struct err e = {0};
    struct survey_ask a = small(none, 1);
    assert_int_equal(survey_machine(m, &a, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "cannot be multiplied"));
    a = small(none, 0);
    a.n_heads = 0;
    e = (struct err){0};
    assert_int_equal(survey_machine(m, &a, &e), ERR_FAILED);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_is_measured),
        cmocka_unit_test(the_file_is_read),
        cmocka_unit_test(what_was_found_is_kept),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
