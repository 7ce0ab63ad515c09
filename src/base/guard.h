// The allocation guard: between guard_enter and guard_leave a thread must not allocate.
//
// Every malloc, calloc, realloc, aligned_alloc and posix_memalign of our own code goes through the
// linker's --wrap to guard.c. An allocation inside a guarded stretch is counted; the tests fail
// when the count is not zero, and RONDO_GUARD=abort stops the program at the place. Covers engine,
// model, backend, kernels and the compute threads; library threads are outside.
#pragma once

void guard_enter(void); // nests
void guard_leave(void);
long guard_violations(void); // of all threads, since the start
