// The prompt of a run: words on the command line or text piped in.
#pragma once

#include "base/err.h"

#include <stddef.h>

struct prompt {
    char *text; // malloc'd
    size_t length;
};

enum { PROMPT_MAX_BYTES = 16 << 20 };

// `word`: the operand, NULL or "-": standard input, which must not be a terminal.
int prompt_read(struct prompt *p, const char *word, struct err *e);
void prompt_free(struct prompt *p);
// The whole of a file, or of standard input for "-": malloc'd, at most `max` bytes.
int prompt_read_file(const char *path, size_t max, char **text, size_t *length, struct err *e);
