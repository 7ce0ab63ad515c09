// The node's key and certificate in the state folder.
#include "cluster/identity.h"

#include "disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY_FILE "identity.pem"

static int join(char out[IDENTITY_PATH], const char *folder, const char *rest, struct err *e)
{
    int n = snprintf(out, IDENTITY_PATH, "%s%s", folder, rest);
    if (n < 0 || n >= IDENTITY_PATH)
        return err_set(e, ERR_USAGE,
                       "the name of the state folder is too long; set XDG_STATE_HOME "
                       "to a shorter one");
    return 0;
}

// The code for what errno says.
static int denied(void)
{
    return errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_FAILED;
}

// Makes `path` and what leads to it; only the last part is ours to be strict about.
static int make_folders(const char *path, struct err *e)
{
    char part[IDENTITY_PATH];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0700) && errno != EEXIST)
            return err_errno(e, denied(), "cannot make the folder %s", part);
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        return err_errno(e, denied(), "cannot make the folder %s", path);
    return 0;
}

int identity_folder(char out[IDENTITY_PATH], struct err *e)
{
    const char *ours = getenv("RONDO_STATE"), *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int rc;
    if (ours && *ours)
        rc = join(out, ours, "", e);
    else if (xdg && *xdg == '/') // the specification: relative paths are ignored
        rc = join(out, xdg, "/rondo", e);
    else if (home && *home)
        rc = join(out, home, "/.local/state/rondo", e);
    else
        rc = err_set(e, ERR_USAGE,
                     "there is no home folder to keep this node's key in; set HOME "
                     "or XDG_STATE_HOME");
    return rc ? rc : make_folders(out, e);
}

// The folder may be read by others, as long as they cannot change it: secrets have their own modes.
static int check_folder(const char *folder, struct err *e)
{
    struct stat s;
    if (stat(folder, &s))
        return err_errno(e, ERR_DENIED, "cannot look at the folder %s", folder);
    if (!S_ISDIR(s.st_mode))
        return err_set(e, ERR_DENIED, "%s is not a folder", folder);
    if (s.st_uid != geteuid() || (s.st_mode & 022))
        return err_set(e, ERR_DENIED,
                       "other users may change the folder %s, so this node's key would not be "
                       "safe there; run chmod 700 on it, or choose another one with RONDO_STATE",
                       folder);
    return 0;
}

static int check_private(int fd, const char *path, struct err *e)
{
    struct stat s;
    if (fstat(fd, &s))
        return err_errno(e, ERR_DENIED, "cannot look at %s", path);
    if (!S_ISREG(s.st_mode))
        return err_set(e, ERR_DENIED, "%s is not an ordinary file", path);
    if (s.st_uid != geteuid() || (s.st_mode & 077))
        return err_set(e, ERR_DENIED,
                       "other users may read %s, so what is in it is no secret any more; if nobody "
                       "has seen it run chmod 600 on it, otherwise delete it and pair again",
                       path);
    return 0;
}

int identity_read_private(const char *path, char *out, size_t room, size_t *size, struct err *e)
{
    int fd = disk_io->open(path, O_RDONLY | O_NOFOLLOW, 0);
    *size = 0;
    if (fd < 0)
        return errno == ENOENT ? 1 : err_errno(e, ERR_DENIED, "cannot read %s", path);
    int rc = check_private(fd, path, e);
    while (rc == 0) {
        ssize_t n = disk_io->pread(fd, out + *size, room - *size, (int64_t)*size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(e, ERR_FAILED, "cannot read %s", path);
        if (n <= 0)
            break;
        *size += (size_t)n;
        if (*size == room)
            rc =
                err_set(e, ERR_FAILED, "%s is larger than rondo would make it; move it away", path);
    }
    disk_io->close(fd);
    return rc;
}

// A name of its own, so that two processes that start at once do not write into one file.
static int make_temporary(char name[IDENTITY_PATH], const char *path, struct err *e)
{
    for (int i = 0; i < 100; i++) {
        int n = snprintf(name, IDENTITY_PATH, "%s.%ld-%d", path, (long)getpid(), i);
        if (n < 0 || n >= IDENTITY_PATH)
            return err_set(e, ERR_USAGE, "the name of the state folder is too long");
        int fd = disk_io->open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            return err_errno(e, denied(), "cannot make a file beside %s", path);
    }
    return err_set(e, ERR_FAILED, "files that begin with %s. are in the way; delete them", path);
}

int identity_write_private(const char *path, const char *data, size_t size, bool replace,
                           struct err *e)
{
    char name[IDENTITY_PATH];
    int fd = make_temporary(name, path, e), rc = 0;
    if (fd < 0)
        return fd;
    if (disk_write_full(fd, data, size, 0) || disk_io->fsync(fd))
        rc = err_errno(e, ERR_FAILED, "cannot write %s", path);
    disk_io->close(fd);
    if (rc == 0 && replace) {
        if (disk_io->rename(name, path) == 0)
            return 0;
        rc = err_errno(e, ERR_FAILED, "cannot write %s", path);
    } else if (rc == 0 && link(name, path) && errno != EEXIST) { // another's is as good as ours
        rc = err_errno(e, ERR_FAILED, "cannot write %s", path);
    }
    disk_io->unlink(name);
    return rc;
}

int identity_open(struct tls_identity **out, const char *folder, struct err *e)
{
    char path[IDENTITY_PATH], pem[TLS_PEM_MAX];
    size_t size;
    *out = NULL;
    int rc = join(path, folder, "/" IDENTITY_FILE, e);
    if (rc == 0)
        rc = check_folder(folder, e);
    if (rc == 0)
        rc = identity_read_private(path, pem, sizeof pem, &size, e);
    if (rc == 1) { // none yet
        rc = tls_identity_make(pem, e);
        if (rc == 0)
            rc = identity_write_private(path, pem, strlen(pem), false, e);
        if (rc == 0)
            rc = identity_read_private(path, pem, sizeof pem, &size, e);
        if (rc == 1)
            rc = err_set(e, ERR_FAILED, "%s was taken away while it was being made", path);
    }
    struct err why = {0};
    if (rc == 0 && (rc = tls_identity_new(out, pem, size, &why)))
        err_set(e, why.code,
                "this node's key in %s cannot be used (%s); delete the file, then pair again", path,
                why.text);
    OPENSSL_cleanse(pem, sizeof pem);
    return rc;
}

void identity_name(char *out, size_t size)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) || !*host)
        snprintf(host, sizeof host, "unnamed");
    err_quote(out, (int)size, host, (int)strlen(host));
}
