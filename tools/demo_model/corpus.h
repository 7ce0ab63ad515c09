// The corpus as tokens.
#pragma once

#include "bpe.h"

enum { CORPUS_QUIET = 0x8000 }; // marks tokens that the model need not learn to say

struct corpus {
    uint16_t *tokens; // documents end to end; CORPUS_QUIET marks user and system turns
    size_t *start;    // documents + 1 entries
    size_t documents;
};

struct corpus corpus_read(struct bpe *bpe, const char *path);
void corpus_free(struct corpus *corpus);

// The whole file, "-" for standard input; ends the program when it cannot be read.
char *corpus_read_file(const char *path, size_t *length);
// Where the next special token is, its index and length in bytes; `length` and 0 for none.
size_t corpus_find_special(const char *text, size_t from, size_t length, int *special,
                           size_t *mark);
