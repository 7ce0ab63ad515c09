// Digests by which two nodes know that they have the same model. What goes into each is said in
// gguf.h and is a contract between nodes: changing it is a new protocol version.
#include "base/bytes.h"
#include "disk/io.h"
#include "gguf/gguf.h"
#include "gguf/header.h"

#include <errno.h>

static void add_u32(struct digest_state *s, uint32_t v)
{
    digest_add(s, &v, sizeof v);
}

static void add_u64(struct digest_state *s, uint64_t v)
{
    digest_add(s, &v, sizeof v);
}

static void add_name(struct digest_state *s, struct gguf_string name)
{
    add_u64(s, name.length);
    digest_add(s, name.text, name.length);
}

// Where sample `i` begins: the first at 0, the last at the end, the others evenly between.
static uint64_t sample_at(uint64_t size, int i)
{
    uint64_t span = size - GGUF_SAMPLE_BYTES; // of where a sample can begin
    return span / (GGUF_SAMPLES - 1) * (uint64_t)i +
           span % (GGUF_SAMPLES - 1) * (uint64_t)i / (GGUF_SAMPLES - 1);
}

int gguf_tensor_digest(const struct gguf *g, const struct gguf_tensor *t, struct digest *out,
                       struct err *e)
{
    int fd = gguf_part_fd(g, t->part), rc = 0;
    const char *path = gguf_part_path(g, t->part);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: there is no file behind it to take digests of", path);
    uint8_t sample[GGUF_SAMPLE_BYTES];
    struct digest_state *s = digest_begin();
    add_name(s, t->name);
    add_u32(s, t->type);
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        add_u64(s, t->dims[i]);
    bool whole = t->size <= (uint64_t)GGUF_SAMPLES * GGUF_SAMPLE_BYTES;
    uint64_t n = whole ? (t->size + GGUF_SAMPLE_BYTES - 1) / GGUF_SAMPLE_BYTES : GGUF_SAMPLES;
    for (uint64_t i = 0; i < n && !rc; i++) {
        uint64_t at = whole ? i * GGUF_SAMPLE_BYTES : sample_at(t->size, (int)i);
        size_t size = t->size - at < sizeof sample ? (size_t)(t->size - at) : sizeof sample;
        if (disk_read_full(fd, sample, size, (int64_t)(t->offset + at)) == 0)
            digest_add(s, sample, size);
        else if (errno)
            rc = err_errno(e, ERR_FAILED, "%s: cannot be read", path);
        else
            rc = err_set(e, ERR_FAILED, "%s: became shorter since it was opened; get it again",
                         path);
    }
    struct digest d = digest_end(s);
    if (!rc)
        *out = d;
    return rc;
}

static bool begins_with(struct gguf_string s, const char *text, size_t length)
{
    return s.length >= length && memcmp(s.text, text, length) == 0;
}

// Whether a key decides what is computed, given the architecture's name.
static bool decides(struct gguf_string key, struct gguf_string arch)
{
    static const char architecture[] = "general.architecture", vocab[] = "tokenizer.ggml.";
    if (begins_with(key, vocab, sizeof vocab - 1))
        return true;
    if (key.length == sizeof architecture - 1 && begins_with(key, architecture, key.length))
        return true;
    return arch.length && begins_with(key, arch.text, arch.length) && key.length > arch.length &&
           key.text[arch.length] == '.';
}

struct digest gguf_metadata_digest(const struct gguf *g)
{
    struct gguf_string arch = {0};
    gguf_get_string(g, "general.architecture", &arch);
    struct digest_state *s = digest_begin();
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = &g->parts[0].keys[g->keys_by_name[i]];
        if (!decides(k->name, arch))
            continue;
        add_name(s, k->name);
        add_u32(s, k->type);
        add_u32(s, k->type == GGUF_ARRAY ? k->element : 0);
        add_u64(s, k->count);
        digest_add(s, k->data, k->size);
    }
    return digest_end(s);
}
