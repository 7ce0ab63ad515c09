// Weights in memory of our own: the same bits whatever is resident, exactly the bytes that are
// streamed are read, limits that move while it computes, sidecars, disks that fail.
#include "support.h"

#include "faulty_disk.h"
#include "rig.h"
#include "tiny_model.h"

#include <errno.h>
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
    for (double share = 1; share > 0; share -= 0.13) {
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
    static const uint32_t types[] = {WT_F32, WT_Q8_0, WT_Q4_K, WT_IQ4_XS};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_the_same_whatever_is_resident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
