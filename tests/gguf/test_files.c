// Opening model files: whole and split ones, cut ones, on a disk that fails, within bounded memory.
#include "support.h"

#include "faulty_disk.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "gguf_bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

enum { PARTS = 3, ROWS = 40, MEMORY_LIMIT_KIB = 64 << 10 };

// Tensor `i` of the fixture: rows of i + 1 floats.
static void add_tensor(struct gguf_writer *w, int i)
{
    char name[32];
    snprintf(name, sizeof name, "tensor.%d", i);
    gguf_declare(w, name, WT_F32, 2, (uint64_t[]){(uint64_t)i + 1, ROWS});
}

static void add_data(struct gguf_writer *w, int i)
{
    for (int k = 0; k < (i + 1) * ROWS; k++)
        gguf_write(w, &(float){(float)(i * 1000 + k)}, sizeof(float));
}

static void add_keys(struct gguf_writer *w, const char *name)
{
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_string(w, "general.name", name, strlen(name));
    gguf_put_u32(w, "llama.block_count", 2);
    gguf_put_strings(w, "tokenizer.ggml.tokens", (struct gguf_string[]){{"a", 1}, {"bc", 2}}, 2);
}

static void finish(struct gguf_writer *w)
{
    struct err e = {0};
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
}

static struct gguf_writer *begin(const char *path)
{
    struct err e = {0};
    struct gguf_writer *w;
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    return w;
}

// Six tensors in one file.
static const char *write_whole(const char *name)
{
    const char *path = test_file(name);
    struct gguf_writer *w = begin(path);
    add_keys(w, "whole");
    for (int i = 0; i < 6; i++)
        add_tensor(w, i);
    for (int i = 0; i < 6; i++)
        add_data(w, i);
    finish(w);
    return path;
}

static const char *part_path(const char *stem, int part)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%05d-of-%05d.gguf", stem, part + 1, PARTS);
    return test_file(name);
}

// The same tensors in three files; part `wrong` (-1: none) says it is part `no` of `count`.
static void write_split(const char *stem, int wrong, uint32_t no, uint32_t count, uint32_t total)
{
    for (int part = 0; part < PARTS; part++) {
        struct gguf_writer *w = begin(part_path(stem, part));
        gguf_put_u32(w, "split.no", part == wrong ? no : (uint32_t)part);
        gguf_put_u32(w, "split.count", part == wrong ? count : PARTS);
        gguf_put_u32(w, "split.tensors.count", total);
        if (part == 0)
            add_keys(w, "split");
        for (int i = 0; i < 2; i++)
            add_tensor(w, part * 2 + i);
        for (int i = 0; i < 2; i++)
            add_data(w, part * 2 + i);
        finish(w);
    }
}

static void refused(const char *path, const char *part)
{
    struct err e = {0};
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(&g, path, &e), ERR_FAILED);
    if (!strstr(e.text, part))
        fail_msg("\"%s\" does not say \"%s\"", e.text, part);
    assert_null(g);
}

static void a_split_model_opens_by_any_part_and_equals_the_whole(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf *whole, *split;
    assert_ok(gguf_open(&whole, write_whole("whole.gguf"), &e), &e);
    write_split("split", -1, 0, 0, 6);
    for (int by = 0; by < PARTS; by++) {
        assert_ok(gguf_open(&split, part_path("split", by), &e), &e);
        assert_int_equal(gguf_n_parts(split), PARTS);
        assert_int_equal(gguf_n_tensors(split), 6);
        assert_string_equal(gguf_path(split), part_path("split", by));
        for (int i = 0; i < PARTS; i++)
            assert_string_equal(gguf_part_path(split, i), part_path("split", i));
        struct digest a = gguf_metadata_digest(whole), b = gguf_metadata_digest(split);
        assert_memory_equal(&a, &b, sizeof a);
        for (size_t i = 0; i < 6; i++) {
            const struct gguf_tensor *t = gguf_tensor_at(split, i);
            assert_int_equal(t->part, i / 2);
            assert_ok(gguf_tensor_digest(whole, gguf_tensor_at(whole, i), &a, &e), &e);
            assert_ok(gguf_tensor_digest(split, t, &b, &e), &e);
            assert_memory_equal(&a, &b, sizeof a);
        }
        gguf_free(split);
    }
    gguf_free(whole);
}

static void wrong_sets_of_parts_are_refused(void **state)
{
    (void)state;
    write_split("no", 1, 2, PARTS, 6);
    refused(part_path("no", 0), "by its name it is part 2 of 3");
    refused(part_path("no", 1), "by its name it is part 2 of 3");
    write_split("count", 2, 2, 4, 6);
    refused(part_path("count", 0), "by its name it is part 3 of 3");
    refused(part_path("count", 2), "is not named like NAME-00001-of-00004.gguf");
    write_split("alone", 2, 2, 1, 6);
    refused(part_path("alone", 0), "by its name it is part 3 of 3");
    write_split("many", 0, 0, UINT32_MAX, 6);
    refused(part_path("many", 0), "split.count is more than 1024");
    write_split("total", -1, 0, 0, 7);
    refused(part_path("total", 0), "should have 7 tensors, its 3 parts have 6");
    write_split("lost", -1, 0, 0, 6);
    assert_int_equal(unlink(part_path("lost", 1)), 0);
    refused(part_path("lost", 0), "lost-00002-of-00003.gguf: cannot be opened: No such file");
    write_split("name", -1, 0, 0, 6);
    assert_int_equal(rename(part_path("name", 0), test_file("renamed.gguf")), 0);
    refused(test_file("renamed.gguf"), "is not named like NAME-00001-of-00003.gguf");
    write_split("other", -1, 0, 0, 6);
    assert_int_equal(rename(part_path("other", 0), part_path("other", 1)), 0);
    refused(part_path("other", 2), "other-00001-of-00003.gguf: cannot be opened");
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    refused(test_folder(), "is a folder");
    refused(test_file("absent.gguf"), "No such file");
    assert_int_equal(mkfifo(test_file("fifo"), 0600), 0);
    refused(test_file("fifo"), "is a device or a pipe");
    refused("/dev/null", "is a device or a pipe");
}

static void a_file_cut_at_each_of_1000_lengths_is_refused(void **state)
{
    (void)state;
    const char *path = write_whole("cut.gguf");
    struct err e = {0};
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    const struct gguf_tensor *last = gguf_tensor_at(g, 5);
    off_t end = (off_t)(last->offset + last->size);
    gguf_free(g);
    assert_true(end > 1000);
    for (off_t i = 1000; i > 0; i--) {
        assert_int_equal(truncate(path, i == 1000 ? end - 1 : end * i / 1000), 0);
        refused(path, "cut short or damaged");
    }
    assert_int_equal(truncate(path, 0), 0);
    refused(path, "empty");
}

static void every_failing_call_is_told(void **state)
{
    (void)state;
    static const enum disk_call kinds[] = {DISK_OPEN, DISK_STAMP, DISK_PREAD};
    write_split("faulty", -1, 0, 0, 6);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        long n = 0;
        for (;; n++) {
            struct err e = {0};
            struct gguf *g = NULL;
            struct digest d;
            faulty_disk((struct disk_faults){
                .call = kinds[k], .nth = n, .error = EIO, .most = 50, .interrupt = n % 2});
            int rc = gguf_open(&g, part_path("faulty", 1), &e);
            for (size_t i = 0; i < 6 && !rc; i++)
                rc = gguf_tensor_digest(g, gguf_tensor_at(g, i), &d, &e);
            gguf_free(g);
            long opened = faulty_disk_calls(DISK_OPEN), closed = faulty_disk_calls(DISK_CLOSE);
            bool happened = faulty_disk_end();
            assert_int_equal(opened - (happened && kinds[k] == DISK_OPEN), closed);
            if (!happened) {
                assert_ok(rc, &e);
                break;
            }
            assert_int_equal(rc, ERR_FAILED);
            assert_non_null(strstr(e.text, "Input/output error"));
        }
        assert_true(n >= PARTS);
    }
}

static void a_file_that_shrinks_meanwhile_is_told(void **state)
{
    (void)state;
    const char *path = write_whole("shrinks.gguf");
    struct err e = {0}, f = {0};
    struct gguf *g = NULL;
    struct digest d;
    faulty_disk((struct disk_faults){.call = DISK_PREAD});
    assert_int_equal(gguf_open(&g, path, &e), ERR_FAILED);
    assert_true(faulty_disk_end());
    assert_non_null(strstr(e.text, "became shorter"));
    e = (struct err){0};
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(gguf_tensor_digest(g, gguf_tensor_at(g, 5), &d, &f), ERR_FAILED);
    assert_non_null(strstr(f.text, "became shorter"));
    gguf_free(g);
}

static void digests_see_name_type_shape_and_sampled_bytes(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    struct {
        const char *name;
        uint32_t type;
        uint64_t dims[2];
        int64_t changed; // byte that differs, -1: none
    } cases[] = {{"t", WT_I8, {1 << 10, 1 << 10}, -1},       {"u", WT_I8, {1 << 10, 1 << 10}, -1},
                 {"t", WT_I16, {1 << 9, 1 << 10}, -1},       {"t", WT_I8, {1 << 11, 1 << 9}, -1},
                 {"t", WT_I8, {1 << 10, 1 << 10}, 0},        {"t", WT_I8, {1 << 10, 1 << 10}, 4095},
                 {"t", WT_I8, {1 << 10, 1 << 10}, BYTES - 1}};
    enum { N = sizeof cases / sizeof *cases };
    struct digest d[N];
    uint8_t *data = calloc(1, BYTES);
    for (int i = 0; i < N; i++) {
        struct err e = {0};
        struct gguf *g;
        const char *path = test_file("digest.gguf");
        struct gguf_writer *w = begin(path);
        gguf_declare(w, cases[i].name, cases[i].type, 2, cases[i].dims);
        memset(data, 1, BYTES);
        if (cases[i].changed >= 0)
            data[cases[i].changed] = 2;
        gguf_write(w, data, BYTES);
        finish(w);
        assert_ok(gguf_open(&g, path, &e), &e);
        faulty_disk((struct disk_faults){0});
        assert_ok(gguf_tensor_digest(g, gguf_tensor_at(g, 0), &d[i], &e), &e);
        assert_int_equal(faulty_disk_calls(DISK_PREAD), GGUF_SAMPLES);
        faulty_disk_end();
        gguf_free(g);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(&d[i], &d[j], sizeof d[i]);
    }
    free(data);
}

static void metadata_digests_see_what_decides_and_nothing_else(void **state)
{
    (void)state;
    struct digest base = {0};
    for (int change = 0; change < 6; change++) {
        struct err e = {0};
        struct gguf *g;
        const char *path = test_file("metadata.gguf");
        struct gguf_writer *w = begin(path);
        add_keys(w, change == 1 ? "another name" : "whole");
        if (change == 2)
            gguf_put_string(w, "tokenizer.chat_template", "x", 1);
        if (change == 3)
            gguf_put_u32(w, "split.count", 1);
        if (change == 4)
            gguf_put_f32(w, "llama.rope.freq_base", 1);
        if (change == 5)
            gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
        finish(w);
        assert_ok(gguf_open(&g, path, &e), &e);
        struct digest d = gguf_metadata_digest(g);
        gguf_free(g);
        if (!change)
            base = d;
        assert_int_equal(memcmp(&base, &d, sizeof d) != 0, change >= 4);
    }
}

// ---- the writer on a disk that fails -----------------------------------------------------------

static int write_again(const char *path, struct err *e)
{
    struct gguf_writer *w;
    int rc = gguf_writer_open(&w, path, e);
    if (rc)
        return rc;
    static const uint8_t data[3 << 20];
    add_keys(w, "again");
    gguf_declare(w, "t", WT_I8, 1, (uint64_t[]){sizeof data});
    for (size_t at = 0; at < sizeof data; at += sizeof data / 4)
        gguf_write(w, data + at, sizeof data / 4);
    rc = gguf_writer_finish(w, e);
    gguf_writer_free(w);
    return rc;
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

static void a_writer_that_fails_leaves_nothing_and_says_why(void **state)
{
    (void)state;
    static const enum disk_call kinds[] = {DISK_OPEN,  DISK_PWRITE, DISK_FSYNC,
                                           DISK_CLOSE, DISK_RENAME, DISK_NO_CALL};
    const char *path = test_file("again.gguf");
    int before = files_in_folder();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (long n = 0;; n++) {
            struct err e = {0};
            bool full = kinds[k] == DISK_NO_CALL;
            faulty_disk((struct disk_faults){.call = kinds[k],
                                             .nth = n,
                                             .error = EIO,
                                             .full = full,
                                             .room = n * 500000,
                                             .interrupt = n % 2});
            int rc = write_again(path, &e);
            if (!faulty_disk_end()) {
                assert_ok(rc, &e);
                assert_true(n > 0);
                assert_int_equal(files_in_folder(), before + 1);
                assert_int_equal(unlink(path), 0);
                break;
            }
            assert_int_equal(rc, ERR_FAILED);
            const char *why = full ? "No space left on device" : "Input/output error";
            assert_non_null(strstr(e.text, why));
            assert_int_equal(files_in_folder(), before);
        }
}

// ---- memory ------------------------------------------------------------------------------------

// Opens `path` in a child; its verdict, and the most memory it had.
static int open_in_child(const char *path, long *peak_kib)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err e = {0};
        struct gguf *g = NULL;
        _exit(-gguf_open(&g, path, &e));
    }
    int status;
    struct rusage use;
    assert_int_equal(wait4(child, &status, 0, &use), child);
    assert_true(WIFEXITED(status));
    *peak_kib = use.ru_maxrss;
    return WEXITSTATUS(status);
}

static void assert_small(const char *path, int code)
{
    long peak_kib;
    assert_int_equal(open_in_child(path, &peak_kib), code);
    if (peak_kib >= MEMORY_LIMIT_KIB)
        fail_msg("%s took %ld KiB", path, peak_kib);
}

// As large as the limits allow in every way at once; `more` tensors beyond make it refused.
static const char *write_worst(const char *name, uint64_t more)
{
    enum { KEYS = GGUF_MAX_KEYS - 2, PADDING = 10 << 20 };
    struct gguf_bytes b = {0};
    char text[32];
    bytes_prefix(&b, 3, GGUF_MAX_TENSORS, KEYS + 2);
    for (int i = 0; i < KEYS; i++) {
        snprintf(text, sizeof text, "%x", i);
        bytes_key(&b, text, GGUF_BOOL);
        bytes_zeros(&b, 1);
    }
    bytes_key(&b, "strings", GGUF_ARRAY);
    bytes_u32(&b, GGUF_STRING);
    bytes_u64(&b, GGUF_MAX_STRINGS);
    bytes_zeros(&b, (size_t)GGUF_MAX_STRINGS * 8);
    bytes_key(&b, "padding", GGUF_STRING);
    bytes_u64(&b, PADDING);
    bytes_zeros(&b, PADDING);
    for (uint64_t i = 0; i < GGUF_MAX_TENSORS; i++) {
        snprintf(text, sizeof text, "%x", (unsigned)(i % (GGUF_MAX_TENSORS - more)));
        bytes_tensor(&b, text, 1, (uint64_t[]){1}, WT_I8, i * 32);
    }
    assert_true(b.size < GGUF_MAX_HEADER_BYTES && b.size > GGUF_MAX_HEADER_BYTES * 7ll / 8);
    bytes_align(&b, 32);
    const char *path = test_file(name);
    test_write(path, b.data, b.size);
    assert_int_equal(truncate(path, (off_t)b.size + (GGUF_MAX_TENSORS * 32)), 0);
    bytes_free(&b);
    return path;
}

static void no_header_takes_64_MiB_of_memory(void **state)
{
    (void)state;
    if (SANITIZED)
        test_skip("sanitizers need memory of their own");
    assert_small(write_worst("worst.gguf", 0), 0);
    assert_small(write_worst("doubled.gguf", 1), 1);
    struct gguf_bytes b = {0};
    const char *path = test_file("sparse.gguf");
    bytes_prefix(&b, 3, GGUF_MAX_TENSORS, GGUF_MAX_KEYS); // then zeros for 1 TiB
    test_write(path, b.data, b.size);
    assert_int_equal(truncate(path, 1ll << 40), 0);
    assert_small(path, 1);
    bytes_key(&b, "k", GGUF_ARRAY);
    bytes_u32(&b, GGUF_STRING);
    bytes_u64(&b, GGUF_MAX_STRINGS + 1);
    test_write(path, b.data, b.size);
    assert_int_equal(truncate(path, 1ll << 40), 0);
    assert_small(path, 1);
    b.size -= 8 + 4; // an array of bytes instead
    bytes_u32(&b, GGUF_U8);
    bytes_u64(&b, 1ull << 39);
    test_write(path, b.data, b.size);
    assert_int_equal(truncate(path, 1ll << 40), 0);
    assert_small(path, 1);
    bytes_free(&b);
}

// ---- real models -------------------------------------------------------------------------------

static void all_models_of_the_test_data_open(void **state)
{
    (void)state;
    static const char *const folders[] = {"models", "models/split", "vocab"};
    TESTDATA(root, "models");
    (void)root;
    int n = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char folder[1024], path[2048];
        snprintf(folder, sizeof folder, "%s", test_data(folders[i]));
        DIR *d = opendir(folder);
        assert_non_null(d);
        for (struct dirent *f; (f = readdir(d));) {
            if (!strstr(f->d_name, ".gguf") || strstr(f->d_name, ".gguf."))
                continue;
            struct err e = {0};
            struct gguf *g;
            struct digest digest;
            snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
            assert_ok(gguf_open(&g, path, &e), &e);
            assert_non_null(gguf_find(g, "general.architecture"));
            for (size_t t = 0; t < gguf_n_tensors(g); t++)
                assert_ok(gguf_tensor_digest(g, gguf_tensor_at(g, t), &digest, &e), &e);
            assert_int_equal(gguf_n_parts(g), i == 1 ? 3 : 1);
            gguf_free(g);
            n++;
        }
        closedir(d);
    }
    assert_true(n > 20);
}

static void the_split_model_of_the_test_data_equals_the_whole(void **state)
{
    (void)state;
    TESTDATA(whole_path, "models/story256-Q4_0.gguf");
    TESTDATA(split_path, "models/split/story256-Q4_0-00002-of-00003.gguf");
    struct err e = {0};
    struct gguf *whole, *split;
    assert_ok(gguf_open(&whole, whole_path, &e), &e);
    assert_ok(gguf_open(&split, split_path, &e), &e);
    assert_int_equal(gguf_n_tensors(whole), gguf_n_tensors(split));
    struct digest a = gguf_metadata_digest(whole), b = gguf_metadata_digest(split);
    assert_memory_equal(&a, &b, sizeof a);
    for (size_t i = 0; i < gguf_n_tensors(whole); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(whole, i);
        const struct gguf_tensor *u = gguf_find_tensor(split, t->name.text);
        assert_non_null(u);
        assert_ok(gguf_tensor_digest(whole, t, &a, &e), &e);
        assert_ok(gguf_tensor_digest(split, u, &b, &e), &e);
        assert_memory_equal(&a, &b, sizeof a);
    }
    gguf_free(whole);
    gguf_free(split);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_model_opens_by_any_part_and_equals_the_whole),
        cmocka_unit_test(wrong_sets_of_parts_are_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_file_cut_at_each_of_1000_lengths_is_refused),
        cmocka_unit_test(every_failing_call_is_told),
        cmocka_unit_test(a_file_that_shrinks_meanwhile_is_told),
        cmocka_unit_test(digests_see_name_type_shape_and_sampled_bytes),
        cmocka_unit_test(metadata_digests_see_what_decides_and_nothing_else),
        cmocka_unit_test(a_writer_that_fails_leaves_nothing_and_says_why),
        cmocka_unit_test(no_header_takes_64_MiB_of_memory),
        cmocka_unit_test(all_models_of_the_test_data_open),
        cmocka_unit_test(the_split_model_of_the_test_data_equals_the_whole),
    };
    return cmocka_run_group_tests_name("gguf files", tests, NULL, NULL);
}
