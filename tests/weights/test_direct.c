// Weights in memory of our own: the same bits whatever is resident, exactly the bytes that are
// streamed are read, limits that move while it computes, sidecars, disks that fail.
#include "support.h"

#include "faulty_disk.h"
#include "rig.h"
#include "tiny_model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAYERS = 6, PASSES = 5, MOST = 12, SLOTS = 1 << 20 };

static char path[300];

static void model_new(const char *name, const struct tiny_model *t)
{
    snprintf(path, sizeof path, "%s", test_file(name));
    tiny_model_write(path, t);
}

// Passes of several widths; the one that is silent wants no logits, as a chunk of a prompt.
static const int widths[PASSES] = {7, 3, 1, 12, 1};
static int silent = -1;

static int pass(struct rig *r, int i, int *at, float *out)
{
    static struct batch_token tokens[MOST];
    int wanted = 0;
    for (int k = 0; k < widths[i]; k++, ++*at) {
        tokens[k] = (struct batch_token){.id = 3 + *at * 7 % 40, .pos = (uint32_t)*at};
        tokens[k].want = i != silent ? WANT_LOGITS : WANT_NOTHING;
        wanted += i != silent;
    }
    rig_pass(r, &(struct batch){.tokens = tokens, .n_tokens = widths[i]}, out);
    return wanted * r->h->n_vocab;
}

// All logits of a sequence; *n of them. `between` is called before each pass.
static float *logits(const struct rig_options *o, void (*between)(struct rig *r, int pass),
                     struct weights_status *status, int *n)
{
    struct rig r;
    int at = 0;
    rig_open(&r, path, o);
    float *out = malloc((size_t)PASSES * MOST * (size_t)r.h->n_vocab * sizeof *out);
    assert_non_null(out);
    *n = 0;
    for (int i = 0; i < PASSES; i++) {
        if (between)
            between(&r, i);
        *n += pass(&r, i, &at, out + *n);
    }
    *status = weights_status(r.weights);
    rig_close(&r);
    return out;
}

static struct rig_options options(enum residency residency, uint64_t budget)
{
    return (struct rig_options){
        .isa = isa_detect(),
        .n_threads = 2,
        .weights = {.residency = residency, .slots = SLOTS, .budget = budget}};
}

// What budget lets a share of the weights be resident.
static uint64_t budget_of(const struct weights_status *all, double share)
{
    return (uint64_t)((double)all->wanted * share) + all->slots;
}

static void check_budgets(const struct window *windows, int n_windows)
{
    struct weights_status all = {0}, s;
    int n, m;
    struct rig_options o = options(RESIDENCY_MMAP, 0);
    o.windows = windows;
    o.n_windows = n_windows;
    float *want = logits(&o, NULL, &s, &n);
    assert_int_equal(s.residency, RESIDENCY_MMAP);
    for (double share = 1; share > 0; share -= 0.32) {
        uint64_t budget = share == 1 ? UINT64_MAX : budget_of(&all, share);
        o = options(RESIDENCY_DIRECT, budget);
        o.windows = windows;
        o.n_windows = n_windows;
        float *got = logits(&o, NULL, &s, &m);
        if (share == 1)
            all = s;
        assert_int_equal(m, n);
        assert_memory_equal(got, want, (size_t)n * sizeof *want);
        assert_int_equal(s.residency, RESIDENCY_DIRECT);
        assert_true(s.resident == s.wanted && s.resident + s.slots <= budget);
        assert_true(silent >= 0 || !s.wasted_bytes);
        assert_true(share == 1 ? !s.streamed : s.streamed > 0);
        free(got);
    }
    free(want);
}

static void the_bits_are_the_same_whatever_is_resident(void **state)
{
    (void)state;
    static const struct window three[] = {{0, 2}, {2, 2}, {2, 3}, {3, LAYERS}};
    static const uint32_t types[] = {WT_F32, WT_Q4_K, WT_IQ4_XS};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        model_new(
            "shares.gguf",
            &(struct tiny_model){
                .type = types[i], .n_layers = LAYERS, .n_embd = 256, .n_ff = 1024, .tied = i % 2});
        for (silent = -1; silent < 2; silent += 2) {
            check_budgets(NULL, 0);
            check_budgets(three, 4);
        }
    }
}

static void experts_come_when_they_are_asked_for(void **state)
{
    (void)state;
    static const struct tiny_model mixtures[] = {
        {.arch = "qwen3moe", .n_embd = 256, .n_experts = 16, .n_used = 3, .n_ff_expert = 256},
        {.arch = "deepseek2", .n_embd = 256, .n_experts = 16, .n_used = 3, .n_ff_expert = 256},
        {.arch = "gpt-oss", .n_embd = 256, .n_experts = 16, .n_used = 3, .n_ff_expert = 256},
    };
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++) {
        struct weights_status all = {0}, s;
        struct tiny_model t = mixtures[i];
        int n, m;
        t.type = WT_Q8_0;
        t.n_layers = LAYERS;
        model_new("experts.gguf", &t);
        struct rig_options o = options(RESIDENCY_MMAP, 0);
        float *want = logits(&o, NULL, &s, &n);
        for (double share = 1; share > 0.2; share -= 0.35) {
            o = options(RESIDENCY_DIRECT, share == 1 ? UINT64_MAX : budget_of(&all, share));
            float *got = logits(&o, NULL, &s, &m);
            if (share == 1)
                all = s;
            assert_int_equal(m, n);
            assert_memory_equal(got, want, (size_t)n * sizeof *want);
            assert_true(s.read_bytes > 0 && s.resident + s.slots <= o.weights.budget);
            free(got);
        }
        free(want);
    }
}

// ---- prompts -----------------------------------------------------------------------------------

// A prompt of `chunks` chunks on a node with two windows: all go through the first one, then all
// through the second.
static void prompt(struct rig *r, int chunks, bool told, float *out)
{
    enum { CHUNK = 10 };
    static struct batch_token tokens[8][CHUNK];
    static float hidden[8][CHUNK * 256];
    struct batch b[8];
    struct err e = {0};
    for (int i = 0; i < chunks; i++) {
        for (int k = 0; k < CHUNK; k++) {
            int at = i * CHUNK + k;
            bool last = at == chunks * CHUNK - 1;
            tokens[i][k] = (struct batch_token){.id = 3 + at * 7 % 40,
                                                .pos = (uint32_t)at,
                                                .want = last ? WANT_LOGITS : WANT_NOTHING};
        }
        b[i] = (struct batch){.n_tokens = CHUNK,
                              .tokens = tokens[i],
                              .pass = ++r->pass,
                              .behind = told ? (uint32_t)(chunks - 1 - i) : 0};
        assert_ok(shard_begin(r->shard, &b[i], &e), &e);
        assert_ok(shard_embed(r->shard, &b[i], hidden[i], &e), &e);
    }
    for (int w = 0; w < r->n_windows; w++)
        for (int i = 0; i < chunks; i++)
            assert_ok(shard_run(r->shard, &b[i], r->windows[w], hidden[i], &e), &e);
    for (int i = 0; i < chunks; i++)
        assert_ok(shard_output(r->shard, &b[i], hidden[i], out, NULL, &e), &e);
}

// Bytes that a prompt read, and its last logits.
static uint64_t bytes_of(int chunks, bool told, uint64_t slots, uint64_t budget, float *out,
                         struct weights_status *s)
{
    static const struct window two[] = {{0, LAYERS / 2}, {LAYERS / 2, LAYERS}};
    struct rig r;
    struct rig_options o = options(RESIDENCY_DIRECT, budget);
    o.weights.slots = slots;
    o.windows = two;
    o.n_windows = 2;
    rig_open(&r, path, &o);
    prompt(&r, chunks, told, out);
    *s = weights_status(r.weights);
    rig_close(&r);
    return s->read_bytes;
}

static void chunks_of_a_prompt_share_what_the_slots_can_hold(void **state)
{
    (void)state;
    enum { CHUNKS = 6, MIB = 1 << 20 };
    static float want[512], got[512];
    struct weights_status s;
    model_new("prompt.gguf", &(struct tiny_model){
                                 .type = WT_Q8_0, .n_layers = LAYERS, .n_embd = 256, .n_ff = 2048});
    // A window streams about 5 MiB, the slots hold 6 of them, or 4.
    uint64_t most = bytes_of(CHUNKS, false, 6 * MIB, 7 * MIB, want, &s);
    uint64_t once = s.streamed + s.streamed / 8; // parts are read in whole pages
    assert_true(s.streamed > 8 * MIB && s.streamed < 11 * MIB);
    assert_true(most > CHUNKS * s.streamed); // what was not told is read each time
    uint64_t all = bytes_of(CHUNKS, true, 6 * MIB, 7 * MIB, got, &s);
    assert_memory_equal(got, want, sizeof want);
    assert_true(all > s.streamed && all < once + s.slots && !s.wasted_bytes);
    uint64_t some = bytes_of(CHUNKS, true, 4 * MIB, 5 * MIB, got, &s);
    assert_memory_equal(got, want, sizeof want);
    assert_true(some > all && some < most - (CHUNKS - 1) * MIB);
}

// ---- limits that move --------------------------------------------------------------------------

static struct weights_status whole; // everything resident

static void up_and_down(struct rig *r, int pass)
{
    static const double shares[PASSES] = {1, 0.1, 0.6, 0, 0.8};
    weights_limit(r->weights, (uint64_t)((double)whole.wanted * shares[pass]));
    struct weights_status s = weights_status(r->weights);
    assert_true(s.resident <= (uint64_t)((double)whole.wanted * shares[pass]) ||
                s.resident <= whole.wanted / 8); // vectors always stay
    assert_true(s.governed == (s.resident < s.wanted));
}

static void a_lower_limit_streams_more_and_gives_the_same_bits(void **state)
{
    (void)state;
    int n, m;
    model_new("limits.gguf", &(struct tiny_model){
                                 .type = WT_Q4_K, .n_layers = LAYERS, .n_embd = 256, .n_ff = 1024});
    struct rig_options o = options(RESIDENCY_DIRECT, UINT64_MAX);
    float *want = logits(&o, NULL, &whole, &n);
    float *got = logits(&o, up_and_down, &whole, &m);
    assert_int_equal(m, n);
    assert_memory_equal(got, want, (size_t)n * sizeof *want);
    free(want);
    free(got);
}

// Lanes come back a matrix at a time.
static void come_back(struct rig *r)
{
    for (struct weights_status s = weights_status(r->weights); s.governed;) {
        uint64_t before = s.resident;
        weights_limit(r->weights, UINT64_MAX);
        s = weights_status(r->weights);
        assert_true(s.resident > before && s.resident <= s.wanted);
    }
}

static void less_and_less(struct rig *r, int pass)
{
    if (pass == 2)
        come_back(r);
    struct weights_status before = weights_status(r->weights);
    weights_limit(r->weights, before.wanted * (uint64_t)(PASSES - 1 - pass) / (PASSES - 1));
    struct weights_status s = weights_status(r->weights);
    assert_true(before.wanted > 0 && s.resident <= before.resident);
    assert_true(pass < PASSES - 1 || (!s.resident && s.governed));
}

static void lanes_of_mapped_weights_are_let_go_of(void **state)
{
    (void)state;
    int n, m;
    struct weights_status s;
    struct rig_options o = options(RESIDENCY_AUTO, UINT64_MAX);
    o.weights.form = WEIGHTS_LANES;
    float *want = logits(&o, NULL, &s, &n);
    assert_int_equal(s.residency, RESIDENCY_MMAP);
    float *got = logits(&o, less_and_less, &s, &m);
    assert_int_equal(m, n);
    assert_memory_equal(got, want, (size_t)n * sizeof *want);
    free(want);
    free(got);
}

// KiB of this process that are locked in memory.
static long locked(void)
{
    char line[200];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmLck: %ld", &kib);
    fclose(f);
    return kib;
}

static void a_higher_limit_lets_weights_come_back_as_they_are_used(void **state)
{
    (void)state;
    struct rig r;
    struct rig_options o = options(RESIDENCY_DIRECT, UINT64_MAX);
    float *out = malloc((size_t)MOST * 512 * sizeof *out);
    assert_non_null(out);
    rig_open(&r, path, &o);
    long before_all = locked(); // 0: the user's limits do not allow it
    weights_limit(r.weights, 0);
    struct weights_status s = weights_status(r.weights);
    assert_true(!before_all || locked() < before_all);
    assert_true(s.governed && s.streamed > s.resident);
    weights_limit(r.weights, UINT64_MAX);
    for (int at = 0, i = 0; i < 100 && s.governed; i++) {
        uint64_t before = s.resident;
        pass(&r, 2, &at, out);
        s = weights_status(r.weights);
        assert_true(s.resident > before);
    }
    assert_true(!s.governed && s.resident == s.wanted && !s.streamed);
    assert_int_equal(locked(), before_all);
    rig_close(&r);
    free(out);
}

struct restless {
    struct weights *weights;
    atomic_bool stop;
    long turns;
};

static void *limit_restlessly(void *arg)
{
    struct restless *x = arg;
    for (uint64_t i = 1; !atomic_load(&x->stop); i++, x->turns++) {
        weights_limit(x->weights, whole.wanted * (i * 7919 % 101) / 100);
        weights_status(x->weights);
        usleep(100);
    }
    return NULL;
}

static void limits_may_move_while_it_computes(void **state)
{
    (void)state;
    int n, at = 0, m = 0;
    struct weights_status s;
    struct rig_options o = options(RESIDENCY_DIRECT, UINT64_MAX);
    float *want = logits(&o, NULL, &s, &n);
    float *got = malloc((size_t)n * sizeof *got);
    struct rig r;
    pthread_t thread;
    assert_non_null(got);
    rig_open(&r, path, &o);
    struct restless x = {.weights = r.weights};
    assert_int_equal(pthread_create(&thread, NULL, limit_restlessly, &x), 0);
    for (int round = 0; round < 10; round++) {
        struct session_op drop = {.kind = SESSION_TRUNCATE};
        rig_pass(&r, &(struct batch){.ops = &drop, .n_ops = 1}, NULL);
        at = m = 0;
        for (int i = 0; i < PASSES; i++)
            m += pass(&r, i, &at, got + m);
        assert_int_equal(m, n);
        assert_memory_equal(got, want, (size_t)n * sizeof *want);
    }
    atomic_store(&x.stop, true);
    pthread_join(thread, NULL);
    assert_true(x.turns > 0);
    rig_close(&r);
    free(want);
    free(got);
}

// ---- files -------------------------------------------------------------------------------------

static void lanes_of_a_sidecar_are_streamed(void **state)
{
    (void)state;
    struct weights_status s, all;
    int n, m;
    char lanes[320];
    model_new("beside.gguf", &(struct tiny_model){
                                 .type = WT_Q4_K, .n_layers = LAYERS, .n_embd = 256, .n_ff = 1024});
    struct rig_options o = options(RESIDENCY_DIRECT, UINT64_MAX);
    float *want = logits(&o, NULL, &all, &n);
    snprintf(lanes, sizeof lanes, "%s.lanes", path);
    rig_prepack(path, lanes);
    for (double share = 1; share > 0; share -= 0.3) {
        o = options(RESIDENCY_DIRECT, budget_of(&all, share));
        float *got = logits(&o, NULL, &s, &m);
        assert_int_equal(m, n);
        assert_memory_equal(got, want, (size_t)n * sizeof *want);
        free(got);
    }
    unlink(lanes);
    free(want);
}

static void a_file_that_is_cut_short_ends_the_pass_with_a_sentence(void **state)
{
    (void)state;
    struct err e = {0};
    struct rig r;
    struct rig_options o = options(RESIDENCY_DIRECT, SLOTS + (64 << 10));
    model_new("cut.gguf", &(struct tiny_model){
                              .type = WT_Q8_0, .n_layers = LAYERS, .n_embd = 512, .n_ff = 2048});
    rig_open(&r, path, &o);
    assert_true(weights_status(r.weights).streamed > 4 * SLOTS);
    assert_int_equal(truncate(path, 1 << 20), 0);
    float hidden[512];
    struct batch_token token = {.id = 3, .want = WANT_LOGITS};
    struct batch b = {.tokens = &token, .n_tokens = 1, .pass = 1};
    assert_ok(shard_begin(r.shard, &b, &e), &e);
    int rc = shard_embed(r.shard, &b, hidden, &e);
    if (!rc)
        rc = shard_run(r.shard, &b, r.windows[0], hidden, &e);
    assert_true(rc < 0);
    assert_non_null(strstr(e.text, path));
    rig_close(&r);
}

// All passes from the beginning; false: one of them ended with the sentence.
static bool whole_sequence(struct rig *r, float *out)
{
    static struct batch_token tokens[MOST];
    struct session_op drop = {.kind = SESSION_TRUNCATE};
    rig_pass(r, &(struct batch){.ops = &drop, .n_ops = 1}, NULL);
    for (int i = 0, at = 0; i < PASSES; i++) {
        struct err e = {0};
        int n = widths[i];
        for (int k = 0; k < n; k++, at++)
            tokens[k] = (struct batch_token){
                .id = 3 + at * 7 % 40, .pos = (uint32_t)at, .want = WANT_LOGITS};
        if (rig_try(r, &(struct batch){.tokens = tokens, .n_tokens = n}, out, &e)) {
            assert_non_null(strstr(e.text, path));
            return false;
        }
        out += n * r->h->n_vocab;
    }
    return true;
}

static void a_pass_that_cannot_be_read_harms_no_other(void **state)
{
    (void)state;
    struct weights_status s, all;
    int n, failed = 0;
    silent = -1;
    model_new("fails.gguf", &(struct tiny_model){
                                .type = WT_Q8_0, .n_layers = LAYERS, .n_embd = 256, .n_ff = 1024});
    struct rig_options o = options(RESIDENCY_DIRECT, UINT64_MAX);
    float *want = logits(&o, NULL, &all, &n);
    o = options(RESIDENCY_DIRECT, budget_of(&all, 0.4));
    free(logits(&o, NULL, &s, &n));
    bool ring = !strncmp(s.reader, "io_uring", 8);
    float *got = malloc((size_t)n * sizeof *got);
    assert_non_null(got);
    for (long nth = 2; nth < 120; nth += 13) { // the file ends there, for once
        struct err e = {0};
        struct rig r;
        faulty_disk((struct disk_faults){.call = ring ? DISK_RING_RESULT : DISK_PREAD, .nth = nth});
        if (rig_open_if(&r, path, &o, &e)) {
            assert_non_null(strstr(e.text, path));
        } else {
            if (!whole_sequence(&r, got)) {
                failed++;
                assert_true(whole_sequence(&r, got));
            }
            assert_memory_equal(got, want, (size_t)n * sizeof *want);
        }
        rig_close(&r);
        faulty_disk_end();
    }
    assert_true(failed > 0);
    free(want);
    free(got);
}

static void too_small_a_budget_is_refused_with_what_is_missing(void **state)
{
    (void)state;
    struct err e = {0};
    struct rig r = {0};
    struct weights_options w = {.residency = RESIDENCY_DIRECT, .memory = 1 << 20};
    model_new("small.gguf", &(struct tiny_model){.type = WT_Q8_0, .n_layers = 2});
    assert_ok(gguf_open(&r.g, path, &e), &e);
    assert_ok(model_open(&r.model, r.g, &e), &e);
    assert_ok(weights_open(&r.weights, r.g, &w, &e), &e);
    assert_ok(backend_open_cpu(&r.backend, &(struct backend_options){.n_threads = 1}, &e), &e);
    struct window all = {0, 2};
    struct shard_options s = {.windows = &all,
                              .n_windows = 1,
                              .ends = true,
                              .kv_pages = 64,
                              .max_sessions = 1,
                              .max_context = 4096,
                              .max_batch = 512};
    assert_int_equal(shard_new(&r.shard, r.model, r.weights, r.backend, &s, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "1.0 MiB"));
    assert_non_null(strstr(e.text, "--ctx"));
    assert_non_null(strstr(e.text, "leaves nothing for weights"));
    assert_null(strstr(e.text, "the least")); // nobody knows it yet
    rig_close(&r);
}

// Many small amounts: each does, or the least that does is more.
static void check_small_budgets(int rounds)
{
    bool did = false;
    for (uint64_t budget = 64 << 10; budget < 12 << 20; budget += 452 << 10) {
        struct err e = {0};
        struct rig r;
        struct rig_options o = {
            .weights = {.residency = RESIDENCY_DIRECT, .budget = budget, .rounds = rounds}};
        int rc = rig_open_if(&r, path, &o, &e);
        if (rc)
            assert_non_null(strstr(e.text, "the least that does"));
        else
            assert_true(weights_status(r.weights).resident + weights_status(r.weights).slots <=
                        budget);
        assert_true(!rc || !did);
        did |= !rc;
        rig_close(&r);
    }
    assert_true(did);
}

static void a_budget_is_enough_or_the_least_is_told(void **state)
{
    (void)state;
    model_new("enough.gguf",
              &(struct tiny_model){
                  .type = WT_Q8_0, .n_layers = LAYERS, .n_embd = 1024, .n_ff = 2048, .tied = true});
    check_small_budgets(1);
    check_small_budgets(2);
    check_small_budgets(5);
}

static void a_large_ring_is_read_into_as_a_whole(void **state)
{
    (void)state;
    struct rig r;
    model_new("ring.gguf",
              &(struct tiny_model){.type = WT_Q8_0, .n_layers = 100, .n_embd = 128, .n_ff = 256});
    struct rig_options o = {
        .weights = {.residency = RESIDENCY_DIRECT, .budget = 9 << 20, .rounds = 2}};
    rig_open(&r, path, &o);
    struct weights_status s = weights_status(r.weights);
    assert_true(s.slots > 2 << 20 && s.streamed > s.slots);
    assert_true(s.read_bytes <= s.slots && s.read_bytes > s.slots / 16 * 15);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_the_same_whatever_is_resident),
        cmocka_unit_test(experts_come_when_they_are_asked_for),
        cmocka_unit_test(chunks_of_a_prompt_share_what_the_slots_can_hold),
        cmocka_unit_test(a_lower_limit_streams_more_and_gives_the_same_bits),
        cmocka_unit_test(lanes_of_mapped_weights_are_let_go_of),
        cmocka_unit_test(a_higher_limit_lets_weights_come_back_as_they_are_used),
        cmocka_unit_test(limits_may_move_while_it_computes),
        cmocka_unit_test(lanes_of_a_sidecar_are_streamed),
        cmocka_unit_test(a_file_that_is_cut_short_ends_the_pass_with_a_sentence),
        cmocka_unit_test(a_pass_that_cannot_be_read_harms_no_other),
        cmocka_unit_test(too_small_a_budget_is_refused_with_what_is_missing),
        cmocka_unit_test(a_budget_is_enough_or_the_least_is_told),
        cmocka_unit_test(a_large_ring_is_read_into_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
