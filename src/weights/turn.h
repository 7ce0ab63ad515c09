// Turning matrices into lane form, with all threads of a device.
#pragma once

#include "backend/backend.h"

struct turn_matrix {
    uint32_t type; // one that lanes_can
    const uint8_t *rows;
    uint8_t *lanes; // lanes_rows(n_rows) * row_bytes bytes
    uint64_t n_rows;
    size_t row_bytes;
};

struct turn {
    struct turn_matrix *matrices;
    size_t n_matrices;
    void (*progress)(void *arg, uint64_t done, uint64_t total); // bytes; on the caller's thread
    void *arg;
};

// b NULL: the caller's thread alone.
void turn_run(const struct turn *t, struct backend *b);
