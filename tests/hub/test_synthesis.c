// Random models: shapes, type mixes, sane weights; the same spec gives the same bytes.
#include "support.h"

#include "disk/io.h"
#include "faulty_disk.h"
#include "gguf/gguf.h"
#include "hub/synthesis.h"
#include "kernels/kernels.h"
#include "model/hparams.h"
#include "reference.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct synthesis small(void)
{
    return (struct synthesis){.name = "small",
                              .arch = SYNTHESIS_LLAMA,
                              .vocab = SYNTHESIS_BPE,
                              .n_layers = 8,
                              .n_embd = 256,
                              .n_heads = 4,
                              .n_kv_heads = 2,
                              .head_dim = 64,
                              .n_ff = 512,
                              .n_vocab = 700,
                              .context_length = 128,
                              .rope_theta = 10000,
                              .rms_eps = 1e-5f,
                              .mix = mix_find("Q8_0"),
                              .seed = 1};
}

static struct gguf *made(const struct synthesis *s, const char *name)
{
    struct err e = {0};
    struct gguf *g;
    assert_ok(synthesis_check(s, &e), &e);
    assert_ok(synthesis_write(s, test_file(name), NULL, NULL, &e), &e);
    assert_ok(gguf_open(&g, test_file(name), &e), &e);
    return g;
}

static const char *type_of(const struct gguf *g, const char *name)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, name);
    assert_non_null(t);
    return wtype_info(t->type)->name;
}

static const char *layer_type(const struct gguf *g, int layer, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, what);
    return type_of(g, name);
}

// Mean and deviation of a tensor's exact values, all of them finite.
static void spread(const struct gguf *g, const struct gguf_tensor *t, double *mean, double *dev)
{
    size_t n = (size_t)(t->dims[0] * t->dims[1]);
    uint8_t *raw = malloc(t->size);
    float *x = malloc(n * sizeof *x);
    double sum = 0, squares = 0;
    assert_int_equal(disk_read_full(gguf_part_fd(g, t->part), raw, t->size, (int64_t)t->offset), 0);
    kernels_for(ISA_SCALAR)->format[t->type].decode(x, raw, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(x[i]));
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    *mean = sum / (double)n;
    *dev = sqrt(squares / (double)n - *mean * *mean);
    free(raw);
    free(x);
}

static void assert_sane(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        double mean, dev;
        spread(g, t, &mean, &dev);
        if (strstr(t->name.text, "norm")) {
            assert_true(mean > 0.9 && mean < 1.1 && dev < 0.1);
        } else if (strstr(t->name.text, "bias")) {
            assert_true(fabs(mean) < 0.1 && dev < 0.2);
        } else {
            double right = 1 / sqrt((double)t->dims[0]);
            assert_true(fabs(mean) < 0.05 * right);
            assert_true(dev > 0.9 * right && dev < 1.1 * right);
        }
    }
}

static void every_mix_makes_sane_weights_of_every_architecture(void **state)
{
    (void)state;
    char names[] = MIX_NAMES;
    int n_types = 0;
    static const char *const archs[] = {"llama", "qwen2", "qwen3moe"};
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "), n_types++)
        for (int variant = 0; variant < 3; variant++) {
            struct err e = {0};
            struct hparams h;
            struct synthesis s = small();
            s.mix = mix_find(name);
            assert_non_null(s.mix);
            assert_string_equal(s.mix->name, name);
            s.arch = (enum synthesis_arch)variant;
            s.tied = variant;
            s.n_experts = 32;
            s.n_used = 2;
            struct gguf *g = made(&s, "mix.gguf");
            assert_sane(g);
            assert_ok(hparams_read(&h, g, &e), &e);
            assert_string_equal(h.arch, archs[variant]);
            assert_int_equal(h.experts.n, variant == SYNTHESIS_QWEN3MOE ? 32 : 0);
            assert_true(h.n_layers == 8 && h.n_embd == 256 && h.n_heads == 4 && h.n_kv_heads == 2 &&
                        h.head_dim == 64 && h.n_ff == 512 && h.n_vocab == 700 &&
                        h.context_length == 128 && h.tied_output == s.tied);
            uint64_t weights = 0, parameters = 0;
            for (size_t t = 0; t < gguf_n_tensors(g); t++) {
                weights += gguf_tensor_at(g, t)->size;
                const uint64_t *d = gguf_tensor_at(g, t)->dims;
                parameters += d[0] * d[1] * d[2];
            }
            assert_int_equal(weights, synthesis_weight_bytes(&s));
            assert_int_equal(parameters, synthesis_parameters(&s));
            gguf_free(g);
        }
    for (uint32_t type = 0; type < WT_COUNT; type++) // whatever can be multiplied
        if (kernels_can(type))
            assert_true(mix_find(wtype_info(type)->name)->base == type);
    assert_int_equal(n_types, 27);
    assert_true(mix_find("q5_k_m") == mix_find("Q5_K_M"));
    assert_null(mix_find("Q4_K_X"));
}

static void logits_are_of_the_order_of_one(void **state)
{
    (void)state;
    enum { N = 8 };
    static const int32_t ids[N] = {1, 600, 33, 33, 699, 0, 256, 42};
    for (int variant = 0; variant < 3; variant++) {
        int n_vocab;
        struct synthesis s = small();
        s.arch = (enum synthesis_arch)variant;
        s.n_experts = 4;
        s.n_used = 2;
        s.mix = mix_find("Q4_K_M");
        s.n_layers = 24;
        gguf_free(made(&s, "logits.gguf"));
        double *logits = reference_logits(test_file("logits.gguf"), ids, N, &n_vocab);
        double squares = 0;
        assert_int_equal(n_vocab, s.n_vocab);
        for (int i = 0; i < N * n_vocab; i++)
            squares += logits[i] * logits[i];
        double size = sqrt(squares / (N * n_vocab));
        assert_true(size > 0.5 && size < 2); // false for NaN too
        free(logits);
    }
}

static void the_M_mixes_spend_more_on_half_of_the_sensitive_layers(void **state)
{
    (void)state;
    struct synthesis s = small();
    s.n_layers = 16;
    s.mix = mix_find("Q4_K_M");
    struct gguf *g = made(&s, "m.gguf");
    int more_v = 0, more_down = 0;
    for (int i = 0; i < 16; i++) {
        more_v += !strcmp(layer_type(g, i, "attn_v"), "Q6_K");
        more_down += !strcmp(layer_type(g, i, "ffn_down"), "Q6_K");
        assert_string_equal(layer_type(g, i, "attn_q"), "Q4_K");
        assert_string_equal(layer_type(g, i, "ffn_up"), "Q4_K");
        assert_string_equal(layer_type(g, i, "attn_norm"), "F32");
    }
    assert_true(more_v == 8 && more_down == 8);
    assert_string_equal(type_of(g, "output.weight"), "Q6_K");
    assert_string_equal(type_of(g, "token_embd.weight"), "Q4_K");
    gguf_free(g);
    s.tied = true;
    g = made(&s, "tied.gguf");
    assert_null(gguf_find_tensor(g, "output.weight"));
    assert_string_equal(type_of(g, "token_embd.weight"), "Q6_K");
    gguf_free(g);
}

static void rows_that_are_no_whole_blocks_fall_back(void **state)
{
    (void)state;
    struct synthesis s = small();
    s.n_embd = 96; // whole blocks of 32, not of 256
    s.n_ff = 40;   // neither
    s.mix = mix_find("Q4_K_M");
    struct gguf *g = made(&s, "odd.gguf");
    assert_string_equal(layer_type(g, 1, "attn_q"), "Q5_0");
    assert_string_equal(type_of(g, "output.weight"), "Q8_0");
    assert_string_equal(layer_type(g, 0, "ffn_down"), "F16");
    assert_string_equal(layer_type(g, 1, "attn_output"), "Q4_K"); // 256 inputs
    assert_sane(g);
    gguf_free(g);
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    struct synthesis s = small();
    uint8_t *data[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        s.seed = i == 2 ? 8 : 7;
        gguf_free(made(&s, "seed.gguf"));
        data[i] = test_read(test_file("seed.gguf"), &size[i]);
    }
    assert_true(size[0] == size[1] && size[0] == size[2]);
    assert_memory_equal(data[0], data[1], size[0]);
    assert_memory_not_equal(data[0], data[2], size[0]);
    for (int i = 0; i < 3; i++)
        free(data[i]);
}

static void a_header_says_what_the_file_would(void **state)
{
    (void)state;
    struct synthesis s = small();
    struct err e = {0};
    struct gguf *header, *file = made(&s, "whole.gguf");
    assert_ok(synthesis_header(&s, &header, &e), &e);
    assert_int_equal(gguf_n_tensors(header), gguf_n_tensors(file));
    assert_int_equal(gguf_n_keys(header), gguf_n_keys(file));
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(file, i), *h = gguf_tensor_at(header, i);
        assert_int_equal(t->name.length, h->name.length);
        assert_memory_equal(t->name.text, h->name.text, t->name.length);
        assert_true(t->type == h->type && t->size == h->size && t->offset == h->offset);
    }
    assert_true(gguf_part_size(header, 0) == gguf_part_size(file, 0));
    gguf_free(header);
    gguf_free(file);
}

static void impossible_shapes_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t field;
        int value;
        const char *part;
    } wrong[] = {
        {offsetof(struct synthesis, n_layers), 0, "0 layers"},
        {offsetof(struct synthesis, n_layers), 1025, "1025 layers"},
        {offsetof(struct synthesis, n_embd), -1, "-1 embedding"},
        {offsetof(struct synthesis, n_heads), 0, "0 attention heads"},
        {offsetof(struct synthesis, n_kv_heads), 3, "share 3 key-value heads"},
        {offsetof(struct synthesis, n_kv_heads), 8, "8 key-value heads"},
        {offsetof(struct synthesis, head_dim), 33, "even number"},
        {offsetof(struct synthesis, n_ff), 0, "0 feed-forward"},
        {offsetof(struct synthesis, n_vocab), 100, "100 tokens"},
        {offsetof(struct synthesis, context_length), 0, "0 positions"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        struct synthesis s = small();
        memcpy((char *)&s + wrong[i].field, &wrong[i].value, sizeof(int));
        assert_int_equal(synthesis_check(&s, &e), ERR_USAGE);
        if (!strstr(e.text, wrong[i].part))
            fail_msg("\"%s\" does not say \"%s\"", e.text, wrong[i].part);
    }
}

static void presets_have_the_sizes_of_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double billions;
    } sizes[] = {{"1b", 1.24},  {"3b", 3.21},  {"8b", 8.03},
                 {"14b", 14.8}, {"32b", 32.8}, {"70B", 70.6}};
    struct synthesis s;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct err e = {0};
        assert_true(synthesis_preset(sizes[i].name, &s));
        assert_ok(synthesis_check(&s, &e), &e);
        assert_non_null(strstr(synthesis_presets(), s.name));
        double billions = (double)synthesis_parameters(&s) * 1e-9;
        assert_true(fabs(billions / sizes[i].billions - 1) < 0.01);
    }
    assert_false(synthesis_preset("2b", &s));
}

static bool give_up(void *arg, uint64_t done)
{
    *(uint64_t *)arg = done;
    return false;
}

static void a_file_that_is_given_up_or_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    struct err e = {0}, f = {0};
    uint64_t done = 0;
    struct synthesis s = small();
    s.n_vocab = 20000; // 20 MB, so that progress is told
    s.mix = mix_find("F32");
    const char *path = test_file("given up.gguf");
    assert_int_equal(synthesis_write(&s, path, give_up, &done, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "interrupted"));
    assert_true(done > 0 && done < synthesis_weight_bytes(&s));
    assert_int_equal(access(path, F_OK), -1);
    faulty_disk((struct disk_faults){.full = true, .room = 3 << 20});
    int rc = synthesis_write(&s, path, NULL, NULL, &f);
    assert_true(faulty_disk_end());
    assert_int_equal(rc, ERR_FAILED);
    assert_non_null(strstr(f.text, "No space left on device"));
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mix_makes_sane_weights_of_every_architecture),
        cmocka_unit_test(logits_are_of_the_order_of_one),
        cmocka_unit_test(the_M_mixes_spend_more_on_half_of_the_sensitive_layers),
        cmocka_unit_test(rows_that_are_no_whole_blocks_fall_back),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(a_header_says_what_the_file_would),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(presets_have_the_sizes_of_their_names),
        cmocka_unit_test(a_file_that_is_given_up_or_does_not_fit_leaves_nothing),
    };
    return cmocka_run_group_tests_name("synthesis", tests, NULL, NULL);
}
