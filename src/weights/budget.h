// Memory that this process may still take without pushing anybody out.
#pragma once

#include <stdint.h>

// The least of what the machine has available and what is left in each control group around this
// process (version 1 or 2, nested ones included; what they hold as page cache counts as left).
// `root`: "" on a real machine, the folder of a made-up one in tests. UINT64_MAX: nobody says.
uint64_t budget_available(const char *root);

// What weights may take of it: less what is promised to others, and less a margin that stays free
// for the page cache and everybody else: a tenth, 512 MiB at least.
uint64_t budget_for_weights(uint64_t available, uint64_t reserved);
