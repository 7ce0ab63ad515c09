// The keys of slices: see slice_keys.h.
#include "model/slice_keys.h"

#include "base/check.h"

#include <string.h>

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct digest *out, struct gguf_string s)
{
    if (s.length != 2 * DIGEST_BYTES)
        return false;
    for (int i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_digit(s.text[2 * i]), low = hex_digit(s.text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int damaged(const struct gguf *g, const char *key, struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "%s: %s does not fit the model; the file is damaged, make the slice again",
                   gguf_path(g), key);
}

int slice_read(struct slice *s, const struct gguf *g, int n_layers, struct err *e)
{
    const struct gguf_key *layers = gguf_find(g, SLICE_KEY_LAYERS);
    *s = (struct slice){.ends = true};
    if (!layers)
        return 0;
    s->some = true;
    if (layers->type != GGUF_ARRAY || layers->count > (uint64_t)n_layers)
        return damaged(g, SLICE_KEY_LAYERS, e);
    for (uint64_t i = 0; i < layers->count; i++) {
        int64_t layer;
        if (!gguf_int_at(layers, i, &layer) || layer < 0 || layer >= n_layers)
            return damaged(g, SLICE_KEY_LAYERS, e);
        s->layers[layer / 8] |= (uint8_t)(1u << layer % 8);
    }
    if (!gguf_get_bool(g, SLICE_KEY_ENDS, &s->ends))
        return damaged(g, SLICE_KEY_ENDS, e);
    s->digests = gguf_find(g, SLICE_KEY_DIGESTS);
    if (!s->digests || s->digests->type != GGUF_ARRAY || s->digests->element != GGUF_STRING ||
        s->digests->count != (uint64_t)n_layers)
        return damaged(g, SLICE_KEY_DIGESTS, e);
    for (int i = 0; i < n_layers; i++) {
        struct digest d;
        if (!read_hex(&d, gguf_string_at(s->digests, (uint64_t)i)))
            return damaged(g, SLICE_KEY_DIGESTS, e);
    }
    return 0;
}

bool slice_has(const struct slice *s, int layer, int n_layers)
{
    if (!s->some)
        return true;
    return layer == n_layers ? s->ends : s->layers[layer / 8] >> layer % 8 & 1;
}

struct digest slice_digest(const struct slice *s, int layer)
{
    struct digest d;
    CHECK(s->some && read_hex(&d, gguf_string_at(s->digests, (uint64_t)layer)));
    return d;
}
