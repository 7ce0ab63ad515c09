// What tells whether a file changed since it was opened: its size and the time when it was last
// written. Looking costs one fstat. Links, renames and permissions make no difference, nor does
// another file under the same name: what is open stays what it was.
#pragma once

#include "base/err.h"

#include <stdint.h>

struct disk_stamp {
    int64_t bytes, written_s, written_ns;
};

int stamp_take(struct disk_stamp *out, int fd); // -1: errno
// 0, or what became of the file since `s` was taken. `path` and `cure` (what to do: "get it again")
// are for the sentence.
int stamp_check(const struct disk_stamp *s, int fd, const char *path, const char *cure,
                struct err *e);
