// The prompt of a run: words on the command line or text piped in, and the tokens made of it.
#pragma once

#include "app/options.h"
#include "text/vocab.h"

struct prompt {
    char *text; // malloc'd
    size_t length;
    bool chat; // wrapped as a turn of a conversation
};

enum { PROMPT_MAX_BYTES = 16 << 20 };

// `word`: the operand, NULL or "-": standard input, which must not be a terminal.
int prompt_read(struct prompt *p, const char *word, struct err *e);
void prompt_free(struct prompt *p);
// Wraps it as a turn of the model's chat template, if it has one and --raw is not given; sets
// p->chat.
int prompt_encode(struct prompt *p, const struct gguf *g, const struct vocab *v,
                  const struct options *o, struct ids *out, struct err *e);
// The whole of a file, or of standard input for "-": malloc'd, at most `max` bytes.
int prompt_read_file(const char *path, size_t max, char **text, size_t *length, struct err *e);
