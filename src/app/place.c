// Says at once what would otherwise be found out after minutes of writing.
#include "app/place.h"

#include "app/amounts.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

int place_check(const char *path, uint64_t bytes, const char *instead, struct err *e)
{
    struct statvfs fs;
    char needed[AMOUNT_BYTES], there[AMOUNT_BYTES], *copy = strdup(path);
    int rc = 0;
    if (!copy)
        return err_set(e, ERR_NO_MEMORY, "no memory");
    if (access(path, F_OK) == 0) {
        rc = err_set(e, ERR_FAILED, "%s: is there already; remove it or give another name", path);
    } else if (statvfs(dirname(copy), &fs)) {
        int code = errno == EACCES ? ERR_DENIED : ERR_FAILED;
        rc = err_errno(e, code, "%s: cannot be written", path);
    } else if ((double)fs.f_bavail * (double)fs.f_frsize < (double)bytes) {
        amount_size(needed, bytes);
        amount_size(there, (uint64_t)fs.f_bavail * fs.f_frsize);
        rc = err_set(e, ERR_FAILED, "%s: needs %s, %s are free there; %s", path, needed, there,
                     instead);
    }
    free(copy);
    return rc;
}
