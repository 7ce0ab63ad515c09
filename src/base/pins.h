// Pins: processors that one program on a machine has for its compute threads, a thread on each.
//
// Two programs that pinned their threads to the same processors would get in each other's way while
// others idle, so each processor is locked: with flock on its folder below /sys, which needs no
// right but to read, leaves nothing behind and ends with the program.
#pragma once

#include "base/cores.h"

#include <stdbool.h>

struct pins {
    int n;
    int *cpu; // (n) numbers
    int *fd;  // (n) that hold the locks
};

// The first n that are free of the first `among` processors of `c`. False, and nothing is locked:
// there are not as many.
bool pins_take(struct pins *p, const char *root, const struct cores *c, int among, int n);
void pins_drop(struct pins *p); // also of zeroed ones
