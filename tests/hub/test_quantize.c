// Quantizing model files: which tensor gets what, what is refused, that memory and files are kept
// in order whatever happens, and that nothing but the weights changes.
#include "support.h"

#include "base/rng.h"
#include "disk/io.h"
#include "faulty_disk.h"
#include "gguf/writer.h"
#include "hub/mix.h"
#include "hub/quantization.h"
#include "kernels/encode.h"
#include "kernels/fit.h"
#include "tiny_model.h"

#include <errno.h>
#include <glob.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- files to start from -----------------------------------------------------------------------

struct shape {
    const char *name;
    uint32_t type;
    int n_dims;
    uint64_t dims[4];
};

static float value_of(const struct shape *s, uint64_t i)
{
    struct rng r;
    rng_init(&r, i * 31 + strlen(s->name));
    double bell = 0;
    for (int k = 0; k < 6; k++)
        bell += rng_double(&r) - 0.5;
    return (float)(bell * 0.05);
}

static void write_model(const char *path, const struct shape *shapes, size_t n, float bad,
                        uint64_t bad_at)
{
    struct err e = {0};
    struct gguf_writer *w;
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_string(w, "general.name", "a name", 6);
    gguf_put_u32(w, "general.file_type", 0);
    gguf_put_u32(w, "split.count", 1);
    gguf_put_u32(w, "llama.block_count", 8);
    gguf_put_u32(w, "llama.attention.head_count", 8);
    gguf_put_u32(w, "llama.attention.head_count_kv", 4);
    for (size_t i = 0; i < n; i++)
        gguf_declare(w, shapes[i].name, shapes[i].type, shapes[i].n_dims, shapes[i].dims);
    for (size_t i = 0; i < n; i++) {
        uint64_t count = 1;
        for (int d = 0; d < shapes[i].n_dims; d++)
            count *= shapes[i].dims[d];
        for (uint64_t k = 0; k < count; k++) {
            float x = i == 0 && k == bad_at ? bad : value_of(&shapes[i], k);
            uint8_t bytes[4];
            assert_true(kernels_encode(shapes[i].type, bytes, &x, 1));
            gguf_write(w, bytes, wtype_info(shapes[i].type)->bytes);
        }
    }
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
}

#define NO_BAD 0, UINT64_MAX

static const struct shape all_kinds[] = {
    {"blk.0.attn_q.weight", WT_F16, 2, {256, 64}},
    {"blk.0.attn_v.weight", WT_F16, 2, {256, 32}},
    {"blk.7.attn_v.weight", WT_F16, 2, {256, 32}},
    {"blk.0.attn_output.weight", WT_F16, 2, {256, 64}},
    {"blk.3.ffn_down.weight", WT_BF16, 2, {512, 64}},
    {"blk.3.ffn_up.weight", WT_F32, 2, {256, 64}},
    {"blk.3.ffn_gate.weight", WT_F16, 2, {96, 64}},      // no whole blocks of 256
    {"blk.3.attn_k.weight", WT_F16, 2, {40, 128}},       // nor of 32
    {"blk.3.attn_norm.weight", WT_F32, 1, {256}},        // a vector
    {"blk.3.ffn_norm.weight", WT_BF16, 1, {256}},        // one that is widened
    {"blk.3.attn_q.bias", WT_F32, 1, {64}},              // a bias
    {"blk.3.ffn_gate_inp.weight", WT_F32, 2, {256, 64}}, // a router
    {"blk.3.ffn_up_exps.weight", WT_F16, 3, {256, 32, 3}},
    {"blk.3.ffn_down_exps.weight", WT_F16, 3, {256, 32, 3}},
    {"blk.3.attn_sub_norm.weight", WT_F32, 2, {256, 32}}, // a norm, whatever its shape
    {"blk.3.tiny.weight", WT_F16, 2, {256, 4}},
    {"output.weight", WT_F16, 2, {256, 64}},
    {"token_embd.weight", WT_F16, 2, {256, 64}},
};
enum { ALL_KINDS = sizeof all_kinds / sizeof *all_kinds };

static struct gguf *opened(const char *path)
{
    struct err e = {0};
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    return g;
}

static struct quantization to_type(const char *name)
{
    struct quantization how = {
        .recipe = recipe_find(name), .output_type = -1, .embedding_type = -1, .n_threads = 2};
    assert_non_null(how.recipe);
    return how;
}

// Quantizes `from`; NULL when that is refused.
static struct gguf *quantized(const char *from, const struct quantization *how, const char *to,
                              struct err *e)
{
    struct quantize_plan p = {0};
    struct gguf *g = opened(from);
    int rc = quantize_plan(&p, g, how, e);
    if (!rc)
        rc = quantize_write(&p, to, NULL, NULL, e);
    quantize_plan_free(&p);
    gguf_free(g);
    assert_true(rc <= 0 && (!rc || e->text[0]));
    return rc ? NULL : opened(to);
}

static const char *type_in(const struct gguf *g, const char *name)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, name);
    assert_non_null(t);
    return wtype_info(t->type)->name;
}

static uint8_t *bytes_of(const struct gguf *g, const struct gguf_tensor *t)
{
    uint8_t *data = malloc(t->size);
    assert_non_null(data);
    assert_int_equal(disk_read_full(gguf_part_fd(g, t->part), data, t->size, (int64_t)t->offset),
                     0);
    return data;
}

static float *values_of(const struct gguf *g, const struct gguf_tensor *t, size_t *n)
{
    const struct wtype_info *info = wtype_info(t->type);
    uint8_t *data = bytes_of(g, t);
    *n = t->size / info->bytes * info->width;
    float *x = malloc(*n * sizeof *x);
    assert_non_null(x);
    kernels_for(ISA_SCALAR)->format[t->type].decode(x, data, *n);
    free(data);
    return x;
}

static int files_beside(const char *path)
{
    glob_t found;
    char pattern[4200];
    snprintf(pattern, sizeof pattern, "%s*", path);
    int rc = glob(pattern, 0, NULL, &found), n = rc ? 0 : (int)found.gl_pathc;
    globfree(&found);
    return n;
}

// ---- tests -------------------------------------------------------------------------------------

static void each_tensor_gets_what_its_recipe_says(void **state)
{
    (void)state;
    static const char *const names[] = {"Q8_0",   "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0",
                                        "Q3_K_M", "Q2_K", "IQ4_XS", "F16",    "bf16"};
    static const struct {
        const char *tensor, *types[10];
    } want[] = {
        {"blk.0.attn_q.weight",
         {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.0.attn_v.weight",
         {"Q8_0", "Q6_K", "Q6_K", "Q6_K", "Q4_0", "Q5_K", "Q3_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.7.attn_v.weight",
         {"Q8_0", "Q6_K", "Q6_K", "Q6_K", "Q4_0", "Q4_K", "Q3_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.0.attn_output.weight",
         {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q4_K", "Q3_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.3.ffn_down.weight",
         {"Q8_0", "Q6_K", "Q6_K", "Q6_K", "Q4_0", "Q4_K", "Q3_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.3.ffn_down_exps.weight",
         {"Q8_0", "Q6_K", "Q6_K", "Q6_K", "Q4_0", "Q4_K", "Q3_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.3.ffn_up_exps.weight",
         {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "IQ4_XS", "F16", "BF16"}},
        {"blk.3.ffn_gate.weight",
         {"Q8_0", "Q8_0", "Q5_1", "Q5_0", "Q4_0", "IQ4_NL", "IQ4_NL", "IQ4_NL", "F16", "BF16"}},
        {"blk.3.attn_k.weight",
         {"F16", "F16", "F16", "F16", "F16", "F16", "F16", "F16", "F16", "BF16"}},
        {"output.weight",
         {"Q8_0", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "F16", "BF16"}},
        {"token_embd.weight",
         {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "IQ4_XS", "F16", "BF16"}},
    };
    static const char *const kept[] = {"blk.3.attn_norm.weight",     "blk.3.ffn_norm.weight",
                                       "blk.3.attn_q.bias",          "blk.3.ffn_gate_inp.weight",
                                       "blk.3.attn_sub_norm.weight", "blk.3.tiny.weight"};
    char *from = strdup(test_file("kinds.gguf")), *to = strdup(test_file("recipe.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct err e = {0};
        struct quantization how = to_type(names[k]);
        struct gguf *g = quantized(from, &how, to, &e);
        assert_non_null(g);
        for (size_t i = 0; i < sizeof want / sizeof *want; i++)
            if (strcmp(type_in(g, want[i].tensor), want[i].types[k]))
                fail_msg("%s: %s is %s, not %s", names[k], want[i].tensor,
                         type_in(g, want[i].tensor), want[i].types[k]);
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            assert_string_equal(type_in(g, kept[i]), "F32");
        gguf_free(g);
    }
    assert_null(recipe_find("Q4_K_X"));
    free(from);
    free(to);
}

static void recipes_know_large_models(void **state)
{
    (void)state;
    struct gguf_tensor v = {
        .name = {"blk.9.attn_v.weight", 19}, .type = WT_F16, .dims = {4096, 1024, 1, 1}};
    struct gguf_tensor out = {
        .name = {"blk.9.attn_output.weight", 24}, .type = WT_F16, .dims = {4096, 4096, 1, 1}};
    struct gguf_tensor embedding = {
        .name = {"token_embd.weight", 17}, .type = WT_F16, .dims = {4096, 32000, 1, 1}};
    struct recipe_model plain = {.n_layers = 32, .heads_per_kv = 1};
    struct recipe_model eight = {.n_layers = 32, .heads_per_kv = 4, .n_experts = 8};
    struct recipe_model wide = {.n_layers = 80, .heads_per_kv = 8};
    struct recipe_model tied = {.n_layers = 32, .heads_per_kv = 1, .tied = true};
    const struct recipe *q4 = recipe_find("Q4_K_M"), *q2 = recipe_find("Q2_K");
    assert_int_equal(recipe_type(q4, &plain, &v), WT_Q6_K); // 9 = 4 + 2 + 3
    assert_int_equal(recipe_type(q4, &eight, &v), WT_Q8_0);
    assert_int_equal(recipe_type(q4, &eight, &out), WT_Q5_K);
    assert_int_equal(recipe_type(q4, &plain, &out), WT_Q4_K);
    assert_int_equal(recipe_type(q2, &plain, &v), WT_Q3_K);
    assert_int_equal(recipe_type(q2, &wide, &v), WT_Q5_K);
    assert_int_equal(recipe_type(recipe_find("F16"), &eight, &v), WT_F16);
    assert_int_equal(recipe_type(q2, &plain, &embedding), WT_Q2_K);
    assert_int_equal(recipe_type(q2, &tied, &embedding), WT_Q6_K);
}

static void options_override_the_recipe(void **state)
{
    (void)state;
    struct err e = {0};
    char *from = strdup(test_file("over.gguf")), *to = strdup(test_file("over-q.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    struct quantization how = to_type("Q4_K_M");
    how.pure = true;
    how.embedding_type = WT_F16;
    struct gguf *g = quantized(from, &how, to, &e);
    assert_string_equal(type_in(g, "output.weight"), "Q4_K");
    assert_string_equal(type_in(g, "blk.3.ffn_down.weight"), "Q4_K");
    assert_string_equal(type_in(g, "token_embd.weight"), "F16");
    assert_string_equal(type_in(g, "blk.3.attn_norm.weight"), "F32");
    gguf_free(g);
    how = to_type("Q4_K_M");
    how.output_type = WT_Q8_0;
    g = quantized(from, &how, to, &e);
    assert_string_equal(type_in(g, "output.weight"), "Q8_0");
    gguf_free(g);
    free(from);
    free(to);
}

// Every tensor is what the encoder makes of the whole of it, and what is kept is kept to the bit.
static void weights_are_those_of_the_encoder(void **state)
{
    (void)state;
    struct err e = {0};
    char *from = strdup(test_file("weights.gguf")), *to = strdup(test_file("weights-q.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    struct quantization how = to_type("Q4_K_M");
    struct gguf *g = opened(from), *q = quantized(from, &how, to, &e);
    assert_int_equal(gguf_n_tensors(g), gguf_n_tensors(q));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(g, i), *b = gguf_tensor_at(q, i);
        size_t n;
        float *x = values_of(g, a, &n);
        uint8_t *got = bytes_of(q, b), *want = malloc(b->size);
        assert_string_equal(a->name.text, b->name.text);
        assert_memory_equal(a->dims, b->dims, sizeof a->dims);
        assert_true(kernels_fit(ISA_SCALAR, b->type, want, x, NULL, n));
        assert_memory_equal(got, want, b->size);
        free(x);
        free(got);
        free(want);
    }
    gguf_free(g);
    gguf_free(q);
    free(from);
    free(to);
}

static void metadata_says_what_the_file_now_is(void **state)
{
    (void)state;
    struct err e = {0};
    uint64_t n = 0;
    struct gguf_string name;
    char *from = strdup(test_file("keys.gguf"));
    write_model(from, all_kinds, 1, NO_BAD);
    struct quantization how = to_type("q5_k_m");
    struct gguf *g = quantized(from, &how, test_file("keys-q.gguf"), &e);
    assert_true(gguf_get_u64(g, "general.file_type", &n) && n == 17);
    assert_true(gguf_get_u64(g, "general.quantization_version", &n) && n == 2);
    assert_true(gguf_get_u64(g, "llama.block_count", &n) && n == 8);
    assert_true(gguf_get_string(g, "general.name", &name) && name.length == 6);
    assert_null(gguf_find(g, "split.count"));
    assert_null(gguf_find(g, "quantize.imatrix.file"));
    gguf_free(g);
    free(from);
}

static void threads_change_no_byte(void **state)
{
    (void)state;
    // Several stretches, rows across their borders, and more segments than threads.
    static const struct shape large[] = {{"blk.0.ffn_up.weight", WT_F16, 2, {768, 7000}}};
    char *from = strdup(test_file("large.gguf"));
    write_model(from, large, 1, NO_BAD);
    uint8_t *first = NULL;
    size_t first_size = 0;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct err e = {0};
        struct quantization how = to_type("Q4_0");
        how.n_threads = threads;
        gguf_free(quantized(from, &how, test_file("large-q.gguf"), &e));
        size_t size;
        uint8_t *data = test_read(test_file("large-q.gguf"), &size);
        if (!first) {
            first = data;
            first_size = size;
            continue;
        }
        assert_int_equal(size, first_size);
        assert_memory_equal(data, first, size);
        free(data);
    }
    free(first);
    free(from);
}

static void what_is_no_weight_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *type, *says;
    } cases[] = {
        {NAN, "Q4_K_M", "no number in row 3, column 7"},
        {INFINITY, "Q8_0", "no number in row 3, column 7"},
        {-INFINITY, "F16", "no number in row 3, column 7"},
        {NAN, "BF16", "no number in row 3, column 7"},
        {7e4f, "Q4_0", "beyond 65504 in row 3, column 7, which Q4_0 cannot hold"},
        {-1e30f, "F16", "BF16 can"},
    };
    static const struct shape one = {"blk.0.attn_q.weight", WT_F32, 2, {256, 64}};
    char *from = strdup(test_file("bad.gguf")), *to = strdup(test_file("bad-q.gguf"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct quantization how = to_type(cases[i].type);
        write_model(from, &one, 1, cases[i].value, 3 * 256 + 7);
        assert_null(quantized(from, &how, to, &e));
        if (!strstr(e.text, cases[i].says) || !strstr(e.text, one.name))
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
        assert_int_equal(files_beside(to), 0);
    }
    struct err e = {0};
    struct quantization how = to_type("BF16");
    write_model(from, &one, 1, 1e30f, 5);
    gguf_free(quantized(from, &how, to, &e));
    assert_int_equal(e.code, 0);
    free(from);
    free(to);
}

static void quantized_sources_need_the_option(void **state)
{
    (void)state;
    struct err e = {0}, f = {0};
    char *from = strdup(test_file("twice.gguf")), *once = strdup(test_file("once.gguf"));
    char *twice = strdup(test_file("twice-q.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    struct quantization how = to_type("Q8_0");
    gguf_free(quantized(from, &how, once, &e));
    how = to_type("Q4_K_M");
    assert_null(quantized(once, &how, twice, &e));
    assert_non_null(strstr(e.text, "Q8_0 already"));
    assert_non_null(strstr(e.text, "--requantize"));
    assert_int_equal(files_beside(twice), 0);
    how.requantize = true;
    struct gguf *g = quantized(once, &how, twice, &f);
    assert_string_equal(type_in(g, "blk.0.attn_q.weight"), "Q4_K");
    gguf_free(g);
    how = to_type("Q8_0"); // nothing is to be quantized again
    g = quantized(once, &how, twice, &f);
    size_t a, b;
    uint8_t *x = test_read(once, &a), *y = test_read(twice, &b);
    assert_int_equal(a, b);
    assert_memory_equal(x, y, a);
    free(x);
    free(y);
    gguf_free(g);
    free(from);
    free(once);
    free(twice);
}

static void a_split_model_becomes_one_file(void **state)
{
    (void)state;
    TESTDATA(path, "models/split/story256-Q4_0-00002-of-00003.gguf");
    struct err e = {0};
    char *whole = strdup(test_data("models/story256-Q4_0.gguf"));
    struct quantization how = to_type("Q4_0");
    struct gguf *g = quantized(path, &how, test_file("joined.gguf"), &e), *w = opened(whole);
    assert_int_equal(gguf_n_parts(g), 1);
    assert_int_equal(gguf_n_tensors(g), gguf_n_tensors(w));
    for (size_t i = 0; i < gguf_n_tensors(w); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(w, i);
        const struct gguf_tensor *b = gguf_find_tensor(g, a->name.text);
        uint8_t *x = bytes_of(w, a), *y = bytes_of(g, b);
        assert_int_equal(a->size, b->size);
        assert_memory_equal(x, y, a->size);
        free(x);
        free(y);
    }
    gguf_free(g);
    gguf_free(w);
    free(whole);
}

static bool stop_at_once(void *arg, uint64_t done)
{
    *(uint64_t *)arg = done;
    return false;
}

static void a_file_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    uint64_t done = 0;
    char *from = strdup(test_file("up.gguf")), *to = strdup(test_file("up-q.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    struct gguf *g = opened(from);
    struct quantize_plan p;
    struct quantization how = to_type("Q4_K_M");
    assert_ok(quantize_plan(&p, g, &how, &e), &e);
    assert_int_equal(quantize_write(&p, to, stop_at_once, &done, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "interrupted"));
    assert_true(done > 0 && done < p.from_bytes);
    assert_int_equal(files_beside(to), 0);
    quantize_plan_free(&p);
    gguf_free(g);
    free(from);
    free(to);
}

// Every call to the disk fails once, and the disk is full at every 40,000th byte.
static void a_failing_disk_leaves_nothing_and_says_why(void **state)
{
    (void)state;
    static const enum disk_call calls[] = {DISK_OPEN,   DISK_PREAD, DISK_PWRITE,
                                           DISK_RENAME, DISK_FSYNC, DISK_CLOSE};
    char *from = strdup(test_file("disk.gguf")), *to = strdup(test_file("disk-q.gguf"));
    write_model(from, all_kinds, ALL_KINDS, NO_BAD);
    struct gguf *g = opened(from);
    struct quantize_plan p;
    struct err none = {0};
    struct quantization how = to_type("Q8_0");
    assert_ok(quantize_plan(&p, g, &how, &none), &none);
    for (size_t k = 0; k <= sizeof calls / sizeof *calls; k++)
        for (long n = 0;; n++) {
            struct err e = {0};
            bool full = k == sizeof calls / sizeof *calls;
            struct disk_faults fault = {.full = true, .room = n * 40000};
            faulty_disk(full ? fault
                             : (struct disk_faults){.call = calls[k], .nth = n, .error = EIO});
            int rc = quantize_write(&p, to, NULL, NULL, &e);
            bool happened = faulty_disk_end();
            if (!happened) {
                assert_ok(rc, &e);
                assert_int_equal(files_beside(to), 1);
                unlink(to);
                break;
            }
            assert_int_equal(rc, ERR_FAILED);
            assert_non_null(strstr(e.text, full ? "No space left" : "Input/output error"));
            assert_int_equal(files_beside(to), 0);
        }
    quantize_plan_free(&p);
    gguf_free(g);
    free(from);
    free(to);
}

// The most memory that this process had since the last call, in KiB; 0 where that is not told.
static long peak_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    malloc_trim(0);
    f = fopen("/proc/self/clear_refs", "w");
    bool forgotten = f && fputs("5", f) >= 0;
    if (f && fclose(f))
        forgotten = false;
    return forgotten ? kib : 0;
}

// A model of 256 MiB, quantized in a process of its own, whose memory is looked at. It is mostly a
// hole: zeros are weights too.
static void memory_does_not_depend_on_the_size_of_the_model(void **state)
{
    (void)state;
    enum { LIMIT_KIB = 32 << 10 }; // 16 MiB, half a MiB a thread, and some for the program
    static const uint64_t dims[] = {1024, 1 << 17};
    struct err e = {0};
    struct gguf_writer *w;
    char *from = strdup(test_file("hole.gguf"));
    assert_ok(gguf_writer_open(&w, from, &e), &e);
    gguf_declare(w, "blk.0.ffn_up.weight", WT_F16, 2, (uint64_t[]){1024, 1});
    gguf_write(w, (uint8_t[2048]){0}, 2048);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    size_t size;
    uint8_t *header = test_read(from, &size); // one row becomes 2^17
    uint8_t *rows = memmem(header, size, (uint64_t[]){1024, 1}, 16);
    assert_non_null(rows);
    memcpy(rows, dims, sizeof dims);
    test_write(from, header, size);
    free(header);
    assert_int_equal(truncate(from, (off_t)(size - 2048 + dims[0] * dims[1] * 2)), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct quantization how = to_type("Q2_K");
        struct quantize_plan p;
        struct gguf *g;
        peak_kib();
        long before = peak_kib();
        bool bad = gguf_open(&g, from, &e) || quantize_plan(&p, g, &how, &e) ||
                   quantize_write(&p, test_file("hole-q.gguf"), NULL, NULL, &e);
        long kib = peak_kib() - before;
        fprintf(stderr, "# %ld KiB of memory for a model of 256 MiB\n", kib);
        _exit(!before ? 77 : bad || kib > LIMIT_KIB);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        test_skip("this kernel does not tell how much memory a process had at most");
    assert_int_equal(WEXITSTATUS(status), 0);
    unlink(test_file("hole-q.gguf"));
    free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tensor_gets_what_its_recipe_says),
        cmocka_unit_test(recipes_know_large_models),
        cmocka_unit_test(options_override_the_recipe),
        cmocka_unit_test(weights_are_those_of_the_encoder),
        cmocka_unit_test(metadata_says_what_the_file_now_is),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(what_is_no_weight_is_refused_with_its_place),
        cmocka_unit_test(quantized_sources_need_the_option),
        cmocka_unit_test(a_split_model_becomes_one_file),
        cmocka_unit_test(memory_does_not_depend_on_the_size_of_the_model),
        cmocka_unit_test(a_file_that_is_given_up_leaves_nothing),
        cmocka_unit_test(a_failing_disk_leaves_nothing_and_says_why),
    };
    return cmocka_run_group_tests_name("quantize", tests, NULL, NULL);
}
