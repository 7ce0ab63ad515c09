// How fast a vocabulary makes tokens of a text: rondo tokenize --bench.
#pragma once

#include "base/err.h"
#include "text/vocab.h"

// Prints megabytes a second of processor time of one thread: of the text, repeated to a megabyte,
// and of texts that are hard because they have no words.
int tokenize_bench(const struct vocab *v, const char *text, size_t n, bool json, struct err *e);
