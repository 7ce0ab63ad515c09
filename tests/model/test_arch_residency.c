// Every architecture of tiny_archs in every residency: the same bits whatever is resident, down to
// the least budget that is accepted; fused matrices whose parts several products share, stacks of
// heads and experts, tied embeddings.
#include "support.h"

#include "rig.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 512 << 10, WINDOWS = 3 };

static char path[300];
static int32_t ids[TINY_IDS];

struct way {
    int n_threads, chunk;
    bool windows;
};

// Logits in a residency; NULL: it is refused for want of memory.
static float *logits(enum residency residency, uint64_t budget, const struct way *way,
                     struct weights_status *s, int *n_vocab)
{
    struct err e = {0};
    struct rig r;
    struct window windows[WINDOWS];
    struct rig_options o = {.isa = isa_detect(),
                            .n_threads = way->n_threads,
                            .windows = way->windows ? windows : NULL,
                            .n_windows = WINDOWS,
                            .max_context = 128,
                            .weights = {.residency = residency, .slots = SLOTS, .budget = budget}};
    struct gguf *g;
    struct model *m;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(model_open(&m, g, &e), &e);
    int n = model_hparams(m)->n_layers;
    model_free(m);
    gguf_free(g);
    windows[0] = (struct window){0, 1};
    windows[1] = (struct window){1, 1};
    windows[2] = (struct window){1, n};
    int rc = rig_open_if(&r, path, &o, &e);
    if (rc) {
        assert_int_equal(rc, ERR_NO_MEMORY);
        rig_close(&r);
        return NULL;
    }
    float *out = malloc((size_t)TINY_IDS * (size_t)r.h->n_vocab * sizeof *out);
    assert_non_null(out);
    for (int at = 0; at < TINY_IDS; at += way->chunk) {
        struct batch_token tokens[TINY_IDS];
        int left = TINY_IDS - at, k = left < way->chunk ? left : way->chunk;
        for (int i = 0; i < k; i++)
            tokens[i] = (struct batch_token){
                .id = ids[at + i], .pos = (uint32_t)(at + i), .want = WANT_LOGITS};
        rig_pass(&r, &(struct batch){.tokens = tokens, .n_tokens = k},
                 out + (size_t)at * (size_t)r.h->n_vocab);
    }
    *s = weights_status(r.weights);
    *n_vocab = r.h->n_vocab;
    rig_close(&r);
    return out;
}

// The least budget that is accepted, below `most`, to a thirty-second.
static uint64_t least_budget(uint64_t most, const struct way *way)
{
    uint64_t low = 0;
    while (most - low > most / 32) {
        struct weights_status s;
        int n;
        uint64_t middle = low + (most - low) / 2;
        float *got = logits(RESIDENCY_DIRECT, middle, way, &s, &n);
        *(got ? &most : &low) = middle;
        free(got);
    }
    return most;
}

static void check(const char *name, const float *want, uint64_t budget, const struct way *way)
{
    struct weights_status s;
    int n_vocab;
    float *got = logits(RESIDENCY_DIRECT, budget, way, &s, &n_vocab);
    if (!got || memcmp(got, want, (size_t)TINY_IDS * (size_t)n_vocab * sizeof *want))
        fail_msg("%s, %d threads, chunks of %d, %s: a budget of %llu %s", name, way->n_threads,
                 way->chunk, way->windows ? "three windows" : "one window",
                 (unsigned long long)budget, got ? "changes bits" : "is refused");
    assert_true(s.resident + s.slots <= budget);
    free(got);
}

static void check_arch(const struct tiny_arch *a, uint32_t type)
{
    static const struct way ways[] = {{1, TINY_IDS, false}, {2, 7, true}, {2, 1, false}};
    struct tiny_model t = a->model;
    struct weights_status s;
    int n_vocab;
    t.type = type;
    t.n_ff = t.n_experts ? t.n_ff : 1056; // several parts, one of them across gate and up
    snprintf(path, sizeof path, "%s", test_file("residency.gguf"));
    tiny_model_write(path, &t);
    float *want = logits(RESIDENCY_MMAP, 0, &ways[0], &s, &n_vocab);
    assert_non_null(want);
    free(logits(RESIDENCY_DIRECT, UINT64_MAX, &ways[0], &s, &n_vocab));
    uint64_t all = s.wanted + s.slots, least = least_budget(all, &ways[0]);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        check(a->name, want, UINT64_MAX, &ways[i]);
        check(a->name, want, least + (all - least) / 2, &ways[i]);
        check(a->name, want, least, &ways[i]);
    }
    free(want);
}

static void every_architecture_has_the_same_bits_in_every_residency(void **state)
{
    (void)state;
    tiny_ids(ids, TINY_IDS);
    for (size_t i = 0; i < n_tiny_archs; i++)
        check_arch(&tiny_archs[i], i % 2 ? WT_Q8_0 : WT_F32);
}

// phi3 stacks q, k and v, and gate and up: parts of one matrix for several products.
static void parts_may_be_shared_by_products(void **state)
{
    (void)state;
    struct tiny_arch wide = {.name = "wide phi3", .model = *tiny_arch("phi3")};
    tiny_ids(ids, TINY_IDS);
    wide.model.n_embd = 256;
    wide.model.n_heads = 8;
    wide.model.n_kv_heads = 4;
    wide.model.head_dim = 32;
    check_arch(&wide, WT_Q8_0);
    check_arch(&wide, WT_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_has_the_same_bits_in_every_residency),
        cmocka_unit_test(parts_may_be_shared_by_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
