// Finding tokens that are matched as whole strings, before text is split into words: user-defined
// tokens in every text, control tokens where the caller allows them.
#pragma once

#include "base/err.h"
#include "text/lookup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct special { // a set of such tokens; all pointers but `ids` belong to the vocabulary
    const char *bytes;
    const struct span *keys;
    int32_t *ids; // (n), by their text
    int32_t n;
    int32_t first[257];   // those that begin with byte b are ids[first[b]] .. ids[first[b + 1]]
    uint64_t pairs[1024]; // bit (b0 << 8 | b1): some token begins with these bytes
    uint32_t longest;
    const bool
        *eats_space; // (tokens of the vocabulary) white space behind it belongs to it; or NULL
};

// Takes the tokens `member` chooses. 0 or -1 (no memory).
int special_init(struct special *s, const char *bytes, const struct span *keys,
                 const bool *eats_space, const bool *member, int32_t n_vocab);
void special_fini(struct special *s);

struct special_match {
    size_t at, end; // bytes of the text that it stands for
    int32_t id;
    uint32_t size; // of the token's text
};

struct special_matches {
    struct special_match *match; // ascending, apart from each other
    size_t n, capacity;
};

// All tokens of `s` in the text. Where they overlap the longest wins, then the first. 0 or -1 (no
// memory); free `out->match` in both cases.
int special_find(const struct special *s, const char *text, size_t n, struct special_matches *out);
