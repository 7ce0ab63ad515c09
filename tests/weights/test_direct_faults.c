// Streaming from disks that fail, refuse, cut short and interrupt: the right bits or a sentence,
// and after an error that goes by the right bits again.
#include "support.h"

#include "faulty_disk.h"
#include "rig.h"
#include "tiny_model.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, PASSES = 3, N_VOCAB = 320, SLOTS = 512 << 10 };

static char path[300];
static float want[PASSES][N_VOCAB];

// Opens everything but the weights and what comes after them.
static void open_model(struct rig *r)
{
    struct err e = {0};
    *r = (struct rig){.n_windows = 1, .windows = {{0, LAYERS}}};
    assert_ok(gguf_open(&r->g, path, &e), &e);
    assert_ok(model_open(&r->model, r->g, &e), &e);
    r->h = model_hparams(r->model);
    assert_ok(backend_open_cpu(&r->backend, &(struct backend_options){.n_threads = 1}, &e), &e);
    assert_int_equal(r->h->n_vocab, N_VOCAB);
}

static int open_weights(struct rig *r, enum residency residency, struct err *e)
{
    struct weights_options w = {
        .residency = residency, .slots = SLOTS, .budget = SLOTS + (300 << 10)};
    struct shard_options s = {.windows = r->windows,
                              .n_windows = 1,
                              .ends = true,
                              .kv_pages = 2,
                              .max_sessions = 1,
                              .max_context = 64,
                              .max_batch = 4};
    int rc = weights_open(&r->weights, r->g, &w, e);
    return rc ? rc : shard_new(&r->shard, r->model, r->weights, r->backend, &s, e);
}

// Token i of the sequence; an error leaves the session as if it had not been.
static int pass(struct rig *r, int i, float *logits, struct err *e)
{
    struct batch_token t = {.id = 3 + i * 7, .pos = (uint32_t)i, .want = WANT_LOGITS};
    struct session_op back = {.kind = SESSION_TRUNCATE, .pos = (uint32_t)i};
    return rig_try(r, &(struct batch){.tokens = &t, .n_tokens = 1, .ops = &back, .n_ops = 1},
                   logits, e);
}

static int setup(void **state)
{
    (void)state;
    struct rig r;
    struct err e = {0};
    log_set_level(LOG_ERROR); // each fault is told of
    snprintf(path, sizeof path, "%s", test_file("faults.gguf"));
    tiny_model_write(
        path,
        &(struct tiny_model){
            .type = WT_Q8_0, .n_layers = LAYERS, .n_embd = 256, .n_ff = 1024, .n_vocab = N_VOCAB});
    open_model(&r);
    assert_ok(open_weights(&r, RESIDENCY_MMAP, &e), &e);
    for (int i = 0; i < PASSES; i++)
        assert_ok(pass(&r, i, want[i], &e), &e);
    rig_close(&r);
    return 0;
}

static void check_sentence(const struct err *e)
{
    assert_true(e->code < 0);
    if (strlen(e->text) < 20)
        fail_msg("'%s' is no sentence", e->text);
}

// All passes under faults; which of them failed, at most `most`. -1: it did not open.
static int try_all(struct disk_faults f, bool *happened)
{
    struct rig r;
    struct err e = {0};
    int failed = 0;
    open_model(&r);
    faulty_disk(f);
    bool opened = !open_weights(&r, RESIDENCY_DIRECT, &e);
    if (!opened)
        check_sentence(&e);
    for (int i = 0, tries = 0; opened && i < PASSES && tries < 2 * PASSES; tries++) {
        float got[N_VOCAB];
        e = (struct err){0};
        if (pass(&r, i, got, &e)) {
            check_sentence(&e);
            failed++;
            continue;
        }
        assert_memory_equal(got, want[i], sizeof got);
        i++;
    }
    shard_free(r.shard);
    r.shard = NULL;
    weights_free(r.weights);
    r.weights = NULL;
    *happened = faulty_disk_end();
    rig_close(&r);
    return opened ? failed : -1;
}

static void one_call_that_fails_costs_one_pass_at_most(void **state)
{
    (void)state;
    static const enum disk_call calls[] = {DISK_OPEN,        DISK_PREAD,      DISK_STAMP,
                                           DISK_MAP,         DISK_RING_INIT,  DISK_RING_REGISTER,
                                           DISK_RING_SUBMIT, DISK_RING_RESULT};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bool happened = true;
        for (long n = 0; happened; n += n < 12 ? 1 : 5) {
            int failed =
                try_all((struct disk_faults){.call = calls[i], .nth = n, .error = EIO}, &happened);
            assert_true(failed <= 1);
        }
    }
}

static void a_disk_that_is_gone_ends_every_pass_with_a_sentence(void **state)
{
    (void)state;
    for (long n = 0; n < 40; n += 3) {
        bool happened;
        int failed = try_all(
            (struct disk_faults){
                .call = DISK_PREAD, .nth = n, .onwards = true, .no_direct = true, .error = EIO},
            &happened);
        assert_true(happened && failed != 0);
    }
}

static void what_is_refused_goes_another_way(void **state)
{
    (void)state;
    static const struct disk_faults ways[] = {
        {.no_direct = true},
        {.direct_reads = 3},
        {.most = 4096},
        {.most = 512, .no_direct = true},
        {.interrupt = true},
        {.interrupt = true, .no_direct = true},
        {.call = DISK_RING_INIT, .error = EPERM, .onwards = true},
        {.call = DISK_RING_INIT, .error = ENOSYS, .onwards = true, .direct_reads = 5},
        {.call = DISK_RING_REGISTER, .error = ENOMEM, .onwards = true},
        {.call = DISK_RING_RESULT, .error = EINVAL, .onwards = true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        bool happened;
        int failed = try_all(ways[i], &happened);
        if (failed)
            fail_msg("way %zu: %d passes failed", i, failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_that_fails_costs_one_pass_at_most),
        cmocka_unit_test(a_disk_that_is_gone_ends_every_pass_with_a_sentence),
        cmocka_unit_test(what_is_refused_goes_another_way),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
