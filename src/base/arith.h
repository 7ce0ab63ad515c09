// Checked arithmetic for sizes that come from outside: every function returns false on overflow
// and leaves *out alone.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

// Rounds up to a multiple of `align`, a power of two.
static inline bool size_align(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (!size_add(a, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}
