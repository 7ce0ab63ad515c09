// What is said when weights cannot be read from their file.
#pragma once

#include "base/err.h"

struct read; // disk/reader.h

// `q` FAILED; `path` is its file's. Returns the error's code.
int unreadable(struct err *e, const char *path, const struct read *q);
