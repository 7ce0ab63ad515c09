// What every test needs: cmocka with its required includes, the test data, scratch folders.
//
// A test binary is one tests/ROOM/test_FILE.c with a main that returns cmocka_run_group_tests. What
// a machine cannot do is skipped with test_skip, which says why.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "kernels/kernels.h"

// Prints "# skipped: <reason>" and leaves the running test.
#define test_skip(...)                 \
    do {                               \
        test_skip_reason(__VA_ARGS__); \
        skip();                        \
    } while (0)
void test_skip_reason(const char *format, ...) __attribute__((format(printf, 1, 2)));

// $RONDO_TESTDATA/`relative`, or NULL when the variable is unset or the file absent; static
// storage, overwritten by the next call but three. Use TESTDATA in a test.
const char *test_data(const char *relative);
#define TESTDATA(var, relative)            \
    const char *var = test_data(relative); \
    if (!var)                              \
    test_skip("no test data (RONDO_TESTDATA) with %s", relative)

// A fresh folder for this process, removed at exit. `test_file` names a file in it.
const char *test_folder(void);
const char *test_file(const char *name); // static storage as above

// The whole file, malloc'd, NUL-terminated; fails the test when it cannot be read.
uint8_t *test_read(const char *path, size_t *size);
void test_write(const char *path, const void *data, size_t size);

// Fails the test, printing the error's text, when rc is not 0.
#define assert_ok(rc, e)                                      \
    do {                                                      \
        int rc_ = (int)(rc);                                  \
        if (rc_)                                              \
            fail_msg("%s: code %d: %s", #rc, rc_, (e)->text); \
    } while (0)

// The instruction set after `isa` (-1: the first) of those that this machine has; ISA_COUNT: none.
enum isa test_next_isa(int isa);
