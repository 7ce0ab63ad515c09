// Lines that were typed, kept from one conversation to the next in the user's state folder. Several
// programs may add to the file at once; only its owner may read it.
//
// The file has one entry a line, oldest first; a newline inside an entry is "\n" there, a backslash
// two of them.
#pragma once

#include "base/err.h"

#include <stddef.h>

enum { LINE_HISTORY_MAX_ENTRIES = 1000, LINE_HISTORY_MAX_BYTES = 1 << 20 };

// Calls `each` with the newest entries, the oldest of them first. A file that is not there has
// none; one that has grown too long is cut.
int line_history_load(const char *path, void (*each)(void *arg, const char *entry), void *arg,
                      struct err *e);
int line_history_add(const char *path, const char *entry, struct err *e);
