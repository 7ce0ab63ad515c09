// Writes the model as a GGUF file.
#pragma once

#include "bpe.h"
#include "model.h"

// Matrices in half precision, or as Q8_0 when quantize is set; norms in single precision. Returns 0
// when writing fails.
int export_gguf(const struct model *model, const struct bpe *bpe, const char *path,
                const char *name, int quantize);
