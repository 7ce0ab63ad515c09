// Rotary position embedding: the angle per position of each pair of dimensions, stretched the way
// a model asks for. Computed without a mathematical library, so that all nodes of a ring rotate by
// the same bits.
#pragma once

#include "base/err.h"
#include "model/hparams.h"

// Angles of the layers that see everything, or of the `local` ones: (n_rot / 2). They are
// theta^(-2i / n_rot) (RoFormer, arXiv 2104.09864, section 3.2.2), scaled linearly or by YaRN
// (arXiv 2309.00071, section 3.2), divided by the model's factors (n_rot / 2; NULL: none), and
// rounded to float once, as they were when models were trained. Returns the index of an angle that
// is no positive number, or -1.
int rope_angles(float *out, const struct hparams *h, bool local, const float *factors);

// The natural logarithm of x > 0, by additions, products and quotients only.
double rope_ln(double x);
