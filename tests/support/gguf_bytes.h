// GGUF headers put together byte by byte, so that each byte can be wrong.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct gguf_bytes {
    uint8_t *data;
    size_t size, capacity;
};

void bytes_free(struct gguf_bytes *b);
void bytes_add(struct gguf_bytes *b, const void *data, size_t size);
void bytes_u32(struct gguf_bytes *b, uint32_t v);
void bytes_u64(struct gguf_bytes *b, uint64_t v);
void bytes_f32(struct gguf_bytes *b, float v);
void bytes_string(struct gguf_bytes *b, const char *text);
void bytes_zeros(struct gguf_bytes *b, size_t n);
void bytes_align(struct gguf_bytes *b, size_t align); // zeros up to a multiple

void bytes_prefix(struct gguf_bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys);
void bytes_key(struct gguf_bytes *b, const char *name, uint32_t type); // its value follows
void bytes_key_u32(struct gguf_bytes *b, const char *name, uint32_t v);
void bytes_key_string(struct gguf_bytes *b, const char *name, const char *v);
// Offset from the start of the tensor data.
void bytes_tensor(struct gguf_bytes *b, const char *name, uint32_t n_dims, const uint64_t *dims,
                  uint32_t type, uint64_t offset);
