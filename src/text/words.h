// Text repeats its words. A long text gets a small table of the words that it had already: each
// entry points at the word in the text and at its ids in the output. It lives as long as the text.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct encoder;
struct seen_word;

struct words {
    struct encoder *x;
    int (*encode)(struct encoder *x, const char *word, size_t n); // of a word not seen before
    struct seen_word *seen;                                       // NULL: text too short to bother
};

// For a text of n bytes, which must stay where it is until words_end.
void words_begin(struct words *w, struct encoder *x, size_t n,
                 int (*encode)(struct encoder *x, const char *word, size_t n));
void words_end(struct words *w);
// Appends the ids of a word to the output.
int words_encode(struct words *w, const char *word, size_t n);

// Encodes a text that is cut in front of each space behind another character, where no piece of the
// vocabulary would cross the cut.
int words_run(struct encoder *x, const char *text, size_t n,
              int (*encode)(struct encoder *x, const char *word, size_t n));
