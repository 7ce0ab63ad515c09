// Comparing stamps: see stamp.h.
#include "disk/stamp.h"

#include "disk/io.h"

int stamp_take(struct disk_stamp *out, int fd)
{
    return disk_io->stamp(fd, out);
}

int stamp_check(const struct disk_stamp *s, int fd, const char *path, const char *cure,
                struct err *e)
{
    struct disk_stamp now;
    if (disk_io->stamp(fd, &now))
        return err_errno(e, ERR_FAILED, "%s: the file can no longer be looked at; %s", path, cure);
    if (now.bytes < s->bytes)
        return err_set(e, ERR_FAILED,
                       "%s: the file was cut short while it was in use, to %lld of %lld bytes; %s",
                       path, (long long)now.bytes, (long long)s->bytes, cure);
    if (now.bytes != s->bytes || now.written_s != s->written_s || now.written_ns != s->written_ns)
        return err_set(e, ERR_FAILED, "%s: the file was changed while it was in use; %s", path,
                       cure);
    return 0;
}
