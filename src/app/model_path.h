// Where a model is: MODEL on the command line is a path, a name of hub/model_name.h that is on this
// machine, or `demo`.
#pragma once

#include "base/err.h"

#include <stddef.h>

enum { MODEL_PATH_BYTES = 4096 };

// The file that `model` names. The demo model is looked for beside the program (models/), in the
// share folder of its installation (../share/rondo/models/) and in ./models/.
int model_path_find(const char *model, char *out, size_t size, struct err *e);
