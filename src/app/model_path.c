// Finding a model's file: see model_path.h.
#include "app/model_path.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEMO_FILE "tales-q8_0.gguf"

static bool fits_and_reads(char *out, size_t size, const char *folder, const char *below)
{
    int n = snprintf(out, size, "%s%s/" DEMO_FILE, folder, below);
    return n > 0 && (size_t)n < size && !access(out, R_OK);
}

int model_path_find(const char *model, char *out, size_t size, struct err *e)
{
    if (strcmp(model, "demo")) {
        int n = snprintf(out, size, "%s", model);
        if (n <= 0 || (size_t)n >= size)
            return err_set(e, ERR_USAGE, "MODEL is the path of a GGUF file, or demo");
        return 0;
    }
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = 0;
        *strrchr(program, '/') = 0;
        if (fits_and_reads(out, size, program, "/models") ||
            fits_and_reads(out, size, program, "/../share/rondo/models"))
            return 0;
    }
    if (fits_and_reads(out, size, ".", "/models"))
        return 0;
    return err_set(e, ERR_FAILED,
                   "the demo model (" DEMO_FILE ") is neither in models/ beside this program nor in"
                   " its share folder; install it, or name the path of a GGUF file");
}
