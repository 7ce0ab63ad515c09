// How Unigram vocabularies normalize text: a table that replaces character sequences
// (tokenizer.ggml.precompiled_charsmap), as SentencePiece compiles it.
//
//     u32 size | units: size bytes of u32 | replacements, each ended by a NUL
//
// The units are a double array (Darts-clone): the child of a node by byte c is the unit at
// node's offset ^ c, if that carries c as its label; behind a node that ends a key lies a unit with
// the place of its replacement.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"

enum { // limits
    CHARSMAP_MAX_KEY_BYTES = 64,
    CHARSMAP_MAX_REPLACEMENT_BYTES = 256,
};

struct charsmap {
    uint32_t *units; // NULL: nothing is replaced
    size_t n_units;
    char *replacements;
    size_t n_replacements; // bytes; the last is a NUL
};

// From a file's metadata; a file without a table replaces nothing.
int charsmap_load(struct charsmap *m, const struct gguf *g, struct err *e);
void charsmap_fini(struct charsmap *m);

// The longest key that the text of n > 0 bytes begins with; returns its length, 0: none, and its
// replacement.
size_t charsmap_find(const struct charsmap *m, const char *text, size_t n, const char **out,
                     size_t *n_out);
