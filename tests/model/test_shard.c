// Shards: the forward pass against a plain one in double precision, and the same bits however a
// sequence was computed.
#include "support.h"

#include "base/guard.h"
#include "gguf/gguf.h"
#include "reference.h"
#include "rig.h"
#include "tiny_model.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQUENCE = 70, VOCAB = 320 }; // more than a page

static void some_ids(int32_t *ids, int n)
{
    for (int i = 0; i < n; i++)
        ids[i] = (i * 37 + 11) % VOCAB;
}

// ---- what is computed --------------------------------------------------------------------------

static void check_reference(const struct tiny_model *t, int n, double max_diff, double max_kl)
{
    const char *path = test_file("tiny.gguf");
    int32_t ids[SEQUENCE];
    int n_vocab;
    some_ids(ids, n);
    tiny_model_write(path, t);
    double *want = reference_logits(path, ids, n, &n_vocab);
    for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
        struct rig_options o = {.isa = isa, .n_threads = 2, .chunk = 33};
        float *got = rig_logits(path, ids, n, &o, &n_vocab);
        double diff = reference_max_diff(want, got, (size_t)n * (size_t)n_vocab);
        double kl = reference_mean_kl(want, got, n, n_vocab);
        if (!(diff < max_diff && kl < max_kl))
            fail_msg("%s, type %u, %s: difference %g, KL %g", t->arch ? t->arch : "llama", t->type,
                     isa_name(isa), diff, kl);
        free(got);
    }
    free(want);
}

static void every_architecture_is_the_plain_forward_pass(void **state)
{
    (void)state;
    static const struct tiny_model models[] = {
        {.n_layers = 3},
        {.n_layers = 3, .tied = true},
        {.n_layers = 3, .bias = true},
        {.n_layers = 3, .rope_factors = true},
        {.n_layers = 2, .window = 20},
        {.n_layers = 2, .window = 65},
        {.n_layers = 1, .n_heads = 8, .n_kv_heads = 1, .n_ff = 33},
        {.n_layers = 2, .n_heads = 3, .n_kv_heads = 3, .n_embd = 40, .head_dim = 10},
        {.n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .n_embd = 64, .head_dim = 32},
        {.arch = "qwen2", .n_layers = 3, .window = 20}, // which is not for its layers
        {.arch = "qwen2", .n_layers = 2, .tied = true, .rope_factors = true},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_reference(&models[i], SEQUENCE, 1e-3, 1e-8);
}

static void every_weight_type_is_close_to_the_plain_forward_pass(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_F16,  WT_BF16, WT_Q8_0, WT_Q4_0,
                                     WT_Q5_0, WT_Q4_K, WT_Q5_K, WT_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct tiny_model t = {.type = types[i], .n_layers = 2, .n_embd = 256, .n_ff = 512};
        if (types[i] == WT_F16 || types[i] == WT_BF16)
            check_reference(&t, 20, 1e-2, 1e-8);
        else // logits have a spread of 16 here, so activations of 8 bits are seen
            check_reference(&t, 20, 5, 2e-2);
        t.arch = "qwen2";
        if (types[i] == WT_Q4_K)
            check_reference(&t, 20, 5, 2e-2);
    }
}

// ---- invariance --------------------------------------------------------------------------------

static void check_same(const char *path, const struct rig_options *o, const float *want)
{
    int32_t ids[SEQUENCE];
    int n_vocab;
    some_ids(ids, SEQUENCE);
    float *got = rig_logits(path, ids, SEQUENCE, o, &n_vocab);
    assert_int_equal(n_vocab, VOCAB);
    if (memcmp(got, want, (size_t)SEQUENCE * VOCAB * sizeof *got))
        fail_msg("%s: logits differ in chunks of %d, %d threads, %d windows, layout %d",
                 isa_name(o->isa), o->chunk, o->n_threads, o->n_windows, (int)o->weights.form);
    free(got);
}

static const struct window halves[] = {{0, 3}, {3, 5}};
static const struct window singles[] = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}};
static const struct window gaps[] = {{0, 0}, {0, 2}, {2, 2}, {2, 5}, {5, 5}};
static const struct {
    const struct window *windows;
    int n;
} splits[] = {{NULL, 0}, {halves, 2}, {singles, 5}, {gaps, 5}};

static void logits_do_not_depend_on_chunks_threads_windows_or_layouts(void **state)
{
    (void)state;
    static const int chunks[] = {0, 64, 7, 1};
    static const uint32_t types[] = {WT_F32, WT_Q8_0, WT_Q4_K};
    const char *path = test_file("invariant.gguf");
    int32_t ids[SEQUENCE];
    int n_vocab;
    some_ids(ids, SEQUENCE);
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        struct tiny_model t = {.arch = type % 2 ? "qwen2" : "llama",
                               .type = types[type],
                               .n_layers = 5,
                               .window = type == 2 ? 30 : 0,
                               .n_embd = types[type] >= WT_Q4_K ? 256 : 64,
                               .n_ff = types[type] >= WT_Q4_K ? 256 : 96};
        tiny_model_write(path, &t);
        for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
            struct rig_options o = {
                .isa = isa, .kv_type = (enum kv_type)type, .weights = {.form = WEIGHTS_ROWS}};
            float *want = rig_logits(path, ids, SEQUENCE, &o, &n_vocab);
            int n = isa == ISA_SCALAR ? 4 : 9; // each value of each, not each combination
            for (int i = 1; i < n; i++) {
                o.chunk = chunks[i % 4];
                o.n_threads = 1 + i % 3;
                o.windows = splits[(i + i / 4) % 4].windows;
                o.n_windows = splits[(i + i / 4) % 4].n;
                o.weights.form = i % 2 ? WEIGHTS_LANES : WEIGHTS_ROWS;
                check_same(path, &o, want);
            }
            free(want);
        }
    }
}

// Two sessions in one batch, their tokens interleaved, are as each of them alone.
static void sessions_of_a_batch_do_not_see_each_other(void **state)
{
    (void)state;
    enum { N = 70 };
    const char *path = test_file("sessions.gguf");
    tiny_model_write(path, &(struct tiny_model){.type = WT_Q8_0});
    static struct batch_token tokens[2 * N];
    int32_t ids[N];
    int n_vocab;
    some_ids(ids, N);
    struct rig_options o = {.n_threads = 2};
    float *alone = rig_logits(path, ids, N, &o, &n_vocab);
    float *both = malloc(2 * N * VOCAB * sizeof *both);
    assert_non_null(both);
    for (int i = 0; i < 2 * N; i++)
        tokens[i] = (struct batch_token){.id = ids[i / 2],
                                         .session = i % 2 ? 3 : 1,
                                         .pos = (uint32_t)i / 2,
                                         .want = WANT_LOGITS};
    struct rig r;
    rig_open(&r, path, &o);
    rig_pass(&r, &(struct batch){.tokens = tokens, .n_tokens = 2 * N}, both);
    for (int i = 0; i < 2 * N; i++)
        assert_memory_equal(both + i * VOCAB, alone + i / 2 * VOCAB, VOCAB * sizeof *both);
    rig_close(&r);
    free(both);
    free(alone);
}

// ---- sessions and overlapping passes -----------------------------------------------------------

enum { PASSES = 6, LONG = 90, TAIL = 8 };

// A schedule of passes that write, fork, truncate and drop. The last one's logits are compared.
static void make_passes(struct batch *b, struct batch_token (*tokens)[LONG], struct session_op *ops)
{
    static const struct {
        uint32_t session, from;
        int n;
        struct session_op op;
        bool has_op;
    } plan[PASSES] = {
        {0, 0, LONG, {0}, false},
        {1, 70, TAIL, {SESSION_FORK, 1, 0, 70}, true}, // copies a page that pass 0 still fills
        {0, 75, TAIL, {SESSION_TRUNCATE, 0, 0, 75}, true},
        {2, 80, TAIL, {SESSION_FORK, 2, 0, 80}, true},
        {0, 0, 20, {SESSION_DROP, 0, 0, 0}, true}, // its pages go to others
        {3, 85, TAIL, {SESSION_FORK, 3, 2, 85}, true},
    };
    for (int p = 0; p < PASSES; p++) {
        for (int i = 0; i < plan[p].n; i++)
            tokens[p][i] = (struct batch_token){.id = (p * 50 + i * 7) % VOCAB,
                                                .session = plan[p].session,
                                                .pos = plan[p].from + (uint32_t)i,
                                                .want = WANT_LOGITS};
        ops[p] = plan[p].op;
        b[p] = (struct batch){.n_tokens = plan[p].n,
                              .tokens = tokens[p],
                              .n_ops = plan[p].has_op,
                              .ops = &ops[p],
                              .pass = 100 + (uint64_t)p};
    }
}

// Takes the passes through the windows of `r`, at most `in_flight` of them overlapping: window w of
// pass p runs in step p + w * in_flight, as frames that go round a ring do.
static void run_overlapped(struct rig *r, const struct batch *b, int in_flight, float **logits)
{
    struct err e = {0};
    size_t width = (size_t)r->h->n_embd;
    float *hidden[PASSES];
    for (int step = 0; step < PASSES + r->n_windows * in_flight; step++)
        for (int w = r->n_windows - 1; w >= 0; w--) {
            int p = step - w * in_flight;
            if (p < 0 || p >= PASSES)
                continue;
            if (w == 0) {
                hidden[p] = malloc(LONG * width * sizeof(float));
                assert_non_null(hidden[p]);
                assert_ok(shard_begin(r->shard, &b[p], &e), &e);
                assert_ok(shard_embed(r->shard, &b[p], hidden[p], &e), &e);
            }
            assert_ok(shard_run(r->shard, &b[p], r->windows[w], hidden[p], &e), &e);
            if (w == r->n_windows - 1) {
                assert_ok(shard_output(r->shard, &b[p], hidden[p], logits[p], NULL, &e), &e);
                free(hidden[p]);
            }
        }
}

static void overlapping_passes_are_as_one_after_the_other(void **state)
{
    (void)state;
    static struct batch_token tokens[PASSES][LONG];
    struct session_op ops[PASSES];
    struct batch b[PASSES];
    float *want[PASSES], *got[PASSES];
    const char *path = test_file("overlap.gguf");
    tiny_model_write(path, &(struct tiny_model){.n_layers = 5});
    make_passes(b, tokens, ops);
    for (int i = 0; i < PASSES; i++) {
        want[i] = malloc(LONG * VOCAB * sizeof(float));
        got[i] = malloc(LONG * VOCAB * sizeof(float));
        assert_true(want[i] && got[i]);
    }
    struct rig_options o = {.n_threads = 2, .max_context = 128};
    struct rig r;
    rig_open(&r, path, &o); // one window: nothing can overlap
    run_overlapped(&r, b, 1, want);
    rig_close(&r);
    for (int in_flight = 1; in_flight <= 4; in_flight++)
        for (size_t split = 1; split < sizeof splits / sizeof *splits; split++) {
            o.windows = splits[split].windows;
            o.n_windows = splits[split].n;
            rig_open(&r, path, &o);
            run_overlapped(&r, b, in_flight, got);
            rig_close(&r);
            for (int p = 0; p < PASSES; p++)
                assert_memory_equal(got[p], want[p], (size_t)b[p].n_tokens * VOCAB * sizeof(float));
        }
    for (int i = 0; i < PASSES; i++) {
        free(want[i]);
        free(got[i]);
    }
}

// A fork continues as a session that was fed the same tokens does.
static void a_fork_remembers_its_prefix(void **state)
{
    (void)state;
    enum { N = 80, AT = 67 };
    const char *path = test_file("fork.gguf");
    tiny_model_write(path, &(struct tiny_model){.type = WT_Q4_0});
    int32_t ids[N];
    int n_vocab;
    some_ids(ids, N);
    struct rig_options o = {.n_threads = 2, .kv_type = KV_F16};
    float *alone = rig_logits(path, ids, N, &o, &n_vocab);
    static struct batch_token tokens[N];
    static float logits[N * VOCAB];
    struct rig r;
    rig_open(&r, path, &o);
    for (int i = 0; i < N; i++) // the first session goes another way behind AT
        tokens[i] = (struct batch_token){.id = i < AT ? ids[i] : 5, .pos = (uint32_t)i};
    rig_pass(&r, &(struct batch){.tokens = tokens, .n_tokens = N}, NULL);
    for (int i = AT; i < N; i++)
        tokens[i] = (struct batch_token){
            .id = ids[i], .session = 2, .pos = (uint32_t)i, .want = WANT_LOGITS};
    struct session_op fork = {SESSION_FORK, 2, 0, AT};
    struct batch b = {.tokens = tokens + AT, .n_tokens = N - AT, .ops = &fork, .n_ops = 1};
    rig_pass(&r, &b, logits);
    assert_memory_equal(logits, alone + AT * VOCAB, (N - AT) * VOCAB * sizeof(float));
    rig_close(&r);
    free(alone);
}

// ---- what a token asks for, and what is refused ------------------------------------------------

static void tokens_get_what_they_ask_for(void **state)
{
    (void)state;
    enum { N = 50, EMBD = 64 };
    const char *path = test_file("wants.gguf");
    tiny_model_write(path, &(struct tiny_model){0});
    int32_t ids[N];
    int n_vocab, row = 0;
    some_ids(ids, N);
    struct rig_options o = {.n_threads = 2};
    float *alone = rig_logits(path, ids, N, &o, &n_vocab);
    static struct batch_token tokens[N];
    static float hidden[N * EMBD], states[N * EMBD], logits[N * VOCAB];
    for (int i = 0; i < N; i++)
        tokens[i] = (struct batch_token){.id = ids[i], .pos = (uint32_t)i, .want = (uint32_t)i % 3};
    struct batch b = {.tokens = tokens, .n_tokens = N};
    struct err e = {0};
    struct rig r;
    rig_open(&r, path, &o);
    assert_ok(shard_begin(r.shard, &b, &e), &e);
    assert_ok(shard_embed(r.shard, &b, hidden, &e), &e);
    assert_ok(shard_run(r.shard, &b, r.windows[0], hidden, &e), &e);
    assert_ok(shard_output(r.shard, &b, hidden, logits, states, &e), &e);
    for (int i = 0; i < N; i++)
        if (i % 3 == WANT_LOGITS)
            assert_memory_equal(logits + row++ * VOCAB, alone + i * VOCAB, VOCAB * sizeof *alone);
    assert_int_equal(row, 17);
    row = 0;
    for (int i = 0; i < N; i++)
        if (i % 3 == WANT_HIDDEN) {
            double square = 0; // normed, so of length about one before the weights
            for (int j = 0; j < EMBD; j++)
                square += pow((double)states[row * EMBD + j], 2);
            assert_true(square / EMBD > 0.8 && square / EMBD < 1.3);
            row++;
        }
    assert_int_equal(row, 16);
    rig_close(&r);
    free(alone);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static struct batch_token tokens[BATCH_MAX_TOKENS];
    static float hidden[BATCH_MAX_TOKENS * 64];
    const char *path = test_file("refused.gguf");
    tiny_model_write(path, &(struct tiny_model){0});
    struct rig r;
    struct err e = {0};
    rig_open(&r, path, &(struct rig_options){.max_context = 64});
    struct batch b = {.tokens = tokens, .n_tokens = 1, .pass = 5};
    assert_int_equal(shard_run(r.shard, &b, r.windows[0], hidden, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "pass 5 has not begun here"));

    e.code = 0;
    tokens[0].id = VOCAB;
    assert_int_equal(shard_embed(r.shard, &b, hidden, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "no token 320"));
    e.code = 0;
    tokens[0].id = -1;
    assert_int_equal(shard_embed(r.shard, &b, hidden, &e), ERR_FAILED);

    for (int i = 0; i < BATCH_MAX_TOKENS; i++)
        tokens[i] = (struct batch_token){.pos = (uint32_t)i};
    e.code = 0;
    b.n_tokens = 65;
    assert_int_equal(shard_begin(r.shard, &b, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "context of 64 tokens is full"));
    e.code = 0;
    b.n_tokens = BATCH_MAX_TOKENS + 1;
    assert_true(shard_begin(r.shard, &b, &e) < 0);

    struct window all = {0, 4};
    struct shard *s = NULL;
    struct shard_options huge = {.windows = &all,
                                 .n_windows = 1,
                                 .kv_pages = INT32_MAX,
                                 .max_sessions = 1,
                                 .max_context = 64,
                                 .max_batch = 1};
    e.code = 0;
    assert_int_equal(shard_new(&s, r.model, r.weights, r.backend, &huge, &e), ERR_NO_MEMORY);
    e.code = 0;
    huge.kv_pages = 1;
    huge.max_batch = BATCH_MAX_TOKENS + 1;
    assert_int_equal(shard_new(&s, r.model, r.weights, r.backend, &huge, &e), ERR_USAGE);
    rig_close(&r);
}

// Overwrites `size` bytes at the start of a tensor.
static void damage(const char *path, const char *tensor, const void *data, size_t size)
{
    struct gguf *g;
    struct err e = {0};
    assert_ok(gguf_open(&g, path, &e), &e);
    const struct gguf_tensor *t = gguf_find_tensor(g, tensor);
    assert_non_null(t);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, (off_t)t->offset), size);
    close(fd);
    gguf_free(g);
}

static void scales_that_are_no_numbers_do_no_harm(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_F32,  WT_F16,  WT_Q8_0, WT_Q4_0,
                                     WT_Q5_0, WT_Q4_K, WT_Q5_K, WT_Q6_K};
    static const char *const tensors[] = {"token_embd.weight", "blk.0.attn_k.weight",
                                          "blk.1.ffn_down.weight", "output.weight",
                                          "blk.1.attn_norm.weight"};
    const char *path = test_file("nan.gguf");
    uint8_t ones[210]; // NaNs of every size, and the worst of every scale
    memset(ones, 0xff, sizeof ones);
    int32_t ids[8];
    some_ids(ids, 8);
    ids[3] = 0; // the damaged row of the embedding
    for (size_t type = 0; type < sizeof types / sizeof *types; type++)
        for (size_t i = type % 2; i < sizeof tensors / sizeof *tensors; i += 2) {
            int n_vocab;
            struct tiny_model t = {.type = types[type], .n_layers = 2, .n_embd = 256, .n_ff = 256};
            tiny_model_write(path, &t);
            damage(path, tensors[i], ones, sizeof ones);
            struct rig_options o = {.isa = isa_detect(), .n_threads = 2};
            float *logits = rig_logits(path, ids, 8, &o, &n_vocab);
            int wrong = 0;
            for (int j = 0; j < 8 * n_vocab; j++)
                wrong += !isfinite(logits[j]);
            assert_true(wrong > 0); // seen, not hidden
            free(logits);
        }
}

static void factors_that_divide_nothing_are_refused(void **state)
{
    (void)state;
    const char *path = test_file("factors.gguf");
    static const float bad[] = {0, -1, NAN, 1e-45f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gguf *g;
        struct model *m;
        struct weights *w;
        struct backend *b;
        struct shard *s = NULL;
        struct err e = {0};
        tiny_model_write(path, &(struct tiny_model){.rope_factors = true});
        damage(path, "rope_freqs.weight", &bad[i], sizeof *bad);
        assert_ok(gguf_open(&g, path, &e), &e);
        assert_ok(model_open(&m, g, &e), &e);
        assert_ok(weights_open(&w, g, NULL, &e), &e);
        assert_ok(backend_open_cpu(&b, &(struct backend_options){.n_threads = 1}, &e), &e);
        struct window all = {0, 4};
        struct shard_options o = {.windows = &all,
                                  .n_windows = 1,
                                  .kv_pages = 1,
                                  .max_sessions = 1,
                                  .max_context = 8,
                                  .max_batch = 1};
        assert_int_equal(shard_new(&s, m, w, b, &o, &e), ERR_FAILED);
        assert_non_null(strstr(e.text, "element 0 of rope_freqs.weight"));
        backend_free(b);
        weights_free(w);
        model_free(m);
        gguf_free(g);
    }
}

static void generation_allocates_nothing(void **state)
{
    (void)state;
    const char *path = test_file("guard.gguf");
    tiny_model_write(path, &(struct tiny_model){.type = WT_Q4_0});
    struct rig r;
    struct err e = {0};
    static float hidden[64], logits[VOCAB];
    rig_open(&r, path, &(struct rig_options){.n_threads = 2});
    long before = guard_violations();
    guard_enter();
    int rc = 0;
    for (int i = 0; i < 150 && !rc; i++) {
        struct batch_token t = {.id = i, .pos = (uint32_t)i, .want = WANT_LOGITS};
        struct batch b = {.tokens = &t, .n_tokens = 1, .pass = (uint64_t)i};
        rc = shard_begin(r.shard, &b, &e) || shard_embed(r.shard, &b, hidden, &e) ||
             shard_run(r.shard, &b, r.windows[0], hidden, &e) ||
             shard_output(r.shard, &b, hidden, logits, NULL, &e);
    }
    guard_leave();
    assert_ok(rc, &e);
    assert_int_equal(guard_violations(), before);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_is_the_plain_forward_pass),
        cmocka_unit_test(every_weight_type_is_close_to_the_plain_forward_pass),
        cmocka_unit_test(logits_do_not_depend_on_chunks_threads_windows_or_layouts),
        cmocka_unit_test(sessions_of_a_batch_do_not_see_each_other),
        cmocka_unit_test(overlapping_passes_are_as_one_after_the_other),
        cmocka_unit_test(a_fork_remembers_its_prefix),
        cmocka_unit_test(tokens_get_what_they_ask_for),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(scales_that_are_no_numbers_do_no_harm),
        cmocka_unit_test(factors_that_divide_nothing_are_refused),
        cmocka_unit_test(generation_allocates_nothing),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
