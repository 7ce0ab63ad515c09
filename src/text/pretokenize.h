// Splitting text into the words within which byte-level BPE merges, by the regular expressions
// that the model names (tokenizer.ggml.pre).
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"
#include "text/split_rules.h"

struct pretokenizer; // immutable; any thread may use it

// An empty name means gpt-2.
int pretokenizer_new(struct pretokenizer **out, struct gguf_string name,
                     const struct split_rules **rules, struct err *e);
void pretokenizer_free(struct pretokenizer *p);

// Calls `word` for each word in turn; together they are the text. Bytes that are not UTF-8 are
// words of their own. Ends early with what `word` returns if that is not 0.
int pretokenize(const struct pretokenizer *p, const char *text, size_t n,
                int (*word)(void *arg, const char *word, size_t n), void *arg, struct err *e);
