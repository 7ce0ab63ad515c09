// GGUF files, versions 2 and 3, whole or split: metadata, tensor table, nothing of the weights.
//
// The parser takes memory: gguf_parse sees the first bytes of a file and either reads all headers,
// or says how many more bytes it needs. gguf_open reads headers with pread until the parser is
// content and checks every tensor against the file's real size. Input is hostile: every count and
// length is checked against what is there before it sizes anything.
//
// A split model (NAME-00001-of-00003.gguf) opens by any of its parts; all parts must lie beside it.
// Its keys are those of the first part. A struct gguf is immutable once open; any thread may read
// it.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "kernels/blocks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Limits, for all parts together. They are several times what the largest models have (16 MiB of
// metadata, 800,000 strings, 3,000 tensors), and keep the worst file below 64 MiB of memory.
enum {
    GGUF_MAX_HEADER_BYTES = 32 << 20, // metadata and tensor table
    GGUF_MAX_STRINGS = 1 << 21,       // in arrays
    GGUF_MAX_TENSORS = 1 << 16,
    GGUF_MAX_KEYS = 1 << 14,
    GGUF_MAX_KEY_BYTES = 1 << 16,
    GGUF_MAX_PIECES = 1 << 18,
    GGUF_MAX_NAME_BYTES = 256, // tensor names
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_PARTS = 1024,
    GGUF_MIN_ALIGNMENT = 8,
    GGUF_MAX_ALIGNMENT = 1 << 20,
    GGUF_DEFAULT_ALIGNMENT = 32, // a file without general.alignment
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT,
};

struct gguf_string {
    const char *text; // not NUL-terminated
    size_t length;
};

struct gguf_key {
    struct gguf_string name;
    enum gguf_type type, element; // element: of an array
    uint64_t count;               // of an array, else 1
    const uint8_t *data;          // raw value: element 0; of a string, its length
    size_t size;                  // bytes of the raw value
    const uint64_t *string_at;    // of an array of strings: offset of string i's length in data
};

struct gguf_tensor {
    struct gguf_string name; // NUL-terminated as well
    uint32_t type;           // a known enum wtype
    int n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; // dims[0] runs fastest: row length; unused ones are 1
    int part;
    uint64_t offset; // from the start of the part's file
    uint64_t size;   // bytes
    uint32_t first_piece, n_pieces;
};

struct gguf;

int gguf_open(struct gguf **out, const char *path, struct err *e);
// The header bytes of one whole file in memory; file_size is checked against. `name` for messages.
// Copies what it keeps. Returns 0, a negative error, or 1 with *need set to a larger prefix length
// when `size` bytes were not enough and size < file_size.
int gguf_parse(struct gguf **out, const void *data, size_t size, uint64_t file_size,
               const char *name, uint64_t *need, struct err *e);
void gguf_free(struct gguf *g);

const char *gguf_path(const struct gguf *g); // as opened
int gguf_version(const struct gguf *g);
int gguf_n_parts(const struct gguf *g);
const char *gguf_part_path(const struct gguf *g, int part);
int gguf_part_fd(const struct gguf *g, int part); // open for reading; -1 when parsed from memory
uint64_t gguf_part_size(const struct gguf *g, int part);
// 0, or which file changed since it was opened, and how: what was read of it since means nothing.
// One fstat a part.
int gguf_unchanged(const struct gguf *g, struct err *e);
uint32_t gguf_alignment(const struct gguf *g);

size_t gguf_n_keys(const struct gguf *g);
const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i);
const struct gguf_key *gguf_find(const struct gguf *g, const char *name); // NULL: absent

size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

// Pieces: what is loaded, kept or streamed as one. A tensor of several stacked matrices, such as
// the experts of a mixture, has a piece for each of them, every other tensor is one; they are
// numbered through the tensors in order.
struct gguf_piece {
    const struct gguf_tensor *tensor;
    uint64_t offset, size; // in the file of the tensor's part
    uint32_t index;        // which of the tensor's
};
size_t gguf_n_pieces(const struct gguf *g);
struct gguf_piece gguf_piece_at(const struct gguf *g, uint32_t piece); // piece < gguf_n_pieces
uint32_t gguf_tensor_piece(const struct gguf *g, const struct gguf_tensor *t); // its first

// Typed reads. True when the key is there with a type that converts without loss (any integer type
// for integers, any integer or float for doubles); *out is untouched otherwise.
bool gguf_get_u64(const struct gguf *g, const char *name, uint64_t *out);
bool gguf_get_i64(const struct gguf *g, const char *name, int64_t *out);
bool gguf_get_f64(const struct gguf *g, const char *name, double *out);
bool gguf_get_bool(const struct gguf *g, const char *name, bool *out);
bool gguf_get_string(const struct gguf *g, const char *name, struct gguf_string *out);
// Element i of an array key, i < count. A string key is an array of one.
struct gguf_string gguf_string_at(const struct gguf_key *k, uint64_t i);
bool gguf_int_at(const struct gguf_key *k, uint64_t i, int64_t *out);
bool gguf_float_at(const struct gguf_key *k, uint64_t i, double *out);

// Digest of one tensor: SHA-256 over name, type, shape and up to GGUF_SAMPLES x 4 KiB of its bytes,
// evenly spread, the first and last included; read with pread. Comparing these is how nodes know
// that they have the same model without reading 40 GB.
enum { GGUF_SAMPLES = 8, GGUF_SAMPLE_BYTES = 4096 };
int gguf_tensor_digest(const struct gguf *g, const struct gguf_tensor *t, struct digest *out,
                       struct err *e);
// SHA-256 over all metadata that decides what is computed: general.architecture, the keys of that
// architecture ("llama.*") and the vocabulary ("tokenizer.ggml.*"). Names, licences, chat templates
// and split.* are left out, so a renamed or split copy of a model has the digest of the original.
// Keys go in sorted by name, each as {u64 length, name, u32 type, u32 element, u64 count, raw
// value}.
struct digest gguf_metadata_digest(const struct gguf *g);
