// Ctrl-C and SIGTERM, once caught: the first asks the work to stop at the next token, the second
// ends the program at once.
//
// A conversation keeps them: Ctrl-C stops an answer as often as it comes, and SIGTERM and SIGHUP
// ask the program to end.
#pragma once

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_seen(void); // any thread

// From now on for conversations. Whenever something is seen, the eventfd `wake` is written to; -1:
// none.
void interrupt_keep(int wake);
void interrupt_clear(void);  // forgets Ctrl-C
bool interrupt_ending(void); // SIGTERM or SIGHUP

enum { INTERRUPT_EXIT_CODE = 130 }; // 128 + SIGINT, as shells count
