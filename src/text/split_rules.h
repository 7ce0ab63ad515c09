// How families of byte-level vocabularies cut text into words: names (tokenizer.ggml.pre) and their
// regular expressions, in PCRE2's language with UTF and UCP. pretokenize.c runs them.
#pragma once

#include <stddef.h>

enum { SPLIT_MAX_PATTERNS = 6 };

enum split_flags {
    SPLIT_WHOLE_WORDS = 1, // a word that is a token is not merged together
    SPLIT_ADDS_BOS = 2,    // where the file does not say
    SPLIT_NFC = 4,         // text is brought into normal form C first
    SPLIT_THIRDS = 8,      // the last pattern finds numbers: they are cut in front of each third
                           // digit, counted from their ends, and nowhere else
};

struct split_rules {
    const char *names; // with spaces between them
    int flags;
    // One after the other: each cuts what the one before left, both its matches and what lies
    // between them. Unused ones are NULL.
    const char *pattern[SPLIT_MAX_PATTERNS];
};

const struct split_rules *split_rules_find(const char *name, size_t n); // NULL: not known
const struct split_rules *split_rules_at(size_t i);                     // NULL: there are no more
