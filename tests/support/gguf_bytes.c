// GGUF headers put together byte by byte: see gguf_bytes.h.
#include "gguf_bytes.h"

#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

void bytes_free(struct gguf_bytes *b)
{
    free(b->data);
    *b = (struct gguf_bytes){0};
}

void bytes_add(struct gguf_bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->data = realloc(b->data, b->capacity);
        if (!b->data)
            abort();
    }
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

void bytes_u32(struct gguf_bytes *b, uint32_t v)
{
    bytes_add(b, &v, sizeof v);
}

void bytes_u64(struct gguf_bytes *b, uint64_t v)
{
    bytes_add(b, &v, sizeof v);
}

void bytes_f32(struct gguf_bytes *b, float v)
{
    bytes_add(b, &v, sizeof v);
}

void bytes_string(struct gguf_bytes *b, const char *text)
{
    bytes_u64(b, strlen(text));
    bytes_add(b, text, strlen(text));
}

void bytes_zeros(struct gguf_bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes_add(b, "", 1);
}

void bytes_align(struct gguf_bytes *b, size_t align)
{
    bytes_zeros(b, (align - b->size % align) % align);
}

void bytes_prefix(struct gguf_bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    bytes_add(b, "GGUF", 4);
    bytes_u32(b, version);
    bytes_u64(b, n_tensors);
    bytes_u64(b, n_keys);
}

void bytes_key(struct gguf_bytes *b, const char *name, uint32_t type)
{
    bytes_string(b, name);
    bytes_u32(b, type);
}

void bytes_key_u32(struct gguf_bytes *b, const char *name, uint32_t v)
{
    bytes_key(b, name, GGUF_U32);
    bytes_u32(b, v);
}

void bytes_key_string(struct gguf_bytes *b, const char *name, const char *v)
{
    bytes_key(b, name, GGUF_STRING);
    bytes_string(b, v);
}

void bytes_tensor(struct gguf_bytes *b, const char *name, uint32_t n_dims, const uint64_t *dims,
                  uint32_t type, uint64_t offset)
{
    bytes_string(b, name);
    bytes_u32(b, n_dims);
    bytes_add(b, dims, n_dims * sizeof *dims);
    bytes_u32(b, type);
    bytes_u64(b, offset);
}
