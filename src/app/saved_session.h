// Files of conversations: what was said, its tokens, and the pages of the key-value cache, so that
// a conversation goes on without being computed again. Little-endian:
//
//     header  magic "RONDOSES", u32 version, u32 kv_type,
//             u64 text_bytes, n_tokens, page_bytes, n_pages,
//             digest of the model, of the kind of the pages (model/shard_state.h), of the text, of
//             the tokens, of the pages, of the header before
//     text    JSON: model (its name), system, messages or text
//     tokens  i32 each
//     pages   as they lie in memory (model/shard_state.h); none: the tokens are computed again
//
// The digests are SHA-256. Nothing in a file is believed before its digest fits, and every length
// is checked against the file's size first. A file is written beside its place and renamed, so
// there is never half a one; only its owner may read it.
#pragma once

#include "base/digest.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SAVED_VERSION = 1,
    SAVED_HEADER_BYTES = 240,
    SAVED_PATH_BYTES = 4096,
    SAVED_MAX_TEXT_BYTES = 1 << 26,
    SAVED_MAX_TOKENS = 1 << 20, // as --ctx
    SAVED_MAX_PAGE_BYTES = 1 << 30,
};

struct saved_header {
    uint32_t kv_type; // of the pages
    uint64_t text_bytes, n_tokens, page_bytes, n_pages;
    struct digest model, kind, text, tokens, pages;
};

// The header in front of a file of `file_bytes`, of which `size` bytes are at `data`. `name` is for
// the sentence.
int saved_parse(const void *data, size_t size, uint64_t file_bytes, const char *name,
                struct saved_header *out, struct err *e);
// The text of a file: an object whose fields have the types that they should have; a new reference.
int saved_parse_text(const char *text, size_t size, const char *name, json_t **out, struct err *e);

// ---- Reading: the text first, then tokens, then pages.
struct saved_reader {
    char name[SAVED_PATH_BYTES];
    int fd; // -1: closed
    struct saved_header header;
    json_t *text;
    int32_t *tokens; // (header.n_tokens), after saved_read_tokens
    struct digest_state *pages;
};

// Opens the file and reads header and text. 1: there is no such file.
int saved_open(struct saved_reader **out, const char *path, struct err *e);
int saved_read_tokens(struct saved_reader *r, struct err *e);
// The pages in their order, each once, header.page_bytes at `page`. With the last one their digest
// is known and compared.
int saved_read_page(struct saved_reader *r, size_t index, void *page, struct err *e);
void saved_close(struct saved_reader *r);

// ---- Writing.
struct saved_contents {
    struct digest model, kind;
    uint32_t kv_type;
    const json_t *text;
    const int32_t *tokens;
    size_t n_tokens, page_bytes; // page_bytes 0: without pages
    void (*read_page)(void *arg, size_t index, void *page);
    void *arg;
};
// Whether a file can be made at `path`: asked before there is something to lose.
int saved_can_write(const char *path, struct err *e);
// Replaces what is at `path`.
int saved_write(const char *path, const struct saved_contents *c, struct err *e);

// Where the sessions of this user are: the path of the one called `name` (letters, digits, '.', '_'
// and '-'). The folder is made when absent.
int saved_path(char out[SAVED_PATH_BYTES], const char *name, struct err *e);
