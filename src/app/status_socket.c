// What runs here: see status_socket.h. Paths lead through the folder's descriptor, because the
// address of a Unix socket has room for 108 bytes and a folder's name may be longer. A socket gets
// its name when it listens, so that one that refuses is dead and not just young.
#include "app/status_socket.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "cluster/identity.h"
#include "net/local_sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 8, NAME_BYTES = 48, READ_BYTES = 1 << 16 };

struct status_socket {
    json_t *(*document)(void *ctx);
    void *ctx;
    char name[NAME_BYTES]; // in the folder; empty: none yet
    int folder, listener, stop;
    pthread_t thread;
    bool started;
};

// ---- The folder.

static int find_folder(char out[IDENTITY_PATH], struct err *e)
{
    const char *ours = getenv("RONDO_STATE"), *runtime = getenv("XDG_RUNTIME_DIR");
    if ((ours && *ours) || !runtime || *runtime != '/')
        return identity_folder(out, e);
    int n = snprintf(out, IDENTITY_PATH, "%s/rondo", runtime);
    if (n < 0 || n >= IDENTITY_PATH)
        return err_set(e, ERR_FAILED, "the path in XDG_RUNTIME_DIR is too long");
    if (mkdir(out, 0700) && errno != EEXIST)
        return identity_folder(out, e);
    return 0;
}

static int open_folder(int *fd, struct err *e)
{
    char path[IDENTITY_PATH];
    struct stat s;
    int rc = find_folder(path, e);
    if (rc)
        return rc;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return err_errno(e, ERR_DENIED, "cannot open the folder %s", path);
    if (!fstat(*fd, &s) && s.st_uid == geteuid() && !(s.st_mode & 022))
        return 0;
    close(*fd);
    *fd = -1;
    return err_set(e, ERR_DENIED,
                   "other users may change the folder %s, so what is in it cannot be trusted; run "
                   "chmod 700 on it",
                   path);
}

// A connection to a socket of the folder, or -1. One that refuses belongs to nobody any more.
static int dial(int folder, const char *name)
{
    int fd = net_local_connect(folder, name, STATUS_HEAD_MS);
    if (fd < 0 && errno == ECONNREFUSED)
        unlinkat(folder, name, 0);
    return fd;
}

// ---- A head.

// Until there is something to do with `fd`: 1; the end is wanted: -1; too late: 0.
static int await(const struct status_socket *s, int fd, short events, int timeout_ms)
{
    struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = s->stop, .events = POLLIN}};
    int n = poll(polled, 2, timeout_ms);
    if (polled[1].revents)
        return -1;
    return n > 0 && polled[0].revents;
}

static void serve(const struct status_socket *s, int client)
{
    json_t *json = s->document(s->ctx);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    size_t size = text ? strlen(text) : 0, sent = 0;
    int64_t until_ms = clock_ms() + STATUS_CLIENT_MS;
    json_decref(json);
    while (sent < size) {
        int64_t left_ms = until_ms - clock_ms();
        if (left_ms <= 0 || await(s, client, POLLOUT, (int)left_ms) <= 0)
            break; // it does not read
        ssize_t n = send(client, text + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        sent += n > 0 ? (size_t)n : 0;
    }
    free(text);
}

static void *serve_main(void *arg)
{
    const struct status_socket *s = arg;
    int event;
    while ((event = await(s, s->listener, POLLIN, -1)) >= 0) {
        int client = event ? accept4(s->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (client < 0) {
            if (event && errno != EAGAIN)
                await(s, -1, 0, STATUS_CLIENT_MS); // no descriptor free: not to be asked at once
            continue;
        }
        serve(s, client);
        close(client);
    }
    return NULL;
}

// Listens under a name that nobody looks for, and then takes the one that they do. A name may be
// taken by a head of the same number in another container that shares the folder.
static int listen_in_folder(struct status_socket *s, struct err *e)
{
    char young[NAME_BYTES];
    snprintf(young, sizeof young, "young-%ld", (long)getpid());
    unlinkat(s->folder, young, 0);
    s->listener = net_local_listen(s->folder, young, BACKLOG);
    if (s->listener < 0)
        return err_errno(e, ERR_FAILED, "cannot listen for rondo nodes");
    for (int i = 0; i < STATUS_MAX_HEADS; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, i ? "head-%ld.%d.sock" : "head-%ld.sock", (long)getpid(), i);
        int taken = dial(s->folder, name);
        if (taken >= 0) {
            close(taken);
            continue;
        }
        if (renameat(s->folder, young, s->folder, name))
            break;
        memcpy(s->name, name, sizeof name);
        return 0;
    }
    unlinkat(s->folder, young, 0);
    return err_set(e, ERR_FAILED, "cannot name the socket for rondo nodes");
}

int status_socket_open(struct status_socket **out, json_t *(*document)(void *ctx), void *ctx,
                       struct err *e)
{
    struct status_socket *s = calloc(1, sizeof *s);
    sigset_t before;
    *out = NULL;
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory for the socket of rondo nodes");
    *s = (struct status_socket){
        .document = document, .ctx = ctx, .folder = -1, .listener = -1, .stop = -1};
    int rc = open_folder(&s->folder, e);
    if (!rc && (s->stop = eventfd(0, EFD_CLOEXEC)) < 0)
        rc = err_errno(e, ERR_FAILED, "no descriptor for the socket of rondo nodes");
    if (!rc)
        rc = listen_in_folder(s, e);
    signals_block(&before);
    s->started = !rc && !pthread_create(&s->thread, NULL, serve_main, s);
    signals_restore(&before);
    if (!rc && !s->started)
        rc = err_set(e, ERR_NO_MEMORY, "cannot start the thread for rondo nodes");
    if (rc) {
        status_socket_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void status_socket_close(struct status_socket *s)
{
    if (!s)
        return;
    if (s->started) {
        uint64_t one = 1;
        (void)!write(s->stop, &one, sizeof one);
        pthread_join(s->thread, NULL);
    }
    if (*s->name)
        unlinkat(s->folder, s->name, 0);
    int fds[] = {s->listener, s->stop, s->folder};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(s);
}

// ---- Who asks.

// All that comes, NUL-terminated. NULL: the head hangs, says too much, or there is no memory.
static char *read_all(int fd)
{
    int64_t until_ms = clock_ms() + STATUS_HEAD_MS;
    size_t size = 0, room = 0;
    char *text = NULL;
    while (clock_ms() < until_ms && size < STATUS_MAX_BYTES) {
        if (room - size < READ_BYTES) {
            room = 2 * room + READ_BYTES + 1;
            char *larger = realloc(text, room);
            if (!larger)
                break;
            text = larger;
        }
        ssize_t n = read(fd, text + size, room - size - 1);
        if (n == 0) {
            text[size] = 0;
            return text;
        }
        if (n < 0 && errno != EINTR)
            break;
        size += n > 0 ? (size_t)n : 0;
    }
    free(text);
    return NULL;
}

static void ask(json_t *heads, int folder, const char *name)
{
    int fd = dial(folder, name);
    if (fd < 0)
        return;
    char *text = read_all(fd);
    json_t *head = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!head)
        log_warn("the head behind %s does not answer", name);
    else
        json_array_append_new(heads, head);
    free(text);
    close(fd);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int status_ask(json_t **heads, struct err *e)
{
    char names[STATUS_MAX_HEADS][NAME_BYTES];
    int folder, n = 0, rc = open_folder(&folder, e);
    *heads = NULL;
    if (rc)
        return rc;
    int again = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *d; dir && n < STATUS_MAX_HEADS && (d = readdir(dir));) {
        size_t length = strlen(d->d_name);
        if (length < NAME_BYTES && !strncmp(d->d_name, "head-", 5) &&
            !strcmp(d->d_name + length - 5, ".sock"))
            memcpy(names[n++], d->d_name, length + 1);
    }
    if (dir)
        closedir(dir);
    else if (again >= 0)
        close(again);
    qsort(names, (size_t)n, sizeof *names, by_name);
    *heads = json_array();
    for (int i = 0; *heads && i < n; i++)
        ask(*heads, folder, names[i]);
    close(folder);
    return *heads ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for what the heads say");
}
