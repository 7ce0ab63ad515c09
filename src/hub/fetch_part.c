// A file on its way: see fetch_part.h.
#include "hub/fetch_part.h"

#include "disk/io.h"
#include "gguf/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { READ_BYTES = 4 << 20, FIRST_LOOK_BYTES = 64 << 10 };

static int no_memory(const struct fetch_part *p, struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "%s: no memory to download it", p->path ? p->path : "model");
}

static int cannot(const char *path, const char *what, struct err *e)
{
    int code = errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_FAILED;
    return err_errno(e, code, "%s: %s", path, what);
}

// All folders above `path`; *made becomes the length of the path of the first that was not there.
static int make_folders(const char *path, size_t *made, struct err *e)
{
    char *folder = strdup(path);
    int rc = folder ? 0 : err_set(e, ERR_NO_MEMORY, "%s: no memory", path);
    for (char *at = folder; !rc && (at = strchr(at + 1, '/'));) {
        *at = 0;
        if (!mkdir(folder, 0777))
            *made = *made ? *made : (size_t)(at - folder);
        else if (errno != EEXIST)
            rc = cannot(folder, "the folder cannot be made", e);
        *at = '/';
    }
    free(folder);
    return rc;
}

static int open_locked(struct fetch_part *p, struct err *e)
{
    p->fd = disk_io->open(p->temporary, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
    if (p->fd < 0)
        return cannot(p->temporary, "cannot be created", e);
    if (flock(p->fd, LOCK_EX | LOCK_NB)) {
        disk_io->close(p->fd);
        p->fd = -1; // it is not ours
        return err_set(e, ERR_FAILED,
                       "%s: is being downloaded by another rondo; wait for it or end that one",
                       p->path);
    }
    return 0;
}

// A state that cannot be read, or is not one, is none: everything is fetched again.
static void load_state(struct fetch_part *p)
{
    char *text = malloc(PART_STATE_BYTES);
    int fd = text ? disk_io->open(p->state_path, O_RDONLY | O_NOFOLLOW, 0) : -1;
    int64_t size = fd >= 0 ? disk_io->size(fd) : -1, there = disk_io->size(p->fd);
    bool ok = size > 0 && size <= PART_STATE_BYTES && !disk_read_full(fd, text, (size_t)size, 0) &&
              part_state_parse(&p->state, text, (size_t)size);
    const struct ranges *done = &p->state.done;
    if (!ok || (done->n && (int64_t)done->at[done->n - 1].hi > there))
        part_state_init(&p->state);
    if (fd >= 0)
        disk_io->close(fd);
    free(text);
}

int fetch_part_open(struct fetch_part *p, const char *path, struct err *e)
{
    *p = (struct fetch_part){.fd = -1, .path = strdup(path)};
    part_state_init(&p->state);
    if (asprintf(&p->temporary, "%s.part", path) < 0)
        p->temporary = NULL;
    if (asprintf(&p->state_path, "%s.part.json", path) < 0)
        p->state_path = NULL;
    int rc = p->path && p->temporary && p->state_path ? 0 : no_memory(p, e);
    if (!rc)
        rc = make_folders(path, &p->made, e);
    if (!rc)
        rc = open_locked(p, e);
    if (rc)
        fetch_part_close(p);
    else
        load_state(p);
    return rc;
}

int fetch_part_write(struct fetch_part *p, const void *data, size_t size, uint64_t at,
                     struct err *e)
{
    if (disk_write_full(p->fd, data, size, (int64_t)at))
        return cannot(p->temporary, "cannot be written", e);
    ranges_add(&p->state.done, at, at + size); // with too many gaps it is fetched once more
    p->changed = true;
    return 0;
}

static int write_state(struct fetch_part *p, const char *text, struct err *e)
{
    char *fresh;
    if (asprintf(&fresh, "%s.new", p->state_path) < 0)
        return no_memory(p, e);
    int fd = disk_io->open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666), rc = 0;
    if (fd < 0 || disk_write_full(fd, text, strlen(text), 0))
        rc = cannot(fresh, "cannot be written", e);
    if (fd >= 0 && disk_io->close(fd) && !rc)
        rc = cannot(fresh, "cannot be written", e);
    if (!rc && disk_io->rename(fresh, p->state_path))
        rc = cannot(p->state_path, "cannot be written", e);
    if (rc)
        disk_io->unlink(fresh);
    free(fresh);
    return rc;
}

int fetch_part_save(struct fetch_part *p, struct err *e)
{
    if (!p->changed || p->state.size == HEAD_UNKNOWN)
        return 0;
    if (disk_io->fsync(p->fd))
        return cannot(p->temporary, "cannot be written", e);
    char *text = part_state_text(&p->state);
    int rc = text ? write_state(p, text, e) : no_memory(p, e);
    free(text);
    p->changed = p->changed && rc;
    return rc;
}

int fetch_part_restart(struct fetch_part *p, struct err *e)
{
    part_state_init(&p->state);
    p->changed = p->looked = false;
    if (disk_io->unlink(p->state_path) && errno != ENOENT)
        return cannot(p->state_path, "cannot be removed", e);
    if (ftruncate(p->fd, 0))
        return cannot(p->temporary, "cannot be emptied", e);
    return 0;
}

int fetch_part_room(const struct fetch_part *p, uint64_t size, struct err *e)
{
    struct statvfs fs;
    uint64_t there = ranges_bytes(&p->state.done), needed = size > there ? size - there : 0;
    if (fstatvfs(p->fd, &fs) || (double)fs.f_bavail * (double)fs.f_frsize >= (double)needed)
        return 0;
    return err_set(e, ERR_FAILED,
                   "%s: %.2f GB are still to come, %.2f GB are free there; make room, or put the "
                   "cache elsewhere with XDG_CACHE_HOME",
                   p->path, (double)needed * 1e-9,
                   (double)fs.f_bavail * (double)fs.f_frsize * 1e-9);
}

// ---- what it is --------------------------------------------------------------------------------

int fetch_part_look(struct fetch_part *p, struct err *e)
{
    const struct ranges *done = &p->state.done;
    uint64_t there = done->n && done->at[0].lo == 0 ? done->at[0].hi : 0;
    uint64_t size = p->state.size, need = size < FIRST_LOOK_BYTES ? size : FIRST_LOOK_BYTES;
    uint8_t *data = NULL;
    size_t have = 0;
    int rc = 1;
    while (rc == 1 && need <= there) {
        uint8_t *grown = realloc(data, need ? need : 1);
        struct gguf *g = NULL;
        if (!grown) {
            rc = no_memory(p, e);
            break;
        }
        data = grown;
        if (disk_read_full(p->fd, data + have, need - have, (int64_t)have)) {
            rc = cannot(p->temporary, "cannot be read", e);
            break;
        }
        have = need;
        rc = gguf_parse(&g, data, have, size, p->path, &need, e);
        gguf_free(g);
    }
    free(data);
    p->looked = p->looked || !rc;
    return rc;
}

int fetch_digest_fd(int fd, const char *path, uint64_t size, struct digest *out,
                    bool (*told)(void *arg, uint64_t done, uint64_t total), void *arg,
                    struct err *e)
{
    uint8_t *data = malloc(READ_BYTES);
    if (!data)
        return err_set(e, ERR_NO_MEMORY, "%s: no memory to read it", path);
    struct digest_state *s = digest_begin();
    int rc = 0;
    for (uint64_t at = 0; at < size && !rc;) {
        size_t n = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
        if (disk_read_full(fd, data, n, (int64_t)at))
            rc = errno ? cannot(path, "cannot be read", e)
                       : err_set(e, ERR_FAILED, "%s: became shorter while it was read", path);
        else if (told && !told(arg, at + n, size))
            rc = err_set(e, ERR_FAILED, "interrupted");
        digest_add(s, data, rc ? 0 : n);
        at += n;
    }
    struct digest d = digest_end(s);
    if (!rc)
        *out = d;
    free(data);
    return rc;
}

int fetch_part_digest(struct fetch_part *p, struct digest *out,
                      bool (*told)(void *arg, uint64_t done, uint64_t total), void *arg,
                      struct err *e)
{
    return fetch_digest_fd(p->fd, p->temporary, p->state.size, out, told, arg, e);
}

int fetch_part_finish(struct fetch_part *p, struct err *e)
{
    if (ftruncate(p->fd, (off_t)p->state.size) || disk_io->fsync(p->fd))
        return cannot(p->temporary, "cannot be written", e);
    if (disk_io->rename(p->temporary, p->path))
        return cannot(p->path, "the finished file cannot be given its name", e);
    p->finished = true;
    if (disk_io->unlink(p->state_path) && errno != ENOENT)
        return cannot(p->state_path, "cannot be removed", e);
    return 0;
}

// The folders that were made for it, where nothing else has come into them.
static void remove_folders(struct fetch_part *p)
{
    for (char *at;
         p->made && (at = strrchr(p->temporary, '/')) && (size_t)(at - p->temporary) >= p->made;) {
        *at = 0;
        if (rmdir(p->temporary))
            return;
    }
}

void fetch_part_close(struct fetch_part *p)
{
    if (p->fd >= 0 && p->temporary && !p->finished && !p->state.done.n) {
        disk_io->unlink(p->temporary); // nothing of it is worth keeping
        disk_io->unlink(p->state_path);
        remove_folders(p);
    }
    if (p->fd >= 0)
        disk_io->close(p->fd);
    free(p->path);
    free(p->temporary);
    free(p->state_path);
    *p = (struct fetch_part){.fd = -1};
}
