// Models that are not as they should be: each ends with one sentence that names what is wrong.
#include "support.h"

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "model/shard.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What is different in a copy of a model file. Keys are named without the architecture.
struct edit {
    const char *key; // left out, unless one of the next four says what it becomes
    enum { LEFT_OUT, A_NUMBER, A_REAL, A_TEXT, AN_ARRAY } becomes;
    uint32_t number;
    float real;
    const char *text;
    const char *tensor; // gets this type and shape, and zeros; `added`: there was none
    bool added;
    uint32_t type;
    uint64_t dims[2];
};

static const char *const global_keys[] = {"general.architecture", "tokenizer.ggml.tokens"};

static void full_name(char out[96], const char *key)
{
    for (size_t i = 0; i < sizeof global_keys / sizeof *global_keys; i++)
        if (!strcmp(global_keys[i], key)) {
            snprintf(out, 96, "%s", key);
            return;
        }
    snprintf(out, 96, "llama.%s", key);
}

static void put_edited_key(struct gguf_writer *w, const char *name, const struct edit *d)
{
    static const int32_t array[2] = {1, 2};
    switch (d->becomes) {
    case LEFT_OUT:
        break;
    case A_NUMBER:
        gguf_put_u32(w, name, d->number);
        break;
    case A_REAL:
        gguf_put_f32(w, name, d->real);
        break;
    case A_TEXT:
        gguf_put_string(w, name, d->text, strlen(d->text));
        break;
    case AN_ARRAY:
        gguf_put_i32s(w, name, array, 2);
        break;
    }
}

static bool is_edited(const struct gguf_tensor *t, const struct edit *d)
{
    return d->tensor && !strcmp(t->name.text, d->tensor);
}

static void write_tensors(struct gguf_writer *w, const struct gguf *g, const struct edit *d)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (is_edited(t, d))
            gguf_declare(w, d->tensor, d->type, d->dims[1] ? 2 : 1, d->dims);
        else
            gguf_declare(w, t->name.text, t->type, t->n_dims, t->dims);
    }
    if (d->added)
        gguf_declare(w, d->tensor, d->type, 1, d->dims);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        size_t size = t->size;
        if (is_edited(t, d)) {
            assert_true(wtype_row_bytes(d->type, d->dims[0], &size));
            size *= d->dims[1] ? d->dims[1] : 1;
        }
        void *data = calloc(1, size);
        assert_non_null(data);
        if (!is_edited(t, d))
            assert_int_equal(pread(gguf_part_fd(g, 0), data, size, (off_t)t->offset), size);
        gguf_write(w, data, size);
        free(data);
    }
    static const float zeros[256];
    if (d->added)
        gguf_write(w, zeros, d->dims[0] * sizeof *zeros);
}

static void copy_edited(const char *from, const char *to, const struct edit *d)
{
    char edited[96] = "";
    struct err e = {0};
    struct gguf *g;
    struct gguf_writer *w;
    assert_ok(gguf_open(&g, from, &e), &e);
    assert_ok(gguf_writer_open(&w, to, &e), &e);
    if (d->key)
        full_name(edited, d->key);
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        if (k->name.length != strlen(edited) || memcmp(k->name.text, edited, k->name.length))
            gguf_put_key(w, k);
    }
    if (d->key)
        put_edited_key(w, edited, d);
    write_tensors(w, g, d);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    gguf_free(g);
}

static const char *whole_model(void)
{
    static char path[256];
    if (!*path) {
        snprintf(path, sizeof path, "%s", test_file("whole.gguf"));
        tiny_model_write(path, &(struct tiny_model){.rope_factors = true});
    }
    return path;
}

// Opens the edited model; `says` NULL: it must open, and `h` gets its hyper-parameters.
static void check_edited(const struct edit *d, const char *says, struct hparams *h)
{
    const char *path = test_file("edited.gguf");
    struct err e = {0};
    struct gguf *g;
    struct model *m = NULL;
    copy_edited(whole_model(), path, d);
    assert_ok(gguf_open(&g, path, &e), &e);
    int rc = model_open(&m, g, &e);
    if (says) {
        assert_int_equal(rc, ERR_FAILED);
        if (!strstr(e.text, says) || !strstr(e.text, "edited.gguf"))
            fail_msg("\"%s\" does not name the file and say \"%s\"", e.text, says);
    } else {
        assert_ok(rc, &e);
        *h = *model_hparams(m);
        model_free(m);
    }
    gguf_free(g);
}

static void impossible_keys_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct edit edit;
        const char *says;
    } cases[] = {
        {{.key = "general.architecture"}, "general.architecture is missing"},
        {{.key = "general.architecture", .becomes = A_TEXT, .text = "mamba\n"},
         "architecture mamba? is not supported; supported: llama, mistral3, qwen2, "},
        {{.key = "block_count"}, "llama.block_count is missing"},
        {{.key = "block_count", .becomes = A_NUMBER}, "block_count is not a number from 1"},
        {{.key = "block_count", .becomes = A_NUMBER, .number = 5}, "blk.4.attn_norm.weight"},
        {{.key = "block_count", .becomes = A_NUMBER, .number = UINT32_MAX}, "block_count"},
        {{.key = "block_count", .becomes = A_TEXT, .text = "4"}, "block_count is not a number"},
        {{.key = "embedding_length", .becomes = A_NUMBER}, "embedding_length is not a number"},
        {{.key = "embedding_length", .becomes = A_NUMBER, .number = 1u << 31}, "embedding_length"},
        {{.key = "embedding_length", .becomes = A_NUMBER, .number = 128}, "token_embd.weight"},
        {{.key = "feed_forward_length", .becomes = A_NUMBER}, "feed_forward_length"},
        {{.key = "attention.sliding_window", .becomes = A_TEXT, .text = "all"},
         "attention.sliding_window is not a number from 0"},
        {{.key = "feed_forward_length", .becomes = AN_ARRAY}, "feed_forward_length"},
        {{.key = "context_length"}, "llama.context_length is missing"},
        {{.key = "context_length", .becomes = A_NUMBER}, "context_length is not a number"},
        {{.key = "attention.head_count"}, "attention.head_count is missing"},
        {{.key = "attention.head_count", .becomes = A_NUMBER}, "attention.head_count is not"},
        {{.key = "attention.head_count", .becomes = AN_ARRAY}, "attention.head_count is not"},
        {{.key = "attention.head_count", .becomes = A_NUMBER, .number = 1u << 30},
         "attention.head_count is not"},
        {{.key = "attention.head_count_kv", .becomes = A_NUMBER}, "head_count_kv is not a number"},
        {{.key = "attention.head_count_kv", .becomes = A_NUMBER, .number = 3},
         "4 attention heads cannot share 3 key-value heads"},
        {{.key = "attention.key_length", .becomes = A_NUMBER}, "key_length is not a number"},
        {{.key = "attention.key_length", .becomes = A_NUMBER, .number = 8},
         "keys of 8 and values of 16"},
        {{.key = "attention.layer_norm_rms_epsilon"}, "layer_norm_rms_epsilon is missing"},
        {{.key = "attention.layer_norm_rms_epsilon", .becomes = A_REAL},
         "rms_epsilon is not a pos"},
        {{.key = "attention.layer_norm_rms_epsilon", .becomes = A_REAL, .real = NAN},
         "rms_epsilon is not a pos"},
        {{.key = "rope.dimension_count", .becomes = A_NUMBER, .number = 15}, "15 of 16 dimensions"},
        {{.key = "rope.dimension_count", .becomes = A_NUMBER, .number = 18}, "18 of 16 dimensions"},
        {{.key = "rope.freq_base", .becomes = A_REAL, .real = -1}, "rope.freq_base is not a pos"},
        {{.key = "rope.freq_base", .becomes = A_REAL, .real = INFINITY}, "rope.freq_base is not"},
        {{.key = "rope.scaling.factor", .becomes = A_REAL}, "rope.scaling.factor is not a pos"},
        {{.key = "rope.scaling.type", .becomes = A_TEXT, .text = "ntk"}, "by the method ntk"},
        {{.key = "rope.scaling.type", .becomes = A_TEXT, .text = "longrope"},
         "rope_factors_long.weight is missing"},
        {{.key = "expert_count", .becomes = A_NUMBER, .number = 8}, "expert_used_count is missing"},
        {{.key = "expert_count", .becomes = A_NUMBER, .number = 2000}, "expert_count is not a num"},
        {{.key = "tokenizer.ggml.tokens", .becomes = AN_ARRAY},
         "the vocabulary has 2 tokens but token_embd.weight 320 rows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_edited(&cases[i].edit, cases[i].says, NULL);
}

static void wrong_tensors_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct edit edit;
        const char *says;
    } cases[] = {
        {{.tensor = "blk.2.ffn_up.weight", .dims = {64, 95}},
         "blk.2.ffn_up.weight has the shape 64 x 95 x 1 x 1 where 64 x 96 is needed"},
        {{.tensor = "blk.0.attn_k.weight", .dims = {32, 64}}, "blk.0.attn_k.weight has the shape"},
        {{.tensor = "blk.1.attn_norm.weight", .dims = {63}},
         "blk.1.attn_norm.weight has the shape"},
        {{.tensor = "output_norm.weight", .type = WT_F16, .dims = {64}},
         "output_norm.weight is of type F16 where F32 is needed"},
        {{.tensor = "blk.3.attn_q.weight", .type = WT_I32, .dims = {64, 64}},
         "blk.3.attn_q.weight is of type I32, which cannot be multiplied"},
        {{.tensor = "output.weight", .dims = {64, 319}}, "output.weight has the shape"},
        {{.tensor = "token_embd.weight", .dims = {64, 321}}, "token_embd.weight 321 rows"},
        {{.tensor = "rope_freqs.weight", .dims = {9}}, "rope_freqs.weight has the shape"},
        {{.tensor = "blk.1.ffn_up.bias", .added = true, .dims = {96}},
         "the tensor blk.1.ffn_up.bias belongs to no llama model that Rondo knows"},
        {{.tensor = "blk.4.attn_norm.weight", .added = true, .dims = {64}},
         "blk.4.attn_norm.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_edited(&cases[i].edit, cases[i].says, NULL);
}

static void each_tensor_that_is_missing_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.1.attn_q.weight",      "blk.1.attn_k.weight",   "blk.2.attn_v.weight",
        "blk.3.attn_output.weight", "blk.3.ffn_norm.weight", "blk.0.ffn_gate.weight",
        "blk.1.ffn_up.weight",      "blk.3.ffn_down.weight", "blk.2.attn_k.bias",
    };
    const char *path = test_file("missing.gguf");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err e = {0};
        struct gguf *g;
        struct model *m = NULL;
        tiny_model_write(path, &(struct tiny_model){.arch = "qwen2", .leave_out = names[i]});
        assert_ok(gguf_open(&g, path, &e), &e);
        assert_int_equal(model_open(&m, g, &e), ERR_FAILED);
        if (!strstr(e.text, names[i]) || !strstr(e.text, "is missing"))
            fail_msg("\"%s\" does not say that %s is missing", e.text, names[i]);
        gguf_free(g);
    }
}

// Without these a file means something else.
static bool is_optional(const char *name)
{
    static const char *const optional[] = {"output.weight", "rope_freqs.weight",
                                           "exp_probs_b.bias"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (strstr(name, optional[i]) && !strstr(name, "attn_output"))
            return true;
    return false;
}

static void check_without(const struct tiny_arch *a, const char *name)
{
    const char *path = test_file("missing.gguf");
    struct tiny_model t = a->model;
    struct err e = {0};
    struct gguf *g;
    struct model *m = NULL;
    t.leave_out = name;
    tiny_model_write(path, &t);
    assert_ok(gguf_open(&g, path, &e), &e);
    int rc = model_open(&m, g, &e);
    if (is_optional(name))
        assert_ok(rc, &e);
    else if (!rc || !strstr(e.text, name) || !strstr(e.text, "is missing"))
        fail_msg("%s without %s: \"%s\"", a->name, name, rc ? e.text : "accepted");
    model_free(m);
    gguf_free(g);
}

// Nothing that a file of an architecture has is passed over in silence when it is not there.
static void every_tensor_of_every_architecture_is_needed(void **state)
{
    (void)state;
    static char path[256];
    for (size_t i = 0; i < n_tiny_archs; i++) {
        struct err e = {0};
        struct gguf *g;
        if (strstr(tiny_archs[i].name, "27b")) // as the small ones
            continue;
        snprintf(path, sizeof path, "%s", test_file("arch.gguf"));
        tiny_model_write(path, &tiny_archs[i].model);
        assert_ok(gguf_open(&g, path, &e), &e);
        for (size_t j = 0; j < gguf_n_tensors(g); j++) {
            const char *name = gguf_tensor_at(g, j)->name.text;
            if (strncmp(name, "blk.", 4) || !strncmp(name, "blk.1.", 6))
                check_without(&tiny_archs[i], name);
        }
        gguf_free(g);
    }
}

static void absent_keys_have_their_defaults(void **state)
{
    (void)state;
    struct hparams h;
    check_edited(&(struct edit){.key = "rope.freq_base"}, NULL, &h);
    assert_true(h.rope_theta == 10000 && h.rope_scale == 1);
    check_edited(&(struct edit){.key = "attention.key_length"}, NULL, &h);
    assert_int_equal(h.head_dim, 16);
    check_edited(&(struct edit){.key = "attention.value_length"}, NULL, &h);
    assert_int_equal(h.head_dim, 16);
    check_edited(&(struct edit){.key = "rope.dimension_count"}, NULL, &h);
    assert_int_equal(h.n_rot, 16);
    assert_int_equal(h.window, 0);
    check_edited(&(struct edit){.key = "rope.scaling.factor", .becomes = A_REAL, .real = 4}, NULL,
                 &h);
    assert_true(h.rope_scale == 0.25f);
    check_edited(&(struct edit){.key = "rope.scale_linear", .becomes = A_REAL, .real = 2}, NULL,
                 &h);
    assert_true(h.rope_scale == 0.5f);
    check_edited(
        &(struct edit){.key = "attention.sliding_window", .becomes = A_NUMBER, .number = 99}, NULL,
        &h);
    assert_int_equal(h.window, 99);
    assert_true(!h.tied_output && !h.attn_bias);
    assert_string_equal(h.name, "tiny");
    assert_int_equal(hparams_kv_page_bytes(&h, 4, KV_F16), 4 * 2 * 2 * 16 * 2 * KV_PAGE_TOKENS);
}

static struct model *open_model(const char *path, struct gguf **g)
{
    struct err e = {0};
    struct model *m;
    assert_ok(gguf_open(g, path, &e), &e);
    assert_ok(model_open(&m, *g, &e), &e);
    return m;
}

static void digests_tell_layers_apart(void **state)
{
    (void)state;
    struct gguf *g, *h;
    struct model *m = open_model(whole_model(), &g), *n;
    const char *path = test_file("other.gguf");
    struct edit d = {.tensor = "blk.2.ffn_up.weight", .dims = {64, 96}};
    copy_edited(whole_model(), path, &d);
    n = open_model(path, &h);
    struct digest a = model_digest(m), b = model_digest(n);
    assert_memory_equal(&a, &b, sizeof a);
    size_t total = 0;
    for (int i = 0; i <= 4; i++) {
        struct err e = {0};
        assert_ok(model_layer_digest(m, i, &a, &e), &e);
        assert_ok(model_layer_digest(n, i, &b, &e), &e);
        assert_int_equal(memcmp(&a, &b, sizeof a) != 0, i == 2);
        assert_int_equal(model_layer_bytes(m, i), model_layer_bytes(n, i));
        total += model_layer_bytes(m, i);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        total -= gguf_tensor_at(g, i)->size;
    assert_int_equal(total, -(8 * sizeof(float))); // all but rope_freqs.weight
    model_free(n);
    gguf_free(h);
    d = (struct edit){.key = "rope.freq_base", .becomes = A_REAL, .real = 500000};
    copy_edited(whole_model(), path, &d);
    n = open_model(path, &h);
    a = model_digest(m);
    b = model_digest(n);
    assert_memory_not_equal(&a, &b, sizeof a);
    model_free(n);
    gguf_free(h);
    model_free(m);
    gguf_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_keys_are_refused_by_name),
        cmocka_unit_test(wrong_tensors_are_refused_by_name),
        cmocka_unit_test(each_tensor_that_is_missing_is_named),
        cmocka_unit_test(every_tensor_of_every_architecture_is_needed),
        cmocka_unit_test(absent_keys_have_their_defaults),
        cmocka_unit_test(digests_tell_layers_apart),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
