// Models as the planner sees them: bytes that add up for every architecture, experts apart,
// computing memory as it is then taken, and absent layers of a slice.
#include "support.h"
#include "tiny_model.h"

#include "cluster/plan_model.h"
#include "hub/slicing.h"

#include <stdlib.h>
#include <string.h>

static void see(struct plan_model *out, const char *path, struct err *e, int *rc)
{
    struct gguf *g;
    struct model *m;
    assert_ok(gguf_open(&g, path, e), e);
    assert_ok(model_open(&m, g, e), e);
    *rc =
        plan_model_of(out, m, &(struct plan_model_options){.kv_type = KV_F16, .max_batch = 32}, e);
    for (int i = 0; !*rc && i < out->n_layers; i++)
        if (model_has_layer(m, i))
            assert_int_equal(out->layers[i].bytes, model_layer_bytes(m, i));
    if (!*rc) {
        uint64_t ends = model_layer_bytes(m, out->n_layers);
        uint64_t twice = model_hparams(m)->tied_output ? 0 : out->embedding_bytes;
        assert_int_equal(out->output.bytes + twice, ends);
    }
    model_free(m);
    gguf_free(g);
}

static void bytes_add_up_for_every_architecture(void **state)
{
    (void)state;
    const char *path = test_file("m.gguf");
    struct plan_model *p = malloc(sizeof *p);
    for (size_t i = 0; i < n_tiny_archs; i++) {
        struct err e = {0};
        int rc;
        tiny_model_write(path, &tiny_archs[i].model);
        see(p, path, &e, &rc);
        assert_ok(rc, &e);
        struct tiny_model t = tiny_model_filled(&tiny_archs[i].model);
        bool mixture = false, window = false;
        for (int y = 0; y < p->n_layers; y++) {
            const struct plan_layer *l = &p->layers[y];
            uint64_t sum = 0;
            for (int k = 0; k < l->n_stacks; k++) {
                sum += l->stacks[k].bytes;
                if (l->stacks[k].n_experts) {
                    mixture = true;
                    assert_int_equal(l->stacks[k].n_experts, t.n_experts);
                    assert_int_equal(l->stacks[k].n_used, t.n_used);
                }
            }
            assert_in_range(sum, 1, l->bytes);
            assert_true(l->kv_bytes > 0);
            window = window || l->window > 0;
        }
        assert_int_equal(mixture, t.n_experts > 0);
        assert_int_equal(window, t.window > 0);
        assert_true(p->computing > 0 && p->computing_head > p->computing);
    }
    free(p);
}

// Layers 2 and 3.
static void write_slice(const struct model *m, bool ends, const char *path)
{
    struct err e = {0};
    struct digest digests[6];
    for (int i = 0; i < 6; i++)
        assert_ok(model_layer_digest(m, i, &digests[i], &e), &e);
    struct slicing s = {.g = model_gguf(m),
                        .n_layers = 6,
                        .layers = (const bool[]){false, false, true, true, false, false},
                        .ends = ends,
                        .digests = digests};
    assert_ok(slicing_write(&s, path, &e), &e);
}

static void absent_layers_are_like_those_that_are_there(void **state)
{
    (void)state;
    const char *path = test_file("m.gguf"), *part = test_file("part.gguf");
    struct err e = {0};
    struct gguf *g;
    struct model *m;
    struct plan_model *whole = malloc(sizeof *whole), *slice = malloc(sizeof *slice);
    int rc;
    tiny_model_write(path, &(struct tiny_model){.n_layers = 6});
    see(whole, path, &e, &rc);
    assert_ok(rc, &e);
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(model_open(&m, g, &e), &e);
    write_slice(m, true, part);
    see(slice, part, &e, &rc);
    assert_ok(rc, &e);
    assert_int_equal(slice->n_layers, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(slice->layers[i].bytes, whole->layers[i].bytes);
    assert_int_equal(slice->output.bytes, whole->output.bytes);
    write_slice(m, false, part);
    see(slice, part, &e, &rc);
    assert_int_equal(rc, ERR_FAILED);
    assert_non_null(strstr(e.text, "embedding and output"));
    model_free(m);
    gguf_free(g);
    free(whole);
    free(slice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_add_up_for_every_architecture),
        cmocka_unit_test(absent_layers_are_like_those_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
