// Text from outside on a terminal: printable characters as they are, everything that could move the
// cursor, hide text or turn its direction as an escape.
#pragma once

#include <stddef.h>
#include <stdio.h>

// Prints `text` (UTF-8, perhaps broken) in at most `columns`; when it is longer it ends with "...".
// Returns the columns used. Line feeds become \n, other controls and broken bytes \xNN.
int printable_put(FILE *f, const char *text, size_t length, int columns);
// Columns that printable_put would use without a limit.
int printable_columns(const char *text, size_t length);
// The same text as valid UTF-8, broken bytes replaced by U+FFFD: malloc'd, NULL: no memory.
char *printable_utf8(const char *text, size_t length, size_t *out_length);
