// Reading headers that somebody made to be wrong: every one is refused with one sentence.
#include "support.h"

#include "gguf/gguf.h"
#include "gguf_bytes.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What every refusal must be: one printable line, naming the file.
static void assert_sentence(const struct err *e, const char *file, const char *part)
{
    if (!strstr(e->text, part))
        fail_msg("\"%s\" does not say \"%s\"", e->text, part);
    assert_non_null(strstr(e->text, file));
    for (const char *c = e->text; *c; c++)
        assert_true(*c >= 0x20 && *c < 0x7f);
}

// Parses a copy of exactly these bytes, so that asan sees a read past them.
static int parse(struct gguf **out, const struct gguf_bytes *b, size_t size, uint64_t file_size,
                 uint64_t *need, struct err *e)
{
    uint8_t *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, b->data, size);
    int rc = gguf_parse(out, exact, size, file_size, "model.gguf", need, e);
    free(exact);
    return rc;
}

// Refused from memory and as a file, by the same sentence. Empties `b`.
static void refused(struct gguf_bytes *b, const char *part)
{
    struct err e = {0}, f = {0};
    struct gguf *g = NULL;
    uint64_t need;
    assert_int_equal(parse(&g, b, b->size, b->size, &need, &e), ERR_FAILED);
    assert_sentence(&e, "model.gguf", part);
    const char *path = test_file("refused.gguf");
    test_write(path, b->size ? b->data : (const uint8_t *)"", b->size);
    assert_int_equal(gguf_open(&g, path, &f), ERR_FAILED);
    assert_sentence(&f, path, part);
    assert_null(g);
    bytes_free(b);
}

static struct gguf *accepted(struct gguf_bytes *b)
{
    struct err e = {0};
    struct gguf *g;
    uint64_t need;
    assert_ok(parse(&g, b, b->size, b->size, &need, &e), &e);
    bytes_free(b);
    return g;
}

static void versions_2_and_3_are_read(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct gguf_bytes b = {0};
        bytes_prefix(&b, version, 0, 1);
        bytes_key_u32(&b, "k", 5);
        struct gguf *g = accepted(&b);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_alignment(g), 32);
        assert_int_equal(gguf_part_fd(g, 0), -1);
        gguf_free(g);
    }
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 0); // neither keys nor tensors
    struct gguf *g = accepted(&b);
    assert_null(gguf_find(g, "k"));
    assert_null(gguf_find_tensor(g, "t"));
    gguf_free(g);
}

static void other_versions_and_files_are_refused(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    refused(&b, "empty");
    bytes_prefix(&b, 1, 0, 0);
    refused(&b, "version 1 is too old");
    bytes_prefix(&b, 0x03000000, 0, 0);
    refused(&b, "big-endian");
    bytes_prefix(&b, 3, 0, 0);
    memcpy(b.data, "FUGG", 4);
    refused(&b, "big-endian");
    bytes_prefix(&b, 4, 0, 0);
    refused(&b, "version 4 is unknown");
    bytes_prefix(&b, 0, 0, 0);
    refused(&b, "version 0 is unknown");
    bytes_add(&b, "PK\3\4 a zip archive of some kind", 30);
    refused(&b, "not a GGUF file (it starts with \"PK??\")");
    bytes_add(&b, "GG", 2);
    refused(&b, "ends within its first bytes");
}

static void huge_counts_are_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1,          1000,       1 << 20,           1u << 31,
                                      UINT32_MAX, 1ull << 40, UINT64_MAX / 56,   UINT64_MAX / 8,
                                      INT64_MAX,  1ull << 63, UINT64_MAX - 1024, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct gguf_bytes b = {0};
        bytes_prefix(&b, 3, 0, counts[i]);
        refused(&b, "keys, more than");
        bytes_prefix(&b, 3, counts[i], 0);
        refused(&b, "tensors, more than");
    }
}

static void lengths_past_the_end_are_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {8,         1u << 31,       1ull << 40,
                                       INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct gguf_bytes b = {0};
        bytes_prefix(&b, 3, 0, 1);
        bytes_u64(&b, lengths[i]);
        bytes_add(&b, "abcdefg", 7);
        refused(&b, "ends within the name of a key");
        bytes_prefix(&b, 3, 0, 1);
        bytes_key(&b, "k", GGUF_STRING);
        bytes_u64(&b, lengths[i]);
        bytes_add(&b, "abcdefg", 7);
        refused(&b, "ends within a string");
        bytes_prefix(&b, 3, 0, 1);
        bytes_key(&b, "k", GGUF_ARRAY);
        bytes_u32(&b, GGUF_STRING);
        bytes_u64(&b, 1);
        bytes_u64(&b, lengths[i]);
        bytes_add(&b, "abcdefg", 7);
        refused(&b, "ends within an array of strings");
        bytes_prefix(&b, 3, 0, 1);
        bytes_key(&b, "k", GGUF_ARRAY);
        bytes_u32(&b, GGUF_U8);
        bytes_u64(&b, lengths[i]);
        bytes_add(&b, "abcdefg", 7);
        refused(&b, "longer than the file");
    }
}

static void arrays_are_checked(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 1);
    bytes_key(&b, "nest", GGUF_ARRAY);
    bytes_u32(&b, GGUF_ARRAY);
    bytes_u64(&b, 1);
    bytes_zeros(&b, 64);
    refused(&b, "\"nest\" is an array of arrays");
    bytes_prefix(&b, 3, 0, 1);
    bytes_key(&b, "k", GGUF_ARRAY);
    bytes_u32(&b, GGUF_TYPE_COUNT);
    bytes_u64(&b, 1);
    refused(&b, "array of an unknown type");
    bytes_prefix(&b, 3, 0, 1);
    bytes_key(&b, "k", GGUF_ARRAY);
    bytes_u32(&b, GGUF_F64);
    bytes_u64(&b, UINT64_MAX / 8 + 2); // times 8 is 8
    bytes_zeros(&b, 64);
    refused(&b, "longer than the file");
    bytes_prefix(&b, 3, 0, 1);
    bytes_key(&b, "k", 77);
    bytes_zeros(&b, 64);
    refused(&b, "unknown type");
}

static void names_are_checked(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 1);
    bytes_u64(&b, 0);
    bytes_zeros(&b, 64);
    refused(&b, "the name of a key is 0 bytes");
    bytes_prefix(&b, 3, 0, 1);
    bytes_u64(&b, GGUF_MAX_KEY_BYTES);
    bytes_zeros(&b, GGUF_MAX_KEY_BYTES + 64);
    refused(&b, "the name of a key");
    bytes_prefix(&b, 3, 0, 1);
    bytes_u64(&b, 3);
    bytes_add(&b, "a\0b", 3);
    bytes_zeros(&b, 64);
    refused(&b, "NUL");
    bytes_prefix(&b, 3, 0, 2);
    bytes_key_u32(&b, "again\n\x1b[2J", 1);
    bytes_key_u32(&b, "again\n\x1b[2J", 2);
    refused(&b, "key \"again??[2J\" is there twice");
    bytes_prefix(&b, 3, 1, 0);
    bytes_u64(&b, GGUF_MAX_NAME_BYTES + 1);
    bytes_zeros(&b, 1024);
    refused(&b, "the name of a tensor");
}

// A file with one tensor of this kind and `room` bytes of data.
static struct gguf_bytes with_tensor(uint32_t n_dims, const uint64_t *dims, uint32_t type,
                                     uint64_t offset, size_t room)
{
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 1, 0);
    bytes_tensor(&b, "t", n_dims, dims, type, offset);
    bytes_align(&b, 32);
    bytes_zeros(&b, room);
    return b;
}

static void tensors_are_checked(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_dims;
        uint64_t dims[5];
        uint32_t type;
        uint64_t offset;
        const char *part;
    } cases[] = {
        {0, {0}, WT_F32, 0, "0 dimensions"},
        {5, {1, 1, 1, 1, 1}, WT_F32, 0, "5 dimensions"},
        {2, {32, 0}, WT_F32, 0, "dimension of 0"},
        {1, {0}, WT_F32, 0, "dimension of 0"},
        {1, {32}, 4, 0, "unknown type"},
        {1, {32}, WT_COUNT, 0, "unknown type"},
        {1, {32}, UINT32_MAX, 0, "unknown type"},
        {2, {33, 32}, WT_Q8_0, 0, "no whole number of blocks"},
        {2, {32, 256}, WT_Q4_K, 0, "no whole number of blocks"},
        {1, {32}, WT_F32, 16, "multiple of the alignment"},
        {1, {32}, WT_F32, 1, "multiple of the alignment"},
        {1, {257}, WT_F32, 0, "behind the end"},
        {1, {32}, WT_F32, 1024, "behind the end"},
        {1, {32}, WT_F32, 1ull << 40, "behind the end"},
        {1, {32}, WT_F32, UINT64_MAX - 31, "behind the end"},
        {1, {32}, WT_F32, UINT64_MAX - 63, "behind the end"},
        {1, {1ull << 40}, WT_F32, 0, "behind the end"},
        {1, {1ull << 62}, WT_F32, 0, "larger than memory"},
        {1, {UINT64_MAX}, WT_F32, 0, "larger than memory"},
        {2, {1ull << 32, 1ull << 32}, WT_I8, 0, "larger than memory"},
        {4, {1 << 16, 1 << 16, 1 << 16, 1 << 16}, WT_I8, 0, "larger than memory"},
        {3, {1ull << 31, 1ull << 31, 4}, WT_I8, 0, "larger than memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_bytes b =
            with_tensor(cases[i].n_dims, cases[i].dims, cases[i].type, cases[i].offset, 1024);
        refused(&b, cases[i].part);
    }
    struct gguf_bytes b = with_tensor(1, (uint64_t[]){256}, WT_F32, 0, 1024); // just fits
    struct gguf *g = accepted(&b);
    const struct gguf_tensor *t = gguf_find_tensor(g, "t");
    assert_true(t && t->offset + t->size == gguf_part_size(g, 0));
    assert_int_equal(strlen(t->name.text), t->name.length);
    gguf_free(g);
}

static void overlapping_and_repeated_tensors_are_refused(void **state)
{
    (void)state;
    static const uint64_t offsets[][3] = {
        {0, 128, 224}, {0, 96, 256}, {0, 0, 256}, {128, 0, 128}, {256, 128, 160}};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct gguf_bytes b = {0};
        bytes_prefix(&b, 3, 3, 0);
        for (int t = 0; t < 3; t++)
            bytes_tensor(&b, (const char *[]){"a", "b", "c"}[t], 1, (uint64_t[]){32}, WT_F32,
                         offsets[i][t]);
        bytes_align(&b, 32);
        bytes_zeros(&b, 1024);
        refused(&b, "overlaps another tensor");
    }
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 2, 0);
    bytes_tensor(&b, "same", 1, (uint64_t[]){8}, WT_F32, 0);
    bytes_tensor(&b, "same", 1, (uint64_t[]){8}, WT_F32, 32);
    bytes_align(&b, 32);
    bytes_zeros(&b, 64);
    refused(&b, "tensor \"same\" is there twice");
}

static void stacked_matrices_are_pieces_of_their_own(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 4, 0);
    bytes_tensor(&b, "vector", 1, (uint64_t[]){8}, WT_F32, 0);
    bytes_tensor(&b, "stack", 3, (uint64_t[]){8, 2, 3}, WT_F32, 32);
    bytes_tensor(&b, "stacks", 4, (uint64_t[]){32, 2, 1, 4}, WT_Q8_0, 224);
    bytes_tensor(&b, "matrix", 2, (uint64_t[]){8, 2}, WT_F32, 512);
    bytes_align(&b, 32);
    bytes_zeros(&b, 576);
    struct gguf *g = accepted(&b);
    static const uint32_t firsts[] = {0, 1, 4, 8};
    static const uint64_t sizes[] = {32, 64, 68, 64};
    assert_int_equal(gguf_n_pieces(g), 9);
    for (uint32_t i = 0, piece = 0; i < 4; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        uint32_t end = i < 3 ? firsts[i + 1] : 9;
        assert_int_equal(gguf_tensor_piece(g, t), firsts[i]);
        for (uint32_t index = 0; piece < end; piece++, index++) {
            struct gguf_piece p = gguf_piece_at(g, piece);
            assert_ptr_equal(p.tensor, t);
            assert_int_equal(p.index, index);
            assert_int_equal(p.size, sizes[i]);
            assert_int_equal(p.offset, t->offset + index * sizes[i]);
        }
    }
    gguf_free(g);
}

static void more_matrices_than_any_model_has_are_refused(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 2, 0);
    bytes_tensor(&b, "few", 3, (uint64_t[]){1, 1, 8}, WT_F32, 0);
    bytes_tensor(&b, "many", 4, (uint64_t[]){1, 1, GGUF_MAX_PIECES / 4, 4}, WT_F32, 32);
    bytes_align(&b, 32);
    bytes_zeros(&b, 32 + 4 * (size_t)GGUF_MAX_PIECES);
    refused(&b, "with the tensor many there are more than");
}

static void the_alignment_is_checked(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {0, 1, 4, 24, 33, 48, 1 << 21, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct gguf_bytes b = {0};
        bytes_prefix(&b, 3, 0, 1);
        bytes_key_u32(&b, "general.alignment", wrong[i]);
        refused(&b, "not a power of two from 8");
    }
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 1);
    bytes_key_string(&b, "general.alignment", "32");
    refused(&b, "no whole number");
    for (uint32_t align = 8; align <= 1 << 20; align *= 2) {
        bytes_prefix(&b, 3, 2, 1);
        bytes_key_u32(&b, "general.alignment", align);
        bytes_tensor(&b, "a", 1, (uint64_t[]){2}, WT_F32, 0);
        bytes_tensor(&b, "b", 1, (uint64_t[]){2}, WT_F32, align);
        bytes_align(&b, align);
        bytes_zeros(&b, align + 8);
        struct gguf *g = accepted(&b);
        assert_int_equal(gguf_alignment(g), align);
        assert_int_equal(gguf_find_tensor(g, "b")->offset % align, 0);
        gguf_free(g);
    }
}

static void a_prefix_asks_for_more_until_all_headers_are_there(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 1, 2);
    bytes_key_string(&b, "k", "some text");
    bytes_key(&b, "a", GGUF_ARRAY);
    bytes_u32(&b, GGUF_STRING);
    bytes_u64(&b, 2);
    bytes_string(&b, "one");
    bytes_string(&b, "two");
    bytes_tensor(&b, "t", 1, (uint64_t[]){8}, WT_F32, 0);
    size_t headers = b.size;
    bytes_align(&b, 32);
    bytes_zeros(&b, 32);
    for (size_t size = 0; size < headers; size++) {
        struct err e = {0};
        struct gguf *g = NULL;
        uint64_t need = 0;
        int rc = parse(&g, &b, size, b.size, &need, &e);
        assert_int_equal(rc, 1);
        assert_true(need > size && need <= headers);
        assert_null(g);
        assert_int_equal(e.code, 0);
    }
    struct err e = {0};
    struct gguf *g;
    uint64_t need;
    assert_ok(parse(&g, &b, headers, b.size, &need, &e), &e);
    gguf_free(g);
    bytes_free(&b);
}

static void a_header_beyond_its_limit_is_refused(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 1);
    bytes_key(&b, "k", GGUF_STRING);
    bytes_u64(&b, GGUF_MAX_HEADER_BYTES);
    struct err e = {0};
    struct gguf *g;
    uint64_t need;
    assert_int_equal(parse(&g, &b, b.size, 1ull << 40, &need, &e), ERR_FAILED);
    assert_sentence(&e, "model.gguf", "more than 32 MiB of metadata");
    bytes_free(&b);
}

static void numbers_convert_without_loss_or_not_at_all(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    bytes_prefix(&b, 3, 0, 11);
    bytes_key(&b, "u8", GGUF_U8);
    bytes_add(&b, "\xff", 1);
    bytes_key(&b, "i8", GGUF_I8);
    bytes_add(&b, "\xff", 1);
    bytes_key(&b, "u16", GGUF_U16);
    bytes_add(&b, "\xff\xff", 2);
    bytes_key(&b, "i16", GGUF_I16);
    bytes_add(&b, "\xfe\xff", 2);
    bytes_key(&b, "i32", GGUF_I32);
    bytes_u32(&b, 0x80000000);
    bytes_key(&b, "i64", GGUF_I64);
    bytes_u64(&b, (uint64_t)INT64_MIN);
    bytes_key(&b, "u64", GGUF_U64);
    bytes_u64(&b, (1ull << 53) + 1);
    bytes_key(&b, "f64", GGUF_F64);
    bytes_add(&b, &(double){1e300}, 8);
    bytes_key(&b, "odd bool", GGUF_BOOL);
    bytes_add(&b, "\2", 1);
    bytes_key(&b, "f32", GGUF_F32);
    bytes_f32(&b, FLT_MIN);
    bytes_key_string(&b, "string", "12");
    struct gguf *g = accepted(&b);
    uint64_t u = 77;
    int64_t s = 77;
    double d = 77;
    bool flag = true;
    assert_true(gguf_get_u64(g, "u8", &u) && u == 255);
    assert_true(gguf_get_i64(g, "i8", &s) && s == -1);
    assert_false(gguf_get_u64(g, "i8", &u));
    assert_true(gguf_get_u64(g, "u16", &u) && u == 65535);
    assert_true(gguf_get_f64(g, "i16", &d) && d == -2);
    assert_true(gguf_get_i64(g, "i32", &s) && s == INT32_MIN);
    assert_true(gguf_get_i64(g, "i64", &s) && s == INT64_MIN);
    assert_false(gguf_get_f64(g, "i64", &d));
    assert_true(gguf_get_i64(g, "u64", &s) && s == (1ll << 53) + 1);
    assert_false(gguf_get_f64(g, "u64", &d));
    assert_true(gguf_get_f64(g, "f64", &d) && d == 1e300);
    assert_false(gguf_get_i64(g, "f64", &s));
    assert_true(gguf_get_f64(g, "f32", &d) && d == (double)FLT_MIN);
    assert_false(gguf_get_bool(g, "odd bool", &flag));
    struct gguf_string text = {.text = "x", .length = 1};
    assert_false(gguf_get_string(g, "u8", &text));
    assert_false(gguf_get_u64(g, "string", &u) || gguf_get_f64(g, "string", &d));
    assert_int_equal(text.length, 1);
    assert_true(gguf_int_at(gguf_find(g, "u8"), 0, &s) && s == 255);
    assert_int_equal(gguf_string_at(gguf_find(g, "string"), 0).length, 2);
    gguf_free(g);
}

static void every_name_is_found_among_many(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct gguf_bytes b = {0};
    char name[32];
    bytes_prefix(&b, 3, N, N);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "key.%d", i * 7919 % N);
        bytes_key_u32(&b, name, (uint32_t)(i * 7919 % N));
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%d.weight", i * 7919 % N);
        bytes_tensor(&b, name, 1, (uint64_t[]){8}, WT_F32, (uint64_t)(i * 7919 % N) * 32);
    }
    bytes_align(&b, 32);
    bytes_zeros(&b, (size_t)N * 32);
    struct gguf *g = accepted(&b);
    uint64_t first = gguf_find_tensor(g, "blk.0.weight")->offset, v;
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "key.%d", i);
        assert_true(gguf_get_u64(g, name, &v) && v == (uint64_t)i);
        snprintf(name, sizeof name, "blk.%d.weight", i);
        const struct gguf_tensor *t = gguf_find_tensor(g, name);
        assert_true(t && t->offset == first + (uint64_t)i * 32);
        assert_string_equal(t->name.text, name);
    }
    assert_null(gguf_find(g, "key.3000"));
    assert_null(gguf_find(g, "key."));
    assert_null(gguf_find_tensor(g, "blk.0.weight2"));
    gguf_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_2_and_3_are_read),
        cmocka_unit_test(other_versions_and_files_are_refused),
        cmocka_unit_test(huge_counts_are_refused),
        cmocka_unit_test(lengths_past_the_end_are_refused),
        cmocka_unit_test(arrays_are_checked),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(overlapping_and_repeated_tensors_are_refused),
        cmocka_unit_test(stacked_matrices_are_pieces_of_their_own),
        cmocka_unit_test(more_matrices_than_any_model_has_are_refused),
        cmocka_unit_test(the_alignment_is_checked),
        cmocka_unit_test(a_prefix_asks_for_more_until_all_headers_are_there),
        cmocka_unit_test(a_header_beyond_its_limit_is_refused),
        cmocka_unit_test(numbers_convert_without_loss_or_not_at_all),
        cmocka_unit_test(every_name_is_found_among_many),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
