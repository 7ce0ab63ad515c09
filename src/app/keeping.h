// How this machine keeps weights, as --layout, --memory and --residency say.
#pragma once

#include "app/options.h"
#include "weights/weights.h"

// Fills what the options say. ERR_USAGE: no amount of memory.
int keeping_read(struct weights_options *out, const struct options *o, struct err *e);
// "6G", "50%" of `total`, "auto" (0) in bytes.
int keeping_memory(const char *text, uint64_t total, uint64_t *out, struct err *e);
