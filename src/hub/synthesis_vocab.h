// Vocabularies that tokenize any text, of any size.
#pragma once

#include "gguf/writer.h"
#include "hub/synthesis.h"

int synthesis_vocab_least(enum synthesis_vocab kind); // tokens

// Puts the tokenizer.ggml keys for s->n_vocab tokens.
int synthesis_vocab_put(struct gguf_writer *w, const struct synthesis *s, struct err *e);
