// Monotonic time. Pure code takes time as a parameter; drivers read it here.
#pragma once

#include <stdint.h>

int64_t clock_ns(void); // monotonic, since an arbitrary start
static inline int64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}
int64_t clock_thread_ns(void); // processor time that this thread has had
int64_t clock_wall_s(void);    // seconds since 1970
