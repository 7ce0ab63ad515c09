// Weights that cannot be read: see unreadable.h.
#include "weights/unreadable.h"

#include "disk/reader.h"

#include <string.h>

int unreadable(struct err *e, const char *path, const struct read *q)
{
    if (!q->error)
        return err_set(e, ERR_FAILED,
                       "%s: the file ends before its weights do; it was cut short while it was in "
                       "use; put the whole file back and start again",
                       path);
    return err_set(e, ERR_FAILED,
                   "%s: weights cannot be read at byte %llu: %s; look after the disk, or copy the "
                   "file to another one",
                   path, (unsigned long long)q->offset, strerror(q->error));
}
