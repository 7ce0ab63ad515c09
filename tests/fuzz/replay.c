// A fuzz target outside the fuzzer: runs LLVMFuzzerTestOneInput over every file of its corpus, the
// empty input, and truncations and single-bit damage of small files. The corpus folder is the first
// argument.
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DAMAGE_LIMIT = 2048 };

static void damage(uint8_t *data, size_t size)
{
    for (size_t n = 0; n < size; n++) {
        uint8_t *copy = malloc(n ? n : 1); // exact size, so that asan sees a read past it
        memcpy(copy, data, n);
        LLVMFuzzerTestOneInput(copy, n);
        free(copy);
    }
    for (size_t i = 0; i < size * 8; i += 3) {
        data[i / 8] ^= (uint8_t)(1u << i % 8);
        LLVMFuzzerTestOneInput(data, size);
        data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    int files = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    DIR *d = opendir(argv[1]);
    for (struct dirent *f; d && (f = readdir(d));) {
        if (f->d_name[0] == '.')
            continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], f->d_name);
        size_t size;
        uint8_t *data = test_read(path, &size);
        LLVMFuzzerTestOneInput(data, size);
        if (size <= DAMAGE_LIMIT)
            damage(data, size);
        free(data);
        files++;
    }
    if (d)
        closedir(d);
    printf("1..1\n%s 1 - %s: %d corpus files\n", files ? "ok" : "not ok", argv[0], files);
    return files ? 0 : 1;
}
