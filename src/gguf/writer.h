// Writing GGUF v3 files: metadata first, then tensors in the order they were declared.
//
// The file appears under its final name only when writer_finish succeeds; until then the bytes are
// in a temporary file beside it, which writer_free removes.
#pragma once

#include "gguf/gguf.h"

struct gguf_writer;

// path NULL: there is no file, only what it would say of itself (gguf_writer_parse).
int gguf_writer_open(struct gguf_writer **out, const char *path, struct err *e);
// The model as it would be in a file called `name`, without a byte of tensor data; instead of
// gguf_write and gguf_writer_finish.
int gguf_writer_parse(struct gguf_writer *w, const char *name, struct gguf **out, struct err *e);
void gguf_writer_free(struct gguf_writer *w);

void gguf_put_u32(struct gguf_writer *w, const char *name, uint32_t value);
void gguf_put_u64(struct gguf_writer *w, const char *name, uint64_t value);
void gguf_put_f32(struct gguf_writer *w, const char *name, float value);
void gguf_put_bool(struct gguf_writer *w, const char *name, bool value);
void gguf_put_string(struct gguf_writer *w, const char *name, const char *text, size_t length);
void gguf_put_strings(struct gguf_writer *w, const char *name, const struct gguf_string *s,
                      size_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *name, const float *values, size_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *name, const int32_t *values, size_t n);
// A key as another file has it.
void gguf_put_key(struct gguf_writer *w, const struct gguf_key *k);

// Declares a tensor; dims[0] is the row length.
void gguf_declare(struct gguf_writer *w, const char *name, uint32_t type, int n_dims,
                  const uint64_t *dims);
// Appends bytes of the tensor data, in declaration order; the writer pads between tensors itself.
// The first call ends declarations. Errors are kept and told by gguf_writer_finish.
void gguf_write(struct gguf_writer *w, const void *data, size_t size);
// Whether it went wrong already: 0 or the error, so that long work need not go on.
int gguf_writer_failed(const struct gguf_writer *w, struct err *e);
int gguf_writer_finish(struct gguf_writer *w, struct err *e);
