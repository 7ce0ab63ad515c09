// Where a new file is to go, looked at before the work begins.
#pragma once

#include "base/err.h"

#include <stdint.h>

// Whether a file of `bytes` can be written at `path`, which must not be there yet. `instead` ends
// the sentence when the disk lacks room: what the user may do.
int place_check(const char *path, uint64_t bytes, const char *instead, struct err *e);
