// Errors of the outside world: see err.h.
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int set(struct err *e, int code, const char *why, const char *format, va_list args)
{
    if (!e || e->code)
        return code;
    e->code = code;
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    if (why && n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", why);
    return code;
}

int err_set(struct err *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(e, code, NULL, format, args);
    va_end(args);
    return code;
}

int err_errno(struct err *e, int code, const char *format, ...)
{
    char reason[128];
    va_list args;
    const char *why = strerror_r(errno, reason, sizeof reason);
    va_start(args, format);
    set(e, code, why, format, args);
    va_end(args);
    return code;
}

char *err_quote(char *out, int out_size, const char *text, int length)
{
    int n = 0;
    for (int i = 0; i < length && n + 1 < out_size; i++) {
        unsigned char c = (unsigned char)text[i];
        out[n++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    out[n] = 0;
    return out;
}
