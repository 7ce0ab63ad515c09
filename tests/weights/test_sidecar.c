// Sidecars: written, found, mapped; and every way in which one can be wrong.
#include "support.h"

#include "faulty_disk.h"
#include "kernels/lanes.h"
#include "rig.h"
#include "tiny_model.h"
#include "weights/sidecar.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- a model and its sidecar -------------------------------------------------------------------

static int begin(void *arg, size_t n_matrices, uint64_t bytes, struct err *e)
{
    (void)arg, (void)e;
    assert_true(n_matrices > 0 && bytes % SIDECAR_PAGE == 0);
    return 0;
}

static bool go_on(void *arg, uint64_t done)
{
    long *left = arg;
    (void)done;
    return !left || (*left)-- > 0;
}

// Writes the sidecar of the layers [lo, hi) of the model at `path`.
static int prepack(const char *path, int lo, int hi, bool ends, long *left, struct err *e)
{
    struct gguf *g;
    struct model *m;
    struct weights *w;
    struct backend *b;
    struct err other = {0};
    struct backend_options device = {.n_threads = 2, .isa = ISA_COUNT};
    char sidecar[SIDECAR_PATH_BYTES];
    assert_ok(gguf_open(&g, path, &other), &other);
    assert_ok(model_open(&m, g, &other), &other);
    assert_ok(weights_open(&w, g, NULL, &other), &other);
    assert_ok(backend_open_cpu(&b, &device, &other), &other);
    assert_ok(sidecar_path(sidecar, g, &other), &other);
    struct window window = {lo, hi};
    shard_need(m, w, &window, 1, ends);
    struct prepack what = {.path = sidecar, .begin = begin, .told = go_on, .arg = left};
    int rc = weights_prepack(w, b, &what, e);
    backend_free(b);
    weights_free(w);
    model_free(m);
    gguf_free(g);
    return rc;
}

// A model of its own folder-wide name; the sidecar's path too.
static char path[300], lanes[320];
enum { LAYERS = 5, SEQUENCE = 20 };

static void model_new(const char *name, uint32_t type)
{
    struct tiny_model t = {.type = type, .n_layers = LAYERS, .n_embd = 256, .n_ff = 512};
    snprintf(path, sizeof path, "%s", test_file(name));
    snprintf(lanes, sizeof lanes, "%s.lanes", path);
    tiny_model_write(path, &t);
    unlink(lanes);
}

// Logits, and where the matrices lay.
static float *logits(enum weights_form form, enum isa isa, struct weights_report *report)
{
    int32_t ids[SEQUENCE];
    static struct batch_token tokens[SEQUENCE];
    struct rig_options o = {.isa = isa, .n_threads = 2, .weights = {.form = form}};
    struct rig r;
    for (int i = 0; i < SEQUENCE; i++) {
        ids[i] = 3 + i * 7 % 40;
        tokens[i] = (struct batch_token){.id = ids[i], .pos = (uint32_t)i, .want = WANT_LOGITS};
    }
    rig_open(&r, path, &o);
    *report = weights_report(r.weights);
    float *out = malloc((size_t)SEQUENCE * (size_t)r.h->n_vocab * sizeof *out);
    assert_non_null(out);
    rig_pass(&r, &(struct batch){.tokens = tokens, .n_tokens = SEQUENCE}, out);
    rig_close(&r);
    return out;
}

static size_t n_logits(void)
{
    struct err e = {0};
    struct gguf *g;
    struct model *m;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(model_open(&m, g, &e), &e);
    size_t n = (size_t)SEQUENCE * (size_t)model_hparams(m)->n_vocab;
    model_free(m);
    gguf_free(g);
    return n;
}

static int parts_left_over(void)
{
    char pattern[400];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s*.part", lanes);
    int n = glob(pattern, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    globfree(&found);
    return n;
}

// ---- use ---------------------------------------------------------------------------------------

static void a_sidecar_is_used_and_gives_the_bits_of_rows(void **state)
{
    (void)state;
    static const uint32_t types[] = {WT_Q8_0, WT_Q4_0, WT_Q4_K, WT_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct err e = {0};
        struct weights_report r;
        model_new("used.gguf", types[i]);
        size_t size = n_logits() * sizeof(float);
        for (enum isa isa = test_next_isa(-1); isa < ISA_COUNT; isa = test_next_isa((int)isa)) {
            unlink(lanes);
            float *rows = logits(WEIGHTS_ROWS, isa, &r);
            assert_true(r.rows.matrices > 0 && !r.lanes.matrices && !r.sidecar.matrices);
            float *turned = logits(WEIGHTS_LANES, isa, &r);
            assert_true(r.lanes.matrices > 0 && !r.sidecar.matrices);
            assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
            float *mapped = logits(WEIGHTS_LANES, isa, &r);
            assert_true(r.sidecar.matrices > 0 && !r.lanes.matrices);
            assert_memory_equal(rows, turned, size);
            assert_memory_equal(rows, mapped, size);
            free(rows);
            free(turned);
            free(mapped);
        }
    }
}

// Everything of a file of experts, in lanes; with a sidecar or turned.
static struct weights *all_pieces(struct gguf *g, struct backend *b)
{
    struct err e = {0};
    struct weights *w;
    struct weights_options o = {.form = WEIGHTS_LANES};
    assert_ok(weights_open(&w, g, &o, &e), &e);
    for (uint32_t i = 0; i < gguf_n_pieces(g); i++)
        weights_need(w, i, 0);
    if (b)
        assert_ok(weights_settle(w, b, NULL, &e), &e);
    return w;
}

static void a_sidecar_has_every_expert_at_its_number(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf *g;
    struct backend *b;
    struct backend_options device = {.n_threads = 2, .isa = ISA_COUNT};
    snprintf(path, sizeof path, "%s", test_file("experts.gguf"));
    snprintf(lanes, sizeof lanes, "%s.lanes", path);
    unlink(lanes);
    tiny_model_write(path, &(struct tiny_model){.arch = "qwen3moe", .type = WT_Q8_0});
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(backend_open_cpu(&b, &device, &e), &e);
    struct weights *turned = all_pieces(g, b), *written = all_pieces(g, NULL);
    struct prepack what = {.path = lanes, .begin = begin, .told = go_on};
    assert_ok(weights_prepack(written, b, &what, &e), &e);
    struct weights *mapped = all_pieces(g, b);
    struct weights_report before = weights_report(turned), after = weights_report(mapped);
    assert_true(before.lanes.matrices > (int)gguf_n_tensors(g));
    assert_int_equal(after.sidecar.matrices, before.lanes.matrices);
    assert_int_equal(after.lanes.matrices, 0);
    struct piece_source s = weights_source(turned), m = weights_source(mapped);
    for (uint32_t i = 0; i < gguf_n_pieces(g); i++) {
        enum layout x, y;
        const uint8_t *a = s.acquire(s.ctx, i, &x, &e), *c = m.acquire(m.ctx, i, &y, &e);
        assert_int_equal(x, y);
        assert_memory_equal(a, c, gguf_piece_at(g, i).size);
        assert_true(x == LAYOUT_ROWS || a != c);
    }
    weights_free(turned);
    weights_free(written);
    weights_free(mapped);
    backend_free(b);
    gguf_free(g);
}

static void a_sidecar_of_some_layers_serves_those(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights_report all, r;
    model_new("some.gguf", WT_Q8_0);
    free(logits(WEIGHTS_LANES, ISA_SCALAR, &all));
    assert_ok(prepack(path, 1, 3, false, NULL, &e), &e);
    free(logits(WEIGHTS_LANES, ISA_SCALAR, &r));
    assert_int_equal(r.sidecar.matrices, 2 * 7);
    assert_int_equal(r.sidecar.matrices + r.lanes.matrices, all.lanes.matrices);
    free(logits(WEIGHTS_ROWS, ISA_SCALAR, &r)); // rows were asked for
    assert_int_equal(r.sidecar.matrices, 0);
}

static void what_is_in_it_is_4096_aligned_and_verifies(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf *g;
    struct digest key, model;
    struct sidecar_piece pieces[64];
    size_t size, n;
    model_new("aligned.gguf", WT_Q4_K);
    assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
    uint8_t *file = test_read(lanes, &size);
    assert_ok(sidecar_parse(file, size, size, pieces, 64, &n, &key, &e), &e);
    assert_true(n >= 7 * LAYERS && size % SIDECAR_PAGE == 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pieces[i].offset % SIDECAR_PAGE, 0);
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(sidecar_key(g, &model, &e), &e);
    assert_memory_equal(&key, &model, sizeof key);
    struct sidecar *s = sidecar_open(g, &e);
    assert_non_null(s);
    assert_ok(sidecar_verify(s, &e), &e);
    sidecar_close(s);
    file[pieces[n / 2].offset + 5] ^= 1;
    test_write(lanes, file, size);
    s = sidecar_open(g, &e);
    assert_non_null(s); // a start does not read it all
    assert_int_equal(sidecar_verify(s, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "is damaged"));
    sidecar_close(s);
    gguf_free(g);
    free(file);
}

// ---- what is wrong -----------------------------------------------------------------------------

static void check_unusable(const char *why)
{
    struct err e = {0};
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_null(sidecar_open(g, &e));
    if (!strstr(e.text, why))
        fail_msg("'%s' is not in: %s", why, e.text);
    assert_int_equal(access(lanes, F_OK), 0); // and still there
    gguf_free(g);
}

static void a_sidecar_of_another_model_is_not_used(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights_report r;
    size_t size;
    model_new("changed.gguf", WT_Q8_0);
    assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
    uint8_t *file = test_read(path, &size);
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &e), &e);
    const struct gguf_tensor *t = gguf_find_tensor(g, "blk.2.ffn_up.weight");
    assert_non_null(t);
    file[t->offset + t->size / 2] ^= 1; // the same shapes, one weight changed
    gguf_free(g);
    test_write(path, file, size);
    check_unusable("made of another model");
    free(logits(WEIGHTS_LANES, ISA_SCALAR, &r));
    assert_true(r.lanes.matrices > 0 && !r.sidecar.matrices);
    free(file);
}

static void a_damaged_sidecar_is_not_used(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    model_new("damaged.gguf", WT_Q8_0);
    assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
    uint8_t *file = test_read(lanes, &size);
    test_write(lanes, file, size - SIDECAR_PAGE);
    check_unusable("not as long as it was written");
    test_write(lanes, file, 100);
    check_unusable("shorter than its header");
    file[SIDECAR_PAGE + 20] ^= 1;
    test_write(lanes, file, size);
    check_unusable("its table has another digest");
    file[8]++;
    test_write(lanes, file, size);
    check_unusable("another version of Rondo wrote it");
    file[0]++;
    test_write(lanes, file, size);
    check_unusable("it is no sidecar");
    free(file);
}

static void a_disk_that_fails_while_writing_leaves_nothing(void **state)
{
    (void)state;
    static const enum disk_call calls[] = {DISK_OPEN, DISK_PWRITE, DISK_FSYNC, DISK_RENAME};
    model_new("failing.gguf", WT_Q8_0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (long n = calls[i] == DISK_OPEN;; n++) { // the model opens
            struct err e = {0};
            faulty_disk((struct disk_faults){.call = calls[i], .nth = n, .error = EIO});
            int rc = prepack(path, 0, LAYERS, true, NULL, &e);
            if (!faulty_disk_end()) {
                assert_ok(rc, &e);
                unlink(lanes);
                break;
            }
            assert_true(rc < 0 && e.text[0]);
            assert_int_equal(access(lanes, F_OK), -1);
            assert_int_equal(parts_left_over(), 0);
        }
}

static void a_full_disk_and_an_interrupt_leave_nothing(void **state)
{
    (void)state;
    model_new("full.gguf", WT_Q8_0);
    for (int64_t room = 0; room < 200000; room += 50000) {
        struct err e = {0};
        faulty_disk((struct disk_faults){.full = true, .room = room});
        int rc = prepack(path, 0, LAYERS, true, NULL, &e);
        assert_true(faulty_disk_end());
        assert_true(rc < 0);
        assert_non_null(strstr(e.text, "the disk is full"));
        assert_int_equal(access(lanes, F_OK), -1);
        assert_int_equal(parts_left_over(), 0);
    }
    struct err e = {0};
    long steps = 3;
    assert_int_equal(prepack(path, 0, LAYERS, true, &steps, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "interrupted"));
    assert_int_equal(access(lanes, F_OK), -1);
    assert_int_equal(parts_left_over(), 0);
}

static void short_and_interrupted_writes_make_no_difference(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size, other_size;
    model_new("short.gguf", WT_Q6_K);
    assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
    uint8_t *want = test_read(lanes, &size);
    unlink(lanes);
    faulty_disk((struct disk_faults){.most = 4096, .interrupt = true});
    assert_ok(prepack(path, 0, LAYERS, true, NULL, &e), &e);
    faulty_disk_end();
    uint8_t *got = test_read(lanes, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(got, want, size);
    free(want);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sidecar_is_used_and_gives_the_bits_of_rows),
        cmocka_unit_test(a_sidecar_has_every_expert_at_its_number),
        cmocka_unit_test(a_sidecar_of_some_layers_serves_those),
        cmocka_unit_test(what_is_in_it_is_4096_aligned_and_verifies),
        cmocka_unit_test(a_sidecar_of_another_model_is_not_used),
        cmocka_unit_test(a_damaged_sidecar_is_not_used),
        cmocka_unit_test(a_disk_that_fails_while_writing_leaves_nothing),
        cmocka_unit_test(a_full_disk_and_an_interrupt_leave_nothing),
        cmocka_unit_test(short_and_interrupted_writes_make_no_difference),
    };
    return cmocka_run_group_tests_name("sidecar", tests, NULL, NULL);
}
