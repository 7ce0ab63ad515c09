// Composition by utf8proc, in stretches.
//
// No character below U+0300 changes, except together with one that follows it and is not below. So
// only stretches from there on, with the one character in front of them, are given to utf8proc, and
// ASCII is only copied.
//
// Sorting marks costs the square of their number, so a stretch with more marks in a row than the
// stream-safe format of Unicode allows (UAX #15, section 13) is left as it is.
#include "text/nfc.h"

#include "text/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { FIRST_CHANGED = 0x300, MAX_MARKS = 30 };

struct buffer {
    char *bytes;
    size_t n, capacity;
};

static int append(struct buffer *b, const void *bytes, size_t n)
{
    if (n > b->capacity - b->n) {
        size_t capacity = b->n + n + b->capacity;
        char *p = realloc(b->bytes, capacity);
        if (!p)
            return -1;
        b->bytes = p;
        b->capacity = capacity;
    }
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    return 0;
}

// Code point of a whole character at `text`, 0 for other bytes; *length 1..4.
static uint32_t code_at(const char *text, size_t n, int *length)
{
    *length = utf8_length(text, n);
    if (*length > 0)
        return utf8_code(text, *length);
    *length = 1;
    return 0;
}

// Where the stretch of characters from FIRST_CHANGED on ends that begins at `at`.
static size_t stretch_end(const char *text, size_t n, size_t at, bool *sortable)
{
    int marks = 0, length;
    *sortable = true;
    for (uint32_t code; at < n; at += (size_t)length) {
        code = code_at(text + at, n - at, &length);
        if (code < FIRST_CHANGED)
            break;
        marks = utf8proc_get_property((utf8proc_int32_t)code)->combining_class ? marks + 1 : 0;
        *sortable &= marks <= MAX_MARKS;
    }
    return at;
}

static int append_composed(struct buffer *b, const char *text, size_t n)
{
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n,
                                           &out, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    int rc = length < 0 ? -1 : append(b, out, (size_t)length);
    free(out);
    return rc;
}

char *nfc_new(const char *text, size_t n, size_t *n_out)
{
    struct buffer b = {.bytes = malloc(n + 1), .capacity = n + 1};
    size_t copied = 0, before = 0; // before: the last character, alone
    int rc = b.bytes ? 0 : -1, length;
    for (size_t at = 0; !rc && at < n;) {
        if (code_at(text + at, n - at, &length) < FIRST_CHANGED) {
            before = utf8_length(text + at, n - at) > 0 ? at : at + 1;
            at += (size_t)length;
            continue;
        }
        bool sortable;
        size_t end = stretch_end(text, n, at, &sortable);
        rc = append(&b, text + copied, before - copied);
        if (!rc)
            rc = sortable ? append_composed(&b, text + before, end - before)
                          : append(&b, text + before, end - before);
        copied = before = at = end;
    }
    if (!rc)
        rc = append(&b, text + copied, n - copied);
    if (rc) {
        free(b.bytes);
        return NULL;
    }
    *n_out = b.n;
    return b.bytes;
}
