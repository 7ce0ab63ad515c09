// The sidecar of a model file: matrices in lane form on disk, so that a start turns nothing and
// takes no memory of its own: the file is mapped, its pages are the page cache's. `rondo prepack`
// writes it, beside the model, under the model's name and ".lanes"; nothing else ever does.
//
//     page 0   | "RONDLANE" | version | lane rows | pieces | 0 | file bytes | model key | table
//     digest | page 1.. | piece 0 | piece 1 | ...                      SIDECAR_ENTRY_BYTES each,
//     see below page n.. | matrix in lane form, zeros to the page's end | next matrix ...
//
//     piece    | number u32 | type u32 | rows u64 | row bytes u64 | offset u64 | bytes u64 |
//              | SHA-256 of the bytes |
//
// Numbers are little-endian, pages have 4096 bytes. The model key is a SHA-256 over the model's
// metadata digest, every tensor's name, type, shape and place, and 4 KiB from the middle of each:
// another model, or the same one changed, has another key. A worker's sidecar has its own layers
// only.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIDECAR_VERSION = 1,
    SIDECAR_PAGE = 4096,
    SIDECAR_ENTRY_BYTES = 72,
    SIDECAR_PATH_BYTES = 4096,
};

struct sidecar_piece {
    uint32_t piece, type;                      // piece: as gguf.h numbers them
    uint64_t n_rows, row_bytes, offset, bytes; // offset: of the file, a whole page
    struct digest digest;
};

// ---- reading -----------------------------------------------------------------------------------

struct sidecar;

// The first `size` bytes of a file of `file_bytes`, header and table in them: checked for
// everything but the model key, which is returned. pieces: (capacity); *n_pieces of them are
// filled. Which tensors they are is the caller's to compare.
int sidecar_parse(const void *data, size_t size, uint64_t file_bytes, struct sidecar_piece *pieces,
                  size_t capacity, size_t *n_pieces, struct digest *key, struct err *e);

// The sidecar of `g`, mapped; NULL: none, or, with `e` set, one that cannot be used.
struct sidecar *sidecar_open(const struct gguf *g, struct err *e);
void sidecar_close(struct sidecar *s);
// The lanes of a piece: its lane form has `bytes` bytes. NULL: not in there.
const uint8_t *sidecar_find(const struct sidecar *s, uint32_t piece, uint64_t bytes);
// After a pass: 0, or that the file was cut short, changed or could not be read since it was
// opened.
int sidecar_check(const struct sidecar *s, struct err *e);
// The same as a place in the file. False: not in there.
bool sidecar_offset(const struct sidecar *s, uint32_t piece, uint64_t bytes, uint64_t *out);
const char *sidecar_name(const struct sidecar *s);            // path
int sidecar_fd(const struct sidecar *s, uint64_t *file_size); // the sidecar's
// Reads everything and compares the digests.
int sidecar_verify(const struct sidecar *s, struct err *e);

int sidecar_path(char out[SIDECAR_PATH_BYTES], const struct gguf *g, struct err *e);
int sidecar_key(const struct gguf *g, struct digest *out, struct err *e);

// ---- writing -----------------------------------------------------------------------------------

struct backend;
struct mapping;

struct sidecar_plan {
    const struct gguf *g;
    const uint32_t *pieces; // matrices that lanes_can
    size_t n_pieces;
    const uint8_t *const *rows; // (n_pieces) where their rows lie
    // Whether the rows were what they should be, asked before the file gets its name.
    const struct mapping *mapping;
    // Bytes written so far; false ends it. On the caller's thread.
    bool (*told)(void *arg, uint64_t done);
    void *arg;
};

// Bytes that the file will have; 0: more than a file can have.
uint64_t sidecar_bytes(const struct sidecar_plan *p);
// Writes to a name of its own, syncs, and renames: `path` is complete or as it was. Written past
// the page cache where the file system can.
int sidecar_write(const struct sidecar_plan *p, struct backend *b, const char *path, struct err *e);
