// The JSON of `rondo show`.
#pragma once

#include "app/foresight.h"
#include "app/inventory.h"

#include <jansson.h>
#include <stdbool.h>

enum { SHOW_ELEMENTS = 6 }; // of a long array, unless everything is wanted

// NULL: no memory.
json_t *show_json(const struct gguf *g, const struct inventory *v, const struct foresight *f,
                  bool full);
