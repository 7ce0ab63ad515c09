// Text that grows: see chat_text.h.
#include "text/chat_text.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

void chat_text_add(struct chat_text *t, const char *bytes, size_t n)
{
    if (t->n + n + 1 > t->capacity) {
        t->capacity = 2 * (t->n + n + 1);
        t->bytes = realloc(t->bytes, t->capacity);
        CHECK(t->bytes);
    }
    if (n)
        memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
}
