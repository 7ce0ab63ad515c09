// Standard output: see output.h.
#include "app/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int failed_errno; // of the first write that failed

static bool note(bool ok)
{
    if (!ok && !failed_errno)
        failed_errno = errno ? errno : EIO;
    return !failed_errno;
}

bool output_write(const char *text, size_t size)
{
    errno = 0;
    return note(fwrite(text, 1, size, stdout) == size && !fflush(stdout));
}

int output_json(json_t *json, struct err *e)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(e, ERR_NO_MEMORY, "no memory for the JSON to print");
    errno = 0;
    note(puts(text) >= 0 && !fflush(stdout));
    free(text);
    return 0;
}

int output_finish(struct err *e)
{
    errno = 0;
    note(!fflush(stdout) && !ferror(stdout));
    if (!failed_errno || failed_errno == EPIPE)
        return 0;
    errno = failed_errno;
    return err_errno(e, ERR_FAILED, "cannot write to standard output");
}
