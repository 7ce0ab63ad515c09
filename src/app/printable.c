// Text from outside: see printable.h.
#include "app/printable.h"

#include "base/arith.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct shown { // one character, as it is shown
    char text[16];
    int bytes, columns;
    size_t taken; // bytes of the input
};

static struct shown escaped(const char *text, size_t taken)
{
    struct shown s = {.taken = taken};
    if (*text == '\n' || *text == '\t') {
        s.bytes = snprintf(s.text, sizeof s.text, "\\%c", *text == '\n' ? 'n' : 't');
    } else {
        for (size_t i = 0; i < taken && i < 3; i++) // escaped characters have three bytes at most
            s.bytes += snprintf(s.text + s.bytes, sizeof s.text - (size_t)s.bytes, "\\x%02x",
                                (unsigned char)text[i]);
    }
    s.columns = s.bytes;
    return s;
}

static struct shown next(const char *text, size_t left)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t n = left > INT_MAX ? INT_MAX : (utf8proc_ssize_t)left;
    n = utf8proc_iterate((const utf8proc_uint8_t *)text, n, &code);
    if (n <= 0)
        return escaped(text, 1);
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return escaped(text, n > 3 ? 1 : (size_t)n);
    default:
        break;
    }
    struct shown s = {.bytes = (int)n, .columns = utf8proc_charwidth(code), .taken = (size_t)n};
    memcpy(s.text, text, (size_t)n);
    return s;
}

static int columns_up_to(const char *text, size_t length, int limit)
{
    int columns = 0;
    for (size_t i = 0; i < length && columns <= limit;) {
        struct shown s = next(text + i, length - i);
        columns += s.columns;
        i += s.taken;
    }
    return columns;
}

int printable_columns(const char *text, size_t length)
{
    return columns_up_to(text, length, INT_MAX / 2);
}

int printable_put(FILE *f, const char *text, size_t length, int columns)
{
    bool whole = columns_up_to(text, length, columns) <= columns;
    int used = 0, room = whole ? columns : columns - 3;
    for (size_t i = 0; i < length;) {
        struct shown s = next(text + i, length - i);
        if (used + s.columns > room)
            break;
        fwrite(s.text, 1, (size_t)s.bytes, f);
        used += s.columns;
        i += s.taken;
    }
    if (!whole)
        used += fprintf(f, "...");
    return used;
}

char *printable_utf8(const char *text, size_t length, size_t *out_length)
{
    size_t capacity, used = 0;
    char *out = size_mul(length, 3, &capacity) ? malloc(capacity + 1) : NULL;
    for (size_t i = 0; out && i < length;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = length - i > 8 ? 8 : (utf8proc_ssize_t)(length - i);
        n = utf8proc_iterate((const utf8proc_uint8_t *)text + i, n, &code);
        memcpy(out + used, n > 0 ? text + i : "\uFFFD", n > 0 ? (size_t)n : 3);
        used += n > 0 ? (size_t)n : 3;
        i += n > 0 ? (size_t)n : 1;
    }
    if (out)
        *out_length = used;
    return out;
}
