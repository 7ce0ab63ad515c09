// One UTF-8 character at a time (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { UTF8_INVALID = 0, UTF8_INCOMPLETE = -1 };

// Length 1..4 of the character at `text`, with `n` > 0 bytes left; UTF8_INCOMPLETE when all that is
// left may be the beginning of one; UTF8_INVALID when it cannot.
static inline int utf8_length(const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return UTF8_INVALID;
    int length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    // The second byte's range is narrower behind some first bytes (RFC 3629, section 4).
    uint8_t low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; i++) {
        if ((size_t)i == n)
            return UTF8_INCOMPLETE;
        if (s[i] < low || s[i] > high)
            return UTF8_INVALID;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

// The code point of a valid character of the given length.
static inline uint32_t utf8_code(const char *text, int length)
{
    const uint8_t *s = (const uint8_t *)text;
    if (length == 1)
        return s[0];
    uint32_t c = s[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++)
        c = c << 6 | (s[i] & 0x3f);
    return c;
}
