// Ctrl-C and SIGTERM, once caught: the first asks the work to stop at the next token, the second
// ends the program at once.
#pragma once

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_seen(void); // any thread

enum { INTERRUPT_EXIT_CODE = 130 }; // 128 + SIGINT, as shells count
