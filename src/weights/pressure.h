// Being woken when the kernel notices that memory is short: pressure stall information of the
// machine and of control groups of version 2, pressure levels of version 1. All of it is optional:
// it may be switched off, or not be allowed to ordinary users.
#pragma once

#include "weights/budget.h"

#include <poll.h>

enum { PRESSURE_MAX = 16 };

struct pressure {
    int n;
    struct pollfd files[PRESSURE_MAX]; // to poll; -1: no longer
    int levels[PRESSURE_MAX];          // the file that an eventfd was registered with, or -1
};

// Whatever there is for these sources.
void pressure_open(struct pressure *p, const char *root, const struct budget_source *sources,
                   int n_sources);
void pressure_close(struct pressure *p);
// After poll: takes what was told, and drops files that tell no more.
void pressure_taken(struct pressure *p, struct pollfd *polled);
