// Any bytes as a GGUF header that is opened as a model: refused with a sentence, or a model whose
// layers, sizes and angles can be asked for.
#include "base/check.h"
#include "model/model.h"
#include "model/rope.h"
#include "model/shard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct gguf *g)
{
    struct model *m = NULL;
    struct err e = {0};
    if (model_open(&m, g, &e)) {
        CHECK(e.code && e.text[0]);
        return;
    }
    const struct hparams *h = model_hparams(m);
    size_t bytes = hparams_kv_page_bytes(h, h->n_layers, KV_F16);
    for (int i = 0; i <= h->n_layers; i++) {
        bytes += model_layer_bytes(m, i);
        CHECK(model_layer_bytes(m, i) || !model_has_layer(m, i));
    }
    float *angles = calloc((size_t)h->n_rot, sizeof *angles);
    if (angles)
        rope_angles(angles, h, bytes % 2, NULL);
    free(angles);
    struct digest d = model_digest(m);
    CHECK(sizeof d.bytes == DIGEST_BYTES);
    model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct err e = {0};
    uint64_t need = 0;
    // As the first bytes of a file that is large enough for whatever tensors it names.
    if (gguf_parse(&g, data, size, UINT64_C(1) << 50, "fuzz.gguf", &need, &e) == 0) {
        look_at(g);
        gguf_free(g);
    }
    return 0;
}
