// One part of a model file in memory: its header bytes and where everything in them lies.
//
// A header is walked twice. header_scan checks the structure against the bytes that are there and
// counts, and allocates nothing; then the tables are allocated once, in their final size, and
// header_keys and header_tensors fill them.
//
//   magic, version, n_tensors, n_keys | keys | tensor table | padding | tensor data
//   0                                 24                    header_bytes  data_at
#pragma once

#include "base/arena.h"
#include "disk/stamp.h"
#include "gguf/gguf.h"

struct gguf_part {
    char *path; // heap
    int fd;
    uint64_t size; // of the file
    struct disk_stamp stamp;
    uint8_t *header; // heap
    size_t header_bytes, max_header_bytes;
    uint32_t version, alignment;
    uint64_t data_at;
    size_t n_keys, n_tensors, n_strings;
    size_t tensors_at;     // of the tensor table, in header
    struct gguf_key *keys; // heap, (n_keys)
};

struct gguf {
    char *path; // heap
    struct gguf_part *parts;
    int n_parts;
    struct arena arena; // the tables below
    uint64_t *string_at;
    struct gguf_tensor *tensors;
    size_t n_tensors, n_pieces;
    uint32_t *keys_by_name;    // (parts[0].n_keys)
    uint32_t *tensors_by_name; // (n_tensors)
};

// Looks at the first `size` bytes in p->header. 0: fills the counts and header_bytes; 1: more
// bytes are needed, *need of them; else an error.
int header_scan(struct gguf_part *p, size_t size, uint64_t *need, struct err *e);
// Fills p->keys and reads the alignment; string_at (p->n_strings) may be NULL and come in a second
// call.
int header_keys(struct gguf_part *p, uint64_t *string_at, struct err *e);
// Fills tensors (p->n_tensors), checked against the file's size and each other; order is scratch of
// the same length.
int header_tensors(struct gguf_part *p, int part, struct gguf_tensor *tensors, uint32_t *order,
                   struct err *e);
// Numbers the pieces of all tensors.
int pieces_number(struct gguf *g, struct err *e);
const struct gguf_key *header_find(const struct gguf_part *p, const char *name); // linear

// Bytes of one element; 0 for strings and arrays.
size_t key_type_size(enum gguf_type type);
bool key_u64(const struct gguf_key *k, uint64_t *out);

// Takes parts whose headers are scanned, builds all tables.
int gguf_assemble(struct gguf *g, struct err *e);
