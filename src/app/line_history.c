// The file of lines that were typed: see line_history.h.
#include "app/line_history.h"

#include "cluster/identity.h"
#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// In place: entries become shorter.
static void unescape(char *line)
{
    char *to = line;
    for (const char *at = line; *at; at++) {
        if (*at == '\\' && at[1]) {
            at++;
            *to++ = *at == 'n' ? '\n' : *at;
        } else {
            *to++ = *at;
        }
    }
    *to = 0;
}

// The end of the file, malloc'd, from the beginning of an entry on; NULL without error: no file.
static char *read_end(const char *path, size_t *size, bool *cut, struct err *e)
{
    int fd = disk_io->open(path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 && errno != ENOENT)
        err_errno(e, ERR_FAILED, "cannot read %s", path);
    if (fd < 0)
        return NULL;
    int64_t all = disk_io->size(fd), from;
    from = all > LINE_HISTORY_MAX_BYTES ? all - LINE_HISTORY_MAX_BYTES : 0;
    *cut = from > 0;
    *size = all > from ? (size_t)(all - from) : 0;
    char *text = malloc(*size + 1);
    if (!text || disk_read_full(fd, text, *size, from)) {
        err_set(e, ERR_FAILED, "cannot read %s", path);
        free(text);
        text = NULL;
    }
    disk_io->close(fd);
    if (!text)
        return NULL;
    text[*size] = 0;
    char *first = *cut ? strchr(text, '\n') : NULL;
    if (first) { // what is left of an entry is none
        *size -= (size_t)(first + 1 - text);
        memmove(text, first + 1, *size + 1);
    }
    return text;
}

int line_history_load(const char *path, void (*each)(void *arg, const char *entry), void *arg,
                      struct err *e)
{
    struct err own = {0};
    size_t size = 0, n = 0;
    bool cut = false;
    char *text = read_end(path, &size, &cut, &own);
    if (!text)
        return own.code ? err_set(e, own.code, "%s", own.text) : 0;
    char *start = text + size;
    while (start > text && n <= LINE_HISTORY_MAX_ENTRIES) // one more: is there one too many?
        if (*--start == '\n')
            n++;
    if (n > LINE_HISTORY_MAX_ENTRIES) {
        start++; // behind the newline of the one too many
        cut = true;
    }
    if (cut)
        identity_write_private(path, start, (size_t)(text + size - start), true, NULL);
    for (char *end; (end = strchr(start, '\n')); start = end + 1) {
        *end = 0;
        unescape(start);
        each(arg, start);
    }
    free(text);
    return 0;
}

int line_history_add(const char *path, const char *entry, struct err *e)
{
    char *line = malloc(2 * strlen(entry) + 2), *to = line;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), rc = 0;
    if (!line || fd < 0) {
        rc = err_errno(e, ERR_FAILED, "cannot write %s", path);
    } else {
        for (; *entry; entry++) {
            if (*entry == '\n' || *entry == '\\')
                *to++ = '\\';
            *to++ = *entry == '\n' ? 'n' : *entry;
        }
        *to++ = '\n';
        // One write: entries of several programs stay whole.
        if (write(fd, line, (size_t)(to - line)) != to - line)
            rc = err_errno(e, ERR_FAILED, "cannot write %s", path);
    }
    if (fd >= 0)
        close(fd);
    free(line);
    return rc;
}
