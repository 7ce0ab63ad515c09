// Test support: see support.h.
#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES = 4, NAME_BYTES = 4096 };

static char *next_name(void)
{
    static char names[NAMES][NAME_BYTES];
    static int next;
    return names[next++ % NAMES];
}

void test_skip_reason(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("# skipped: ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

const char *test_data(const char *relative)
{
    const char *root = getenv("RONDO_TESTDATA");
    if (!root || !*root)
        return NULL;
    char *path = next_name();
    snprintf(path, NAME_BYTES, "%s/%s", root, relative);
    return access(path, R_OK) ? NULL : path;
}

static char folder[64];
static pid_t folder_owner;

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static void remove_folder(void)
{
    if (getpid() == folder_owner)
        nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *test_folder(void)
{
    if (!*folder) {
        strcpy(folder, "/tmp/rondo-test-XXXXXX");
        if (!mkdtemp(folder)) {
            perror(folder);
            abort();
        }
        folder_owner = getpid();
        atexit(remove_folder);
    }
    return folder;
}

const char *test_file(const char *name)
{
    char *path = next_name();
    snprintf(path, NAME_BYTES, "%s/%s", test_folder(), name);
    return path;
}

uint8_t *test_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    uint8_t *data = malloc((size_t)n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)n, f), n);
    fclose(f);
    data[n] = 0;
    if (size)
        *size = (size_t)n;
    return data;
}

void test_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

enum isa test_next_isa(int isa)
{
    do
        isa++;
    while (isa < ISA_COUNT && !isa_has((enum isa)isa));
    return (enum isa)isa;
}
