// Every architecture of tiny_archs: the plain forward pass in double precision, and the same bits
// in whatever chunks, windows, layouts and on however many threads.
#include "support.h"

#include "gguf/gguf.h"
#include "kernels/kv_chunk.h"
#include "model/arch.h"
#include "reference.h"
#include "rig.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t ids[TINY_IDS];

static int setup(void **state)
{
    (void)state;
    tiny_ids(ids, TINY_IDS);
    return 0;
}

// Longer and shorter than what LongRoPE's tiny model was made for: 512.
enum { LONG_CONTEXT = 600, SHORT_CONTEXT = 500 };

static double *reference_in(const char *path, int n_context, int *n_vocab)
{
    struct reference_facts facts;
    double *logits = reference_logits_in(path, ids, TINY_IDS, n_context, &facts);
    *n_vocab = facts.n_vocab;
    return logits;
}

static void every_architecture_is_the_plain_forward_pass(void **state)
{
    (void)state;
    const char *path = test_file("arch.gguf");
    for (size_t i = 0; i < n_tiny_archs; i++) {
        int n_vocab;
        tiny_model_write(path, &tiny_archs[i].model);
        double *want = reference_in(path, LONG_CONTEXT, &n_vocab);
        for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
            struct rig_options o = {
                .isa = isa, .n_threads = 2, .chunk = 33, .max_context = LONG_CONTEXT};
            float *got = rig_logits(path, ids, TINY_IDS, &o, &n_vocab);
            double diff = reference_max_diff(want, got, (size_t)TINY_IDS * (size_t)n_vocab);
            double kl = reference_mean_kl(want, got, TINY_IDS, n_vocab);
            bool exact = !tiny_archs[i].model.expert_type; // whose activations are not quantized
            if (!(exact ? diff < 1e-3 && kl < 1e-8 : kl < 2e-3))
                fail_msg("%s on %s: difference %g, KL %g", tiny_archs[i].name, isa_name(isa), diff,
                         kl);
            free(got);
        }
        free(want);
    }
}

static void caches_of_fewer_bits_are_close(void **state)
{
    (void)state;
    static const double limits[KV_TYPE_COUNT] = {0, 1e-4, 2e-2}; // mean KL
    const char *path = test_file("arch.gguf");
    for (size_t i = 0; i < n_tiny_archs; i++) {
        int n_vocab;
        tiny_model_write(path, &tiny_archs[i].model);
        double *want = reference_in(path, SHORT_CONTEXT, &n_vocab);
        for (int type = KV_F16; type < KV_TYPE_COUNT; type++) {
            struct rig_options o = {
                .isa = isa_detect(), .kv_type = (enum kv_type)type, .max_context = SHORT_CONTEXT};
            float *got = rig_logits(path, ids, TINY_IDS, &o, &n_vocab);
            double kl = reference_mean_kl(want, got, TINY_IDS, n_vocab);
            if (!(kl < limits[type] + (tiny_archs[i].model.expert_type ? 2e-3 : 0)))
                fail_msg("%s with a cache of %s: KL %g", tiny_archs[i].name,
                         kv_type_name((enum kv_type)type), kl);
            free(got);
        }
        free(want);
    }
}

static void check_same(const char *name, const char *path, const float *want, int n_vocab,
                       const struct rig_options *o)
{
    int n;
    float *got = rig_logits(path, ids, TINY_IDS, o, &n);
    if (memcmp(got, want, (size_t)TINY_IDS * (size_t)n_vocab * sizeof *want))
        fail_msg("%s: chunks of %d on %d threads of %s in %d windows differ", name, o->chunk,
                 o->n_threads, isa_name(o->isa), o->n_windows);
    free(got);
}

// All ways of computing a model on one instruction set.
static void check_bits(const struct tiny_arch *a, const char *path, enum isa isa)
{
    struct err e = {0};
    struct gguf *g;
    struct hparams h;
    int n_vocab;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(hparams_read(&h, g, &e), &e);
    gguf_free(g);
    struct window split[2] = {{0, 1}, {1, h.n_layers}};
    struct rig_options base = {.isa = isa, .weights = {.form = WEIGHTS_ROWS}};
    float *want = rig_logits(path, ids, TINY_IDS, &base, &n_vocab);
    static const int chunks[] = {1, 7, 24}, threads[] = {2, 3, 4};
    for (int i = 0; i < 3; i++) {
        struct rig_options o = base;
        o.chunk = chunks[i];
        o.n_threads = threads[i];
        o.windows = i ? split : NULL;
        o.n_windows = i ? 2 : 0;
        o.weights.form = i == 1 ? WEIGHTS_ROWS : WEIGHTS_LANES;
        check_same(a->name, path, want, n_vocab, &o);
    }
    free(want);
}

static void logits_do_not_depend_on_how_they_are_computed(void **state)
{
    (void)state;
    const char *path = test_file("arch.gguf");
    static const uint32_t types[] = {WT_F32, WT_Q8_0};
    for (size_t i = 0; i < n_tiny_archs; i++)
        for (int j = 0; j < 2; j++) {
            struct tiny_model t = tiny_archs[i].model;
            t.type = types[j];
            tiny_model_write(path, &t);
            check_bits(&tiny_archs[i], path, isa_detect());
        }
}

static void instruction_sets_agree_to_the_bit(void **state)
{
    (void)state;
    const char *path = test_file("arch.gguf");
    for (size_t i = 0; i < n_tiny_archs; i++) {
        int n_vocab;
        struct tiny_model t = tiny_archs[i].model;
        t.type = WT_Q8_0;
        tiny_model_write(path, &t);
        struct rig_options o = {.isa = ISA_SCALAR};
        float *want = rig_logits(path, ids, TINY_IDS, &o, &n_vocab);
        for (enum isa isa = test_next_isa(ISA_SCALAR); isa < ISA_COUNT;
             isa = test_next_isa((int)isa)) {
            o.isa = isa;
            check_same(tiny_archs[i].name, path, want, n_vocab, &o);
        }
        free(want);
    }
}

// Nothing that runs is left out of tiny_archs.
static void every_architecture_is_among_them(void **state)
{
    (void)state;
    char names[ARCH_NAMES_SIZE], *rest = names, *name;
    arch_names(names, sizeof names);
    while ((name = strsep(&rest, ", "))) {
        bool found = !*name;
        for (size_t i = 0; i < n_tiny_archs && !found; i++) {
            const char *arch = tiny_archs[i].model.arch;
            found = !strcmp(arch ? arch : "llama", name);
        }
        if (!found)
            fail_msg("no tiny model of %s", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_is_among_them),
        cmocka_unit_test(every_architecture_is_the_plain_forward_pass),
        cmocka_unit_test(caches_of_fewer_bits_are_close),
        cmocka_unit_test(logits_do_not_depend_on_how_they_are_computed),
        cmocka_unit_test(instruction_sets_agree_to_the_bit),
    };
    return cmocka_run_group_tests_name("architectures", tests, setup, NULL);
}
