// Memory with one lifetime: sized first, allocated once, given out in 64-byte-aligned pieces, freed
// as a whole. There are three lifetimes: model, session, scratch.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
    uint8_t *base;
    size_t size, used;
};

// Adds to a running total what arena_take(size) will use; saturates at SIZE_MAX, which arena_init
// refuses.
size_t arena_plan(size_t total, size_t size);

// 0 or -1 (no memory). The bytes are zero.
int arena_init(struct arena *a, size_t size);
void arena_fini(struct arena *a);

// Pages of any anonymous mapping go back to the system, and are zero when they are touched again.
// `locked`: with mlock, and are not from now on.
void pages_give_back(void *at, size_t size, bool locked);

// Never fails: taking more than was planned is a programmer's error.
void *arena_take(struct arena *a, size_t size);
