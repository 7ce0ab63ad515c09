// Any bytes as a GGUF header: refused, or every key, string and tensor in bounds and found by name.
#include "base/check.h"
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long sum; // so that no read is optimised away

static void touch(const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++)
        sum += p[i];
}

static void look_at_key(const struct gguf *g, const struct gguf_key *k)
{
    char name[GGUF_MAX_KEY_BYTES];
    CHECK(k->name.length > 0 && k->name.length < sizeof name);
    memcpy(name, k->name.text, k->name.length);
    name[k->name.length] = 0;
    CHECK(gguf_find(g, name) == k);
    touch(k->data, k->size);
    bool strings = k->type == GGUF_STRING || (k->type == GGUF_ARRAY && k->element == GGUF_STRING);
    for (uint64_t i = 0; i < k->count; i++) {
        int64_t integer;
        double number;
        if (strings) {
            struct gguf_string s = gguf_string_at(k, i);
            CHECK((const uint8_t *)s.text + s.length <= k->data + k->size);
            touch(s.text, s.length);
        } else {
            sum += gguf_int_at(k, i, &integer) + gguf_float_at(k, i, &number);
        }
    }
}

static void look_at(const struct gguf *g, uint64_t file_size)
{
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        look_at_key(g, gguf_key_at(g, i));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        CHECK(strlen(t->name.text) == t->name.length && wtype_info(t->type));
        CHECK(gguf_find_tensor(g, t->name.text) == t);
        CHECK(t->size > 0 && t->size <= file_size && t->offset <= file_size - t->size);
        CHECK(t->offset % gguf_alignment(g) == 0);
    }
    struct digest d = gguf_metadata_digest(g);
    touch(&d, sizeof d);
}

static void parse(const uint8_t *data, size_t size, uint64_t file_size)
{
    struct gguf *g = NULL;
    struct err e = {0};
    uint64_t need = 0;
    int rc = gguf_parse(&g, data, size, file_size, "fuzz", &need, &e);
    if (rc == 0)
        look_at(g, file_size);
    else if (rc > 0)
        CHECK(need > size && need <= file_size && !g);
    else
        CHECK(e.code == rc && e.text[0] && !g);
    gguf_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size, size);
    parse(data, size, (uint64_t)size + (1 << 20)); // the tensors' data or more headers follow
    return 0;
}
