// CHECK: a programmer's error ends the program, in release builds too. Never for input.
#pragma once

_Noreturn void check_failed(const char *file, int line, const char *condition);

#define CHECK(condition)                                  \
    do {                                                  \
        if (__builtin_expect(!(condition), 0))            \
            check_failed(__FILE__, __LINE__, #condition); \
    } while (0)
