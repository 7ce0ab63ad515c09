// Finding a model's file: see model_path.h.
#include "app/model_path.h"

#include "base/log.h"
#include "hub/stores.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEMO_FILE "tales-q8_0.gguf"

enum { WHY_BYTES = 512 };

static bool fits_and_reads(char *out, size_t size, const char *folder, const char *below)
{
    int n = snprintf(out, size, "%s%s/" DEMO_FILE, folder, below);
    return n > 0 && (size_t)n < size && !access(out, R_OK);
}

// A file of that name comes before a model of the hub.
static bool is_name(const char *model)
{
    return model_name_claimed(model) || (model_name_bare(model) && access(model, F_OK));
}

static int find_stored(const char *model, char *out, size_t size, struct err *e)
{
    char why[WHY_BYTES];
    struct model_name n;
    struct stores s;
    int rc = model_name_parse(&n, model, e);
    if (!rc)
        rc = stores_scan(&s, e);
    if (rc)
        return rc;
    int i = stores_find(&s, &n, why, sizeof why, e);
    if (i < 0) {
        rc = i;
    } else {
        int length = snprintf(out, size, "%s", s.at[i].path);
        if (length < 0 || (size_t)length >= size)
            rc = err_set(e, ERR_FAILED, "the path of the model is too long");
        log_info("%s is %s, of %s", model, s.at[i].path, store_name(s.at[i].store));
        if (why[0])
            log_info("%s", why);
    }
    stores_free(&s);
    return rc;
}

int model_path_find(const char *model, char *out, size_t size, struct err *e)
{
    if (strcmp(model, "demo") && is_name(model))
        return find_stored(model, out, size, e);
    if (strcmp(model, "demo")) {
        int n = snprintf(out, size, "%s", model);
        if (n <= 0 || (size_t)n >= size)
            return err_set(e, ERR_USAGE,
                           "MODEL is the path of a GGUF file, a name that 'rondo ls' lists, or "
                           "demo");
        if (access(out, F_OK) && errno == ENOENT)
            return err_set(e, ERR_FAILED,
                           "%s: there is no such file; give the path of a .gguf file, a name that "
                           "'rondo ls' lists, or demo",
                           out);
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
