// Reading the keys of an architecture: "context_length" is looked up as "llama.context_length",
// every number has a range, and the first thing that is wrong is kept as one sentence.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>

struct keys {
    const struct gguf *g;
    const char *path, *arch;
    struct err *e;
    int rc; // the first error; after one every read returns its default
};

enum { KEYS_REQUIRED = -1 };

// The integer in [lo, hi]; `otherwise` where there is no such key, unless that is KEYS_REQUIRED.
int keys_int(struct keys *k, const char *key, int lo, int hi, int otherwise);
// The number, positive and at most `hi`; `otherwise` where there is no such key, unless that is
// NaN.
double keys_positive(struct keys *k, const char *key, double hi, double otherwise);
bool keys_flag(struct keys *k, const char *key, bool otherwise);
bool keys_has(const struct keys *k, const char *key);
// The text, made printable; `otherwise` where there is no such key.
void keys_text(struct keys *k, const char *key, const char *otherwise, char *out, int size);
