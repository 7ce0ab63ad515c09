// Memory for programs that cannot do without it: running out ends them with a sentence.
#pragma once

#include <stddef.h>

void *memory_checked(void *memory); // what malloc and the like returned
void *memory_floats(size_t count);  // zeroed, on a 64-byte boundary; free() it
