// Writing slices: see slicing.h. Tensors are copied as they are, a stretch at a time.
#include "hub/slicing.h"

#include "disk/io.h"
#include "gguf/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRETCH_BYTES = 8 << 20 };

static bool begins(struct gguf_string s, const char *with)
{
    size_t n = strlen(with);
    return s.length >= n && !memcmp(s.text, with, n);
}

// Every layer rotates by the factors, so every slice has them.
static bool is_wanted(const struct slicing *s, const struct gguf_tensor *t)
{
    int layer;
    if (sscanf(t->name.text, "blk.%d.", &layer) == 1)
        return layer >= 0 && layer < s->n_layers && s->layers[layer];
    return s->ends || begins(t->name, "rope_");
}

// Keys that say how the source lies in files, or that it is a slice itself.
static bool is_left_out(struct gguf_string name)
{
    return begins(name, "split.") || begins(name, "rondo.slice.");
}

uint64_t slicing_bytes(const struct slicing *s)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < gguf_n_tensors(s->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->g, i);
        bytes += is_wanted(s, t) ? t->size : 0;
    }
    return bytes;
}

static int put_keys(struct gguf_writer *w, const struct slicing *s, struct err *e)
{
    size_t n = (size_t)s->n_layers;
    int32_t *layers = calloc(n, sizeof *layers);
    char(*hex)[2 * DIGEST_BYTES + 1] = calloc(n, sizeof *hex);
    struct gguf_string *digests = calloc(n, sizeof *digests);
    size_t n_own = 0;
    if (layers && hex && digests) {
        for (size_t i = 0; i < gguf_n_keys(s->g); i++) {
            const struct gguf_key *k = gguf_key_at(s->g, i);
            if (!is_left_out(k->name))
                gguf_put_key(w, k);
        }
        for (size_t i = 0; i < n; i++) {
            digest_hex(&s->digests[i], hex[i]);
            digests[i] = (struct gguf_string){.text = hex[i], .length = 2 * DIGEST_BYTES};
            if (s->layers[i])
                layers[n_own++] = (int32_t)i;
        }
        gguf_put_i32s(w, "rondo.slice.layers", layers, n_own);
        gguf_put_bool(w, "rondo.slice.ends", s->ends);
        gguf_put_strings(w, "rondo.slice.digests", digests, n);
    }
    int rc = layers && hex && digests ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for a slice");
    free(layers);
    free(hex);
    free(digests);
    return rc;
}

static int copy_tensor(struct gguf_writer *w, const struct slicing *s, const struct gguf_tensor *t,
                       uint8_t *buffer, uint64_t *done, struct err *e)
{
    int fd = gguf_part_fd(s->g, t->part);
    for (uint64_t at = 0; at < t->size;) {
        size_t n = t->size - at < STRETCH_BYTES ? (size_t)(t->size - at) : STRETCH_BYTES;
        if (disk_read_full(fd, buffer, n, (int64_t)(t->offset + at)))
            return err_errno(e, ERR_FAILED, "%s: cannot be read", gguf_part_path(s->g, t->part));
        gguf_write(w, buffer, n);
        at += n;
        *done += n;
        if (s->told && !s->told(s->arg, *done))
            return err_set(e, ERR_FAILED, "interrupted; nothing is left of the file");
    }
    return 0;
}

int slicing_write(const struct slicing *s, const char *path, struct err *e)
{
    struct gguf_writer *w = NULL;
    uint64_t done = 0;
    uint8_t *buffer = malloc(STRETCH_BYTES);
    int rc = buffer ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to copy tensors");
    if (!rc)
        rc = gguf_writer_open(&w, path, e);
    if (!rc)
        rc = put_keys(w, s, e);
    for (size_t i = 0; i < gguf_n_tensors(s->g) && !rc; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->g, i);
        if (is_wanted(s, t))
            gguf_declare(w, t->name.text, t->type, t->n_dims, t->dims);
    }
    for (size_t i = 0; i < gguf_n_tensors(s->g) && !rc; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->g, i);
        if (is_wanted(s, t))
            rc = copy_tensor(w, s, t, buffer, &done, e);
    }
    if (!rc)
        rc = gguf_writer_finish(w, e);
    gguf_writer_free(w);
    free(buffer);
    return rc;
}
