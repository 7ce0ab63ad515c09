// Writing models and reading them back.
#include "support.h"

#include "base/rng.h"
#include "disk/io.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static void write_simple(const char *path, const float *x, const uint8_t *q)
{
    struct err e = {0};
    struct gguf_writer *w;
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_u32(w, "a.u32", 4000000000u);
    gguf_put_u64(w, "a.u64", UINT64_MAX);
    gguf_put_f32(w, "a.f32", 0.5f);
    gguf_put_bool(w, "a.bool", true);
    gguf_put_strings(w, "a.strings", (struct gguf_string[]){{"one", 3}, {"", 0}, {"tw\0", 3}}, 3);
    gguf_put_f32s(w, "a.f32s", (float[]){1, -2}, 2);
    gguf_put_i32s(w, "a.i32s", (int32_t[]){-1, 7, 9}, 3);
    gguf_put_i32s(w, "a.empty", NULL, 0);
    gguf_declare(w, "first", WT_F32, 2, (uint64_t[]){3, 5});
    gguf_declare(w, "second", WT_Q8_0, 1, (uint64_t[]){64});
    gguf_write(w, x, 7); // pieces that respect no border
    gguf_write(w, (const uint8_t *)x + 7, 60 - 7);
    gguf_write(w, q, 68);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    float x[15];
    uint8_t q[68];
    for (int i = 0; i < 15; i++)
        x[i] = (float)i;
    for (int i = 0; i < 68; i++)
        q[i] = (uint8_t)(i * 3);
    const char *path = test_file("simple.gguf");
    write_simple(path, x, q);
    struct err e = {0};
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_n_parts(g), 1);
    assert_int_equal(gguf_n_keys(g), 9);
    assert_string_equal(gguf_path(g), path);
    uint64_t u = 0;
    int64_t s = 0;
    double d = 0;
    bool b = false;
    struct gguf_string text;
    assert_true(gguf_get_u64(g, "a.u32", &u) && u == 4000000000u);
    assert_true(gguf_get_u64(g, "a.u64", &u) && u == UINT64_MAX);
    assert_false(gguf_get_i64(g, "a.u64", &s)); // would lose
    assert_false(gguf_get_f64(g, "a.u64", &d));
    assert_true(gguf_get_f64(g, "a.f32", &d) && d == 0.5);
    assert_true(gguf_get_f64(g, "a.u32", &d) && d == 4e9);
    assert_true(gguf_get_bool(g, "a.bool", &b) && b);
    assert_false(gguf_get_u64(g, "a.bool", &u));
    assert_false(gguf_get_u64(g, "a.u3", &u));
    assert_true(gguf_get_string(g, "general.architecture", &text) && text.length == 5 &&
                !memcmp(text.text, "llama", 5));
    const struct gguf_key *k = gguf_find(g, "a.strings");
    assert_true(k && k->count == 3 && k->element == GGUF_STRING);
    assert_int_equal(gguf_string_at(k, 1).length, 0);
    assert_memory_equal(gguf_string_at(k, 2).text, "tw", 3);
    k = gguf_find(g, "a.i32s");
    assert_true(k && gguf_int_at(k, 0, &s) && s == -1 && gguf_int_at(k, 2, &s) && s == 9);
    k = gguf_find(g, "a.f32s");
    assert_true(k && gguf_float_at(k, 1, &d) && d == -2 && !gguf_int_at(k, 1, &s));
    assert_int_equal(gguf_find(g, "a.empty")->count, 0);

    const struct gguf_tensor *t = gguf_find_tensor(g, "second");
    assert_true(t && t == gguf_tensor_at(g, 1) && t->size == 68 && t->offset % 32 == 0);
    uint8_t back[68];
    assert_int_equal(disk_read_full(gguf_part_fd(g, 0), back, 68, (int64_t)t->offset), 0);
    assert_memory_equal(back, q, 68);
    t = gguf_find_tensor(g, "first");
    assert_true(t && t->dims[0] == 3 && t->dims[1] == 5 && t->dims[2] == 1 && t->n_dims == 2);
    assert_int_equal(disk_read_full(gguf_part_fd(g, 0), back, 60, (int64_t)t->offset), 0);
    assert_memory_equal(back, x, 60);
    assert_null(gguf_find_tensor(g, "thir"));
    gguf_free(g);
}

static void copies_of_keys_are_exact(void **state)
{
    (void)state;
    float x[15] = {0};
    uint8_t q[68] = {0};
    char from[128], to[128];
    strcpy(from, test_file("from.gguf"));
    strcpy(to, test_file("to.gguf"));
    write_simple(from, x, q);
    struct err e = {0};
    struct gguf *a, *b;
    struct gguf_writer *w;
    assert_ok(gguf_open(&a, from, &e), &e);
    assert_ok(gguf_writer_open(&w, to, &e), &e);
    for (size_t i = gguf_n_keys(a); i-- > 0;)
        gguf_put_key(w, gguf_key_at(a, i));
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(&b, to, &e), &e);
    for (size_t i = 0; i < gguf_n_keys(a); i++) {
        const struct gguf_key *k = gguf_key_at(a, i), *c = gguf_key_at(b, gguf_n_keys(a) - 1 - i);
        assert_true(k->name.length == c->name.length && k->type == c->type && k->size == c->size &&
                    k->count == c->count);
        assert_memory_equal(k->data, c->data, k->size);
    }
    struct digest da = gguf_metadata_digest(a), db = gguf_metadata_digest(b);
    assert_memory_equal(&da, &db, sizeof da); // the order of keys does not matter
    assert_int_equal(gguf_n_tensors(b), 0);
    gguf_free(a);
    gguf_free(b);
}

static int files_in_folder(void)
{
    int n = 0;
    DIR *d = opendir(test_folder());
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

static void nothing_is_left_of_an_unfinished_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf_writer *w;
    int before = files_in_folder();
    assert_ok(gguf_writer_open(&w, test_file("unfinished.gguf"), &e), &e);
    gguf_declare(w, "t", WT_F32, 1, (uint64_t[]){1024});
    gguf_write(w, (float[4]){0}, 16);
    assert_int_equal(files_in_folder(), before + 1);
    gguf_writer_free(w);
    assert_int_equal(files_in_folder(), before);
    assert_true(gguf_writer_open(&w, test_file("no/such/folder.gguf"), &e) < 0);
    assert_non_null(strstr(e.text, "cannot be created"));
}

static void large_tensors_pass_through_the_buffer(void **state)
{
    (void)state;
    enum { N = 3 << 20 };
    uint8_t *data = malloc(N), *back = malloc(N);
    struct rng r;
    rng_init(&r, 1);
    for (size_t i = 0; i < N; i += 8)
        memcpy(data + i, &(uint64_t){rng_u64(&r)}, 8);
    struct err e = {0};
    struct gguf_writer *w;
    const char *path = test_file("large.gguf");
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_declare(w, "bytes", WT_I8, 2, (uint64_t[]){1 << 10, 3 << 10});
    gguf_declare(w, "tail", WT_I8, 1, (uint64_t[]){5});
    for (size_t at = 0, step = 1; at < N; at += step, step = step * 3 + 1)
        gguf_write(w, data + at, at + step < N ? step : N - at);
    gguf_write(w, "hello", 5);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    const struct gguf_tensor *t = gguf_find_tensor(g, "bytes");
    assert_int_equal(disk_read_full(gguf_part_fd(g, 0), back, N, (int64_t)t->offset), 0);
    assert_memory_equal(data, back, N);
    t = gguf_find_tensor(g, "tail");
    assert_int_equal(disk_read_full(gguf_part_fd(g, 0), back, 5, (int64_t)t->offset), 0);
    assert_memory_equal(back, "hello", 5);
    gguf_free(g);
    free(data);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(copies_of_keys_are_exact),
        cmocka_unit_test(nothing_is_left_of_an_unfinished_file),
        cmocka_unit_test(large_tensors_pass_through_the_buffer),
    };
    return cmocka_run_group_tests_name("gguf writer", tests, NULL, NULL);
}
