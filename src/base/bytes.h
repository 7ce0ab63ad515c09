// Little-endian bytes in memory, read through a cursor that cannot leave its buffer.
//
// A read past the end returns zero and sets `bad`; parsers read a group of fields and look at
// `bad` once, before any of them is used to size something.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct cursor cursor_of(const void *data, size_t size)
{
    return (struct cursor){.at = data, .end = (const uint8_t *)data + size};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

// The next `size` bytes, or NULL when there are fewer.
static inline const uint8_t *cursor_take(struct cursor *c, uint64_t size)
{
    if (c->bad || size > cursor_left(c)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += size;
    return p;
}

#define BYTES_INTEGER(bits)                                        \
    static inline uint##bits##_t load_u##bits(const void *p)       \
    {                                                              \
        uint##bits##_t v;                                          \
        memcpy(&v, p, sizeof v);                                   \
        return v;                                                  \
    }                                                              \
    static inline void store_u##bits(void *p, uint##bits##_t v)    \
    {                                                              \
        memcpy(p, &v, sizeof v);                                   \
    }                                                              \
    static inline uint##bits##_t cursor_u##bits(struct cursor *c)  \
    {                                                              \
        const uint8_t *p = cursor_take(c, sizeof(uint##bits##_t)); \
        return p ? load_u##bits(p) : 0;                            \
    }

// Rondo runs on little-endian machines only; base/bytes.h is where a port would begin.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian machines only");

BYTES_INTEGER(8)
BYTES_INTEGER(16)
BYTES_INTEGER(32)
BYTES_INTEGER(64)

#undef BYTES_INTEGER
