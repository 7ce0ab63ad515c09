// Which of a repository's model files is meant: quantizations by the names of files.
#pragma once

#include "base/err.h"
#include "hub/model_name.h"

#include <stdbool.h>
#include <stddef.h>

#define QUANT_DEFAULT "Q4_K_M"

// The quantization that a file's name tells, "Q4_K_M" of NAME-Q4_K_M.gguf, in the file's own
// letters; false: none.
bool quant_of(const char *file, char out[NAME_PART_BYTES]);
// Whether a file of this name is a model: not a projector of images, not an importance matrix.
bool quant_is_model(const char *file);

// Chooses among the files of a repository (of a split model its first part only) by what `n` says:
// the file, the quantization, or nothing; then it is QUANT_DEFAULT, or the best of those that are
// there, and `why` becomes a sentence ("": nothing to tell). Returns the index, or a negative error
// with `e` listing what there is.
int quant_choose(const char *const *files, size_t n_files, const struct model_name *n, char *why,
                 size_t why_size, struct err *e);
