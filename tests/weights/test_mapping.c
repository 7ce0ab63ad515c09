// Weights mapped from the model's files: the bytes of each piece at its address, whole files and
// split ones, and files that changed behind our back.
#include "support.h"

#include "faulty_disk.h"
#include "gguf/gguf.h"
#include "tiny_model.h"
#include "weights/weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_bytes(const char *path)
{
    struct err e = {0};
    struct gguf *g;
    struct weights *w;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(weights_open(&w, g, NULL, &e), &e);
    struct piece_source s = weights_source(w);
    for (uint32_t i = 0; i < gguf_n_pieces(g); i++) {
        struct gguf_piece p = gguf_piece_at(g, i);
        int fd = gguf_part_fd(g, p.tensor->part);
        uint8_t *want = malloc(p.size);
        assert_non_null(want);
        assert_int_equal(pread(fd, want, p.size, (off_t)p.offset), p.size);
        weights_need(w, i, 0);
        enum layout layout;
        const uint8_t *got = s.acquire(s.ctx, i, &layout, &e);
        assert_non_null(got);
        assert_int_equal(layout, LAYOUT_ROWS);
        assert_memory_equal(got, want, p.size);
        s.done(s.ctx, i);
        free(want);
    }
    weights_free(w);
    gguf_free(g);
}

static void a_piece_is_its_tensors_bytes(void **state)
{
    (void)state;
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, &(struct tiny_model){.type = WT_Q8_0});
    check_bytes(path);
}

static void an_expert_is_its_matrix_of_the_stack(void **state)
{
    (void)state;
    const char *path = test_file("mixture.gguf");
    tiny_model_write(path, &(struct tiny_model){.arch = "qwen3moe", .type = WT_Q8_0});
    check_bytes(path);
    struct err e = {0};
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_true(gguf_n_pieces(g) > gguf_n_tensors(g));
    gguf_free(g);
}

static void split_files_are_mapped_part_by_part(void **state)
{
    (void)state;
    TESTDATA(path, "models/split/story256-Q4_0-00001-of-00003.gguf");
    check_bytes(path);
}

static void a_file_that_shrank_is_refused(void **state)
{
    (void)state;
    const char *path = test_file("shrunk.gguf");
    tiny_model_write(path, &(struct tiny_model){0});
    struct err e = {0};
    struct gguf *g;
    struct weights *w = NULL;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_int_equal(truncate(path, (off_t)gguf_part_size(g, 0) - 1), 0);
    assert_int_equal(weights_open(&w, g, NULL, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "cut short while it was in use"));
    gguf_free(g);
}

static void a_mapping_that_fails_says_why(void **state)
{
    (void)state;
    const char *path = test_file("unmapped.gguf");
    tiny_model_write(path, &(struct tiny_model){0});
    struct err e = {0};
    struct gguf *g;
    struct weights *w = NULL;
    assert_ok(gguf_open(&g, path, &e), &e);
    faulty_disk((struct disk_faults){.call = DISK_MAP, .nth = 0, .error = ENOMEM});
    assert_int_equal(weights_open(&w, g, NULL, &e), ERR_NO_MEMORY);
    assert_true(faulty_disk_end());
    assert_non_null(strstr(e.text, "cannot be mapped"));
    gguf_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piece_is_its_tensors_bytes),
        cmocka_unit_test(an_expert_is_its_matrix_of_the_stack),
        cmocka_unit_test(split_files_are_mapped_part_by_part),
        cmocka_unit_test(a_file_that_shrank_is_refused),
        cmocka_unit_test(a_mapping_that_fails_says_why),
    };
    return cmocka_run_group_tests_name("mapping", tests, NULL, NULL);
}
