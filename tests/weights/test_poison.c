// Model files that are cut short, changed, replaced or unreadable while passes read them: no pass
// gives wrong logits, one that cannot be trusted ends with a sentence, the process goes on, and a
// good file opens afterwards.
#include "support.h"

#include "base/rng.h"
#include "rig.h"
#include "tiny_model.h"
#include "weights/mapping.h"
#include "weights/sidecar.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAYERS = 4, PASSES = 48, N_VOCAB = 320 };

static char path[300], lanes[320];
static uint8_t *files[2]; // as model_write writes them
static off_t size;
static float want[PASSES][N_VOCAB]; // of the good file

static const struct way {
    const char *name;
    struct weights_options o;
} ways[] = {
    {"mapped rows", {.residency = RESIDENCY_MMAP}},
    {"mapped, in lanes", {.form = WEIGHTS_LANES}},
    {"streamed", {.residency = RESIDENCY_DIRECT, .slots = 1 << 20, .budget = 3 << 19}},
};
enum { WAYS = sizeof ways / sizeof *ways };

// One pass of one token.
static int pass(struct rig *r, int i, float *logits, struct err *e)
{
    struct batch_token t = {.id = 3 + i * 7 % 40, .pos = (uint32_t)i, .want = WANT_LOGITS};
    return rig_try(r, &(struct batch){.tokens = &t, .n_tokens = 1}, logits, e);
}

static void check_right(struct rig *r, int i)
{
    struct err e = {0};
    float got[N_VOCAB];
    assert_ok(pass(r, i, got, &e), &e);
    assert_memory_equal(got, want[i], sizeof got);
}

static void check_sentence(const struct err *e, const char *file, const char *what)
{
    if (strncmp(e->text, file, strlen(file)) != 0 || !strstr(e->text, what) ||
        !strstr(e->text, "start again"))
        fail_msg("'%s' and '%s' are not in: %s", file, what, e->text);
}

static void check_ends(struct rig *r, int i, const char *file, const char *what)
{
    struct err e = {0};
    float got[N_VOCAB];
    assert_int_equal(pass(r, i, got, &e), ERR_FAILED);
    check_sentence(&e, file, what);
}

static void open_way(struct rig *r, const struct way *way)
{
    struct rig_options o = {.isa = isa_detect(), .n_threads = 2, .weights = way->o};
    rig_open(r, path, &o);
    assert_int_equal(r->h->n_vocab, N_VOCAB);
}

// The file of a seed, 1 or 2, as it would lie there: last written a while ago.
static void model_write(const char *to, int seed)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    test_write(to, files[seed - 1], (size_t)size);
    assert_int_equal(utimensat(AT_FDCWD, to, long_ago, 0), 0);
}

static void model_new(const char *name)
{
    snprintf(path, sizeof path, "%s", test_file(name));
    snprintf(lanes, sizeof lanes, "%s.lanes", path);
    model_write(path, 1);
    unlink(lanes);
}

static int good_logits(void **state)
{
    struct rig r;
    struct err e = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        size_t n;
        const char *made = test_file("made.gguf");
        tiny_model_write(made, &(struct tiny_model){.type = WT_Q8_0,
                                                    .n_layers = LAYERS,
                                                    .n_embd = 256,
                                                    .n_ff = 1024,
                                                    .n_vocab = N_VOCAB,
                                                    .seed = seed});
        files[seed - 1] = test_read(made, &n);
        size = (off_t)n;
    }
    model_new("good.gguf");
    open_way(&r, &ways[0]);
    for (int i = 0; i < PASSES; i++)
        assert_ok(pass(&r, i, want[i], &e), &e);
    rig_close(&r);
    return 0;
}

static int forget_files(void **state)
{
    (void)state;
    free(files[0]);
    free(files[1]);
    return 0;
}

static void check_good_again(const struct way *way)
{
    struct rig r;
    model_write(path, 1);
    open_way(&r, way);
    for (int i = 0; i < 3; i++)
        check_right(&r, i);
    rig_close(&r);
}

// ---- between passes ----------------------------------------------------------------------------

static void a_file_cut_short_between_passes_ends_the_next_one(void **state)
{
    (void)state;
    model_new("between.gguf");
    const off_t to[] = {0, 4096, size / 2, size / 2 / 4096 * 4096, size - 1};
    for (int y = 0; y < WAYS; y++)
        for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
            struct rig r;
            model_write(path, 1);
            open_way(&r, &ways[y]);
            check_right(&r, 0);
            check_right(&r, 1);
            assert_int_equal(truncate(path, to[i]), 0);
            check_ends(&r, 2, path, "cut short while it was in use");
            check_ends(&r, 3, path, "cut short while it was in use");
            rig_close(&r);
            check_good_again(&ways[y]);
        }
}

static void a_file_changed_in_place_ends_the_next_pass(void **state)
{
    (void)state;
    for (int y = 0; y < WAYS; y++) {
        struct rig r;
        model_new("changed.gguf");
        open_way(&r, &ways[y]);
        check_right(&r, 0);
        int fd = open(path, O_WRONLY);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "x", 1, size / 2), 1);
        close(fd);
        check_ends(&r, 1, path, "changed while it was in use");
        rig_close(&r);
        check_good_again(&ways[y]);
    }
}

static void a_file_replaced_by_another_is_used_as_it_was(void **state)
{
    (void)state;
    char other[320];
    for (int y = 0; y < WAYS; y++) {
        struct rig r;
        model_new("replaced.gguf");
        snprintf(other, sizeof other, "%s.new", path);
        open_way(&r, &ways[y]);
        check_right(&r, 0);
        model_write(other, 2);
        assert_int_equal(rename(other, path), 0);
        for (int i = 1; i < 8; i++)
            check_right(&r, i);
        assert_int_equal(unlink(path), 0);
        for (int i = 8; i < 12; i++)
            check_right(&r, i);
        rig_close(&r);
    }
}

// The disk fails, the file is what it was: a page is asked for while there is nothing behind it,
// then all is put back as it had been.
static void a_page_that_could_not_be_read_ends_the_next_pass(void **state)
{
    (void)state;
    struct rig r;
    struct err e = {0};
    struct stat before;
    enum layout layout;
    size_t n;
    model_new("failing.gguf");
    open_way(&r, &ways[0]);
    check_right(&r, 0);
    uint8_t *bytes = test_read(path, &n);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(truncate(path, 0), 0);
    struct piece_source s = weights_source(r.weights);
    uint32_t piece = (uint32_t)gguf_n_pieces(r.g) - 1;
    const volatile uint8_t *at = s.acquire(s.ctx, piece, &layout, &e);
    assert_int_equal(*at, 0);
    s.done(s.ctx, piece);
    test_write(path, bytes, n);
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    check_ends(&r, 1, path, "could not be read while it was in use");
    rig_close(&r);
    open_way(&r, &ways[0]);
    check_right(&r, 0);
    rig_close(&r);
    free(bytes);
}

static void of_two_models_the_other_goes_on(void **state)
{
    (void)state;
    char first[sizeof path];
    struct rig r, other;
    for (int y = 0; y < WAYS; y++) {
        model_new("one.gguf");
        open_way(&other, &ways[y]);
        snprintf(first, sizeof first, "%s", path);
        model_new("two.gguf");
        open_way(&r, &ways[y]);
        check_right(&r, 0);
        check_right(&other, 0);
        assert_int_equal(truncate(path, 0), 0);
        check_ends(&r, 1, path, "cut short");
        check_right(&other, 1);
        rig_close(&r);
        check_right(&other, 2);
        assert_int_equal(truncate(first, 0), 0);
        check_ends(&other, 3, first, "cut short");
        rig_close(&other);
    }
}

// ---- while it is opened ------------------------------------------------------------------------

static void a_file_cut_short_before_it_is_loaded_is_told(void **state)
{
    (void)state;
    for (int y = 0; y < WAYS; y++) {
        struct err e = {0};
        struct gguf *g;
        struct model *m;
        struct weights *w;
        struct backend *b;
        struct shard *s = NULL;
        struct backend_options device = {.n_threads = 2, .isa = isa_detect()};
        struct window all = {0, LAYERS};
        struct shard_options o = {.windows = &all,
                                  .n_windows = 1,
                                  .ends = true,
                                  .kv_pages = 1,
                                  .max_sessions = 1,
                                  .max_context = 16,
                                  .max_batch = 1};
        struct batch_token t = {.id = 5, .want = WANT_LOGITS};
        struct batch one = {.tokens = &t, .n_tokens = 1, .pass = 1};
        float hidden[256];
        model_new("loading.gguf");
        assert_ok(gguf_open(&g, path, &e), &e);
        assert_ok(model_open(&m, g, &e), &e);
        assert_ok(weights_open(&w, g, &ways[y].o, &e), &e);
        assert_ok(backend_open_cpu(&b, &device, &e), &e);
        assert_int_equal(truncate(path, size / 2), 0);
        int rc = shard_new(&s, m, w, b, &o, &e);
        if (!rc) // nothing of it was looked at yet
            rc = shard_begin(s, &one, &e);
        if (!rc)
            rc = shard_embed(s, &one, hidden, &e);
        assert_int_equal(rc, ERR_FAILED);
        assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
        shard_free(s);
        backend_free(b);
        weights_free(w);
        model_free(m);
        gguf_free(g);
        check_good_again(&ways[y]);
    }
}

// ---- during passes -----------------------------------------------------------------------------

struct cutter {
    atomic_int done; // passes
    int after;       // cuts when so many are
    int spin;
    off_t to;
};

static void *cut(void *arg)
{
    struct cutter *c = arg;
    while (atomic_load(&c->done) < c->after)
        sched_yield();
    for (volatile int i = 0; i < c->spin; i++)
        ;
    return truncate(path, c->to) ? NULL : arg;
}

static void a_pass_during_a_cut_is_right_or_ends(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 30; round++) {
        const struct way *way = &ways[round % WAYS];
        struct cutter c = {.after = 1 + (int)(rng_u64(&rng) % 6),
                           .spin = (int)(rng_u64(&rng) % 300000),
                           .to = round % 4 ? (off_t)(rng_u64(&rng) % (uint64_t)size) : 0};
        struct rig r;
        pthread_t thread;
        void *cut_it;
        bool ended = false;
        model_new("during.gguf");
        open_way(&r, way);
        assert_int_equal(pthread_create(&thread, NULL, cut, &c), 0);
        for (int i = 0; i < PASSES - 1; i++) {
            struct err e = {0};
            float got[N_VOCAB];
            if (pass(&r, i, got, &e)) {
                ended = true;
                assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
            } else {
                assert_false(ended); // once ended, always
                assert_memory_equal(got, want[i], sizeof got);
            }
            atomic_store(&c.done, i + 1);
        }
        pthread_join(thread, &cut_it);
        assert_non_null(cut_it);
        check_ends(&r, PASSES - 1, path, "cut short while it was in use");
        rig_close(&r);
        check_good_again(way);
    }
}

// ---- sidecars ----------------------------------------------------------------------------------

static int begin(void *arg, size_t n_matrices, uint64_t bytes, struct err *e)
{
    (void)arg, (void)n_matrices, (void)bytes, (void)e;
    return 0;
}

static bool go_on(void *arg, uint64_t done)
{
    (void)done;
    if (arg)
        assert_int_equal(truncate(path, size / 3), 0);
    return true;
}

// arg: not NULL: the model is cut short meanwhile.
static int prepack(void *arg, struct err *e)
{
    struct err other = {0};
    struct gguf *g;
    struct model *m;
    struct weights *w;
    struct backend *b;
    struct backend_options device = {.n_threads = 2, .isa = isa_detect()};
    struct window all = {0, LAYERS};
    assert_ok(gguf_open(&g, path, &other), &other);
    assert_ok(model_open(&m, g, &other), &other);
    assert_ok(weights_open(&w, g, NULL, &other), &other);
    assert_ok(backend_open_cpu(&b, &device, &other), &other);
    shard_need(m, w, &all, 1, true);
    struct prepack what = {.path = lanes, .begin = begin, .told = go_on, .arg = arg};
    int rc = weights_prepack(w, b, &what, e);
    backend_free(b);
    weights_free(w);
    model_free(m);
    gguf_free(g);
    return rc;
}

static void a_sidecar_cut_short_ends_the_next_pass(void **state)
{
    (void)state;
    for (int y = 1; y < WAYS; y++) {
        struct err e = {0};
        struct rig r;
        struct stat s;
        model_new("beside.gguf");
        assert_ok(prepack(NULL, &e), &e);
        assert_int_equal(stat(lanes, &s), 0);
        open_way(&r, &ways[y]);
        check_right(&r, 0);
        assert_int_equal(truncate(lanes, s.st_size / 4), 0);
        check_ends(&r, 1, lanes, "cut short while it was in use");
        rig_close(&r);
        unlink(lanes);
        check_good_again(&ways[y]);
    }
}

static void a_sidecar_of_a_model_that_is_cut_short_is_not_written(void **state)
{
    (void)state;
    struct err e = {0};
    char pattern[400];
    glob_t found;
    model_new("prepacked.gguf");
    assert_int_equal(prepack(&e, &e), ERR_FAILED);
    assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
    snprintf(pattern, sizeof pattern, "%s.lanes*", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_short_between_passes_ends_the_next_one),
        cmocka_unit_test(a_file_changed_in_place_ends_the_next_pass),
        cmocka_unit_test(a_file_replaced_by_another_is_used_as_it_was),
        cmocka_unit_test(a_page_that_could_not_be_read_ends_the_next_pass),
        cmocka_unit_test(of_two_models_the_other_goes_on),
        cmocka_unit_test(a_file_cut_short_before_it_is_loaded_is_told),
        cmocka_unit_test(a_pass_during_a_cut_is_right_or_ends),
        cmocka_unit_test(a_sidecar_cut_short_ends_the_next_pass),
        cmocka_unit_test(a_sidecar_of_a_model_that_is_cut_short_is_not_written),
    };
    return cmocka_run_group_tests_name("poison", tests, good_logits, forget_files);
}
