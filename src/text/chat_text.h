// Text that grows. No memory ends the program, as for lists of ids.
#pragma once

#include <stddef.h>

struct chat_text { // zero-initialised is empty; free `bytes`
    char *bytes;   // NUL-terminated once something was added
    size_t n, capacity;
};
void chat_text_add(struct chat_text *t, const char *bytes, size_t n);
