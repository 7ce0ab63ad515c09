// The owner's part of a home (house.h): notes, control groups and copies of the model.
#include "homelab/house.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

static int join_path(char out[HOUSE_PATH_BYTES], const char *a, const char *b, struct err *e)
{
    int n = snprintf(out, HOUSE_PATH_BYTES, "%s/%s", a, b);
    return n > 0 && n < HOUSE_PATH_BYTES
               ? 0
               : err_set(e, ERR_USAGE, "%.100s...: the path is too long", a);
}

// ---- notes -------------------------------------------------------------------------------------

// "group PATH" or "file PATH", before the thing is made.
static int note(const struct house *h, const char *kind, const char *path, struct err *e)
{
    char name[HOUSE_PATH_BYTES];
    int rc = join_path(name, h->folder, "notes", e);
    FILE *f = rc ? NULL : fopen(name, "a");
    bool ok = f && fprintf(f, "%s %s\n", kind, path) > 0;
    if (f && fclose(f))
        ok = false;
    return ok || rc ? rc : err_errno(e, ERR_FAILED, "%s cannot be written", name);
}

// Whether the last name of a path is that of a thing of home `id`: nothing else is ever removed.
static bool is_ours(const char *path, const char *id)
{
    const char *name = strrchr(path, '/');
    size_t n = strlen(CAGE_PREFIX);
    return name && !strncmp(name + 1, CAGE_PREFIX, n) && !strncmp(name + 1 + n, id, strlen(id)) &&
           name[1 + n + strlen(id)] == '-';
}

static int remove_noted(const char *folder, const char *id, struct err *e)
{
    char name[HOUSE_PATH_BYTES], line[HOUSE_PATH_BYTES + 16];
    int rc = join_path(name, folder, "notes", e);
    FILE *f = rc ? NULL : fopen(name, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *path = strchr(line, ' ');
        if (!path || !is_ours(path + 1, id))
            continue;
        *path++ = 0;
        if (!strcmp(line, "group"))
            rc = cage_remove_folder(path, e) ? ERR_FAILED : rc;
        else if (unlink(path) && errno != ENOENT)
            rc = err_errno(e, ERR_FAILED, "%s cannot be removed", path);
    }
    if (f)
        fclose(f);
    return rc;
}

// A folder of notes with what the nodes have put in theirs; links are not followed.
static int remove_folder(const char *path, struct err *e)
{
    char inner[HOUSE_PATH_BYTES];
    DIR *d = opendir(path);
    int rc = 0;
    for (struct dirent *f; d && (f = readdir(d)) && !rc;) {
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, ".."))
            continue;
        rc = join_path(inner, path, f->d_name, e);
        if (!rc && unlink(inner))
            rc = errno == EISDIR || errno == EPERM ? remove_folder(inner, e) : 0;
    }
    if (d)
        closedir(d);
    if (!rc && rmdir(path) && errno != ENOENT)
        rc = err_errno(e, ERR_FAILED, "%s cannot be removed", path);
    return rc;
}

// The lock goes with the last process that has the file open.
static int take_lock(const char *folder, int *lock, struct err *e)
{
    char name[HOUSE_PATH_BYTES];
    int rc = join_path(name, folder, "lock", e);
    *lock = rc ? -1 : open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rc || *lock < 0)
        return rc ? rc : err_errno(e, ERR_FAILED, "%s cannot be opened", name);
    if (!flock(*lock, LOCK_EX | LOCK_NB))
        return 0;
    close(*lock);
    *lock = -1;
    return 1;
}

// Between the making of a folder and its lock nobody must take it for a dead owner's.
static int take_gate(struct err *e)
{
    if (mkdir(HOUSE_NOTES, 0755) && errno != EEXIST)
        return err_errno(e, ERR_DENIED, "%s cannot be made; only root can", HOUSE_NOTES);
    int gate = open(HOUSE_NOTES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (gate < 0 || flock(gate, LOCK_EX))
        return err_errno(e, ERR_DENIED, "%s cannot be locked", HOUSE_NOTES);
    return gate;
}

int house_clean(struct err *e)
{
    int n = 0, rc = 0, gate = take_gate(e);
    if (gate < 0)
        return gate;
    DIR *d = opendir(HOUSE_NOTES);
    for (struct dirent *f; d && !rc && (f = readdir(d));) {
        char folder[HOUSE_PATH_BYTES];
        int lock = -1;
        if (*f->d_name == '.' || join_path(folder, HOUSE_NOTES, f->d_name, NULL))
            continue;
        if ((rc = take_lock(folder, &lock, e)) == 1) { // its owner lives
            rc = 0;
            continue;
        }
        if (!rc && !(rc = remove_noted(folder, f->d_name, e)))
            rc = remove_folder(folder, e);
        n += !rc;
        if (lock >= 0)
            close(lock);
    }
    if (d)
        closedir(d);
    close(gate);
    return rc ? rc : n;
}

// ---- the model ---------------------------------------------------------------------------------

// Pages of a file that are in the cache belong to whoever read them first: none may be there.
static void drop_from_cache(int fd)
{
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int copy_bytes(int from, int to, const char *path, struct err *e)
{
    static char buffer[COPY_BYTES];
    off_t done = 0;
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) != 0; done += n) {
        if (n < 0)
            return err_errno(e, ERR_FAILED, "the model cannot be read");
        if (write(to, buffer, (size_t)n) != n)
            return err_errno(e, ERR_FAILED, "%s cannot be written", path);
        if (done % (64 * COPY_BYTES) == 0) { // no more in the cache than this
            drop_from_cache(to);
            posix_fadvise(from, 0, done, POSIX_FADV_DONTNEED);
        }
    }
    return 0;
}

static int copy_model(const char *model, const char *path, struct err *e)
{
    int from = open(model, O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct stat s;
    struct statvfs v;
    int rc = 0;
    if (from < 0 || fstat(from, &s))
        rc = err_errno(e, ERR_FAILED, "%s cannot be read", model);
    else if (to < 0)
        rc = err_errno(e, ERR_FAILED, "%s cannot be made", path);
    else if (!fstatvfs(to, &v) && (uint64_t)v.f_bavail * v.f_frsize < (uint64_t)s.st_size)
        rc = err_set(e, ERR_FAILED,
                     "no room for a copy of the model, %s; name another folder with --copies, or "
                     "let nodes share the file with 'model shared'",
                     path);
    else if (!(rc = copy_bytes(from, to, path, e)))
        drop_from_cache(to);
    if (to >= 0)
        close(to);
    if (from >= 0)
        close(from);
    return rc;
}

static int provide_model(struct house *h, const struct house_plan *p, int node, struct err *e)
{
    char name[HOUSE_PATH_BYTES], resolved[PATH_MAX];
    int rc = 0;
    if (!p->model)
        return 0;
    if (!realpath(p->model, resolved) || strlen(resolved) >= HOUSE_PATH_BYTES)
        return err_errno(e, ERR_FAILED, "%s: no such model", p->model);
    if (h->home.nodes[node].shares_model) {
        int fd = open(resolved, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(e, ERR_FAILED, "%s cannot be read", resolved);
        drop_from_cache(fd);
        close(fd);
        memcpy(h->models[node], resolved, strlen(resolved) + 1);
        return 0;
    }
    snprintf(name, sizeof name, CAGE_PREFIX "%s-%s.gguf", h->id, h->home.nodes[node].name);
    if (!realpath(p->copies, resolved))
        return err_errno(e, ERR_USAGE, "%s: no such folder for copies of the model", p->copies);
    rc = join_path(h->models[node], resolved, name, e);
    if (!rc && !(rc = note(h, "file", h->models[node], e)))
        rc = copy_model(p->model, h->models[node], e);
    return rc;
}

// The whole disk below a file, as "MAJOR:MINOR": partitions take no rates.
static int find_disk(const char *path, char out[32], struct err *e)
{
    struct stat s;
    char name[128];
    unsigned int device[2];
    FILE *f = NULL;
    if (stat(path, &s))
        return err_errno(e, ERR_FAILED, "%s cannot be found", path);
    for (int i = 0; i < 2 && !f; i++) {
        snprintf(name, sizeof name, "/sys/dev/block/%u:%u/partition", major(s.st_dev),
                 minor(s.st_dev));
        bool part = !access(name, F_OK);
        snprintf(name, sizeof name, "/sys/dev/block/%u:%u/%sdev", major(s.st_dev), minor(s.st_dev),
                 part ? "../" : "");
        f = fopen(name, "r");
    }
    bool found = f && fscanf(f, "%u:%u", &device[0], &device[1]) == 2;
    if (f)
        fclose(f);
    if (!found)
        return err_set(e, ERR_FAILED,
                       "%s lies on no disk that can have a read rate; take 'disk' out of the "
                       "description, or use a file on a disk",
                       path);
    snprintf(out, 32, "%u:%u", device[0], device[1]);
    return 0;
}

// ---- all of it ---------------------------------------------------------------------------------

static int find_states(struct house *h, const char *states, struct err *e)
{
    char resolved[PATH_MAX];
    if (!states) {
        memcpy(h->states, h->folder, sizeof h->states);
        return 0;
    }
    if ((mkdir(states, 0700) && errno != EEXIST) || !realpath(states, resolved))
        return err_errno(e, ERR_USAGE, "%s cannot be made", states);
    if (strlen(resolved) >= sizeof h->states)
        return err_set(e, ERR_USAGE, "%.100s...: the path is too long", resolved);
    memcpy(h->states, resolved, strlen(resolved) + 1);
    return 0;
}

static int make_folder(struct house *h, struct err *e)
{
    uint32_t number;
    int gate = take_gate(e), rc = 0;
    if (gate < 0)
        return gate;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        rc = err_errno(e, ERR_FAILED, "no random number to be had");
    snprintf(h->id, sizeof h->id, "%08x", number);
    if (!rc && !(rc = join_path(h->folder, HOUSE_NOTES, h->id, e)) && mkdir(h->folder, 0700)) {
        rc = err_errno(e, ERR_DENIED, "%s cannot be made", h->folder);
        *h->folder = 0;
    }
    if (!rc && take_lock(h->folder, &h->lock, e))
        rc = err_set(e, ERR_FAILED, "%s cannot be locked", h->folder);
    close(gate);
    return rc;
}

static int build_node(struct house *h, const struct house_plan *p, const struct cage_site *site,
                      int node, struct err *e)
{
    const struct home_node *n = &h->home.nodes[node];
    struct cage *c = &h->cages[node];
    char disk[32] = "", state[HOUSE_PATH_BYTES];
    int rc = provide_model(h, p, node, e);
    if (!rc && n->disk_bps)
        rc = find_disk(*h->models[node] ? h->models[node] : "/", disk, e);
    if (!rc && !(rc = join_path(state, h->states, n->name, e)) && mkdir(state, 0700) &&
        errno != EEXIST)
        rc = err_errno(e, ERR_FAILED, "%s cannot be made", state);
    if (!rc)
        rc = cage_name(c, site, h->id, n->name, e);
    for (int kind = 0; kind < CAGE_KINDS && !rc; kind++)
        if (*c->path[kind])
            rc = note(h, "group", c->path[kind], e);
    return rc ? rc : cage_make(c, n, disk, e);
}

int house_build(struct house *h, const struct house_plan *p, struct err *e)
{
    static struct cage_site site;
    *h = (struct house){.home = *p->home, .lock = -1};
    if (geteuid())
        return err_set(e, ERR_DENIED,
                       "a home in a box has network namespaces and control groups, which only root "
                       "can make");
    int rc = make_folder(h, e);
    if (!rc)
        rc = find_states(h, p->states, e);
    cage_find_site(&site, "/proc/self/cgroup", "/proc/self/mounts");
    for (int i = 0; i < h->home.n_nodes && !rc; i++)
        rc = build_node(h, p, &site, i, e);
    return rc;
}

int house_remove(struct house *h, struct err *e)
{
    if (!*h->folder)
        return 0;
    int rc = remove_noted(h->folder, h->id, e);
    if (!rc)
        rc = remove_folder(h->folder, e);
    if (h->lock >= 0)
        close(h->lock);
    h->lock = -1;
    return rc;
}
