// Signals to the process are the main thread's: threads start with all of them blocked. Those that
// a thread raises itself by a fault are not blocked: the kernel would kill the process where a
// handler could have mended it (disk/mapped.h).
#pragma once

#include <signal.h>

// For this thread and those that it starts, until signals_restore.
void signals_block(sigset_t *before);
void signals_restore(const sigset_t *before);
