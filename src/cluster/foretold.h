// What a plan says of a token, at any position: attention grows with what was said before.
#pragma once

#include "cluster/timings.h"

enum { FORETOLD_KNOTS = 5 };

struct foretold {
    int n;                  // knots; 0: nothing is foretold
    int at[FORETOLD_KNOTS]; // positions, ascending
    struct timings_report knots[FORETOLD_KNOTS];
};

// Between the knots linear, beyond them as at the nearest; pass_ms 0: nothing is foretold.
void foretold_at(const struct foretold *f, int position, struct timings_report *out);
