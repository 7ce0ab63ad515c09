// Pressure of memory: see pressure.h and Documentation/accounting/psi.rst and
// Documentation/admin-guide/cgroup-v1/memory.rst (section 11) of the kernel.
#include "weights/pressure.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int open_at(const char *root, const char *folder, const char *name, int flags)
{
    char path[3072];
    int n = snprintf(path, sizeof path, "%s%s%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? open(path, flags | O_CLOEXEC) : -1;
}

static void add(struct pressure *p, int fd, short events, int level)
{
    p->levels[p->n] = level;
    p->files[p->n++] = (struct pollfd){.fd = fd, .events = events};
}

// Told when somebody waited for memory so many microseconds within a window. The first is for those
// with privileges; others may have windows of whole multiples of two seconds.
static void add_stall(struct pressure *p, const char *root, const char *folder, const char *name)
{
    const char *const triggers[] = {"some 10000 500000", "some 40000 2000000"};
    for (int i = 0; i < 2 && p->n < PRESSURE_MAX; i++) {
        int fd = open_at(root, folder, name, O_RDWR | O_NONBLOCK);
        if (fd >= 0 && write(fd, triggers[i], strlen(triggers[i]) + 1) > 0) {
            add(p, fd, POLLPRI, -1);
            return;
        }
        log_debug("no word of pressure from %s%s: %s", folder, name, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
}

static void add_level(struct pressure *p, const char *root, const char *folder)
{
    char text[64];
    if (p->n == PRESSURE_MAX)
        return;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int level = open_at(root, folder, "/memory.pressure_level", O_RDONLY);
    int control = open_at(root, folder, "/cgroup.event_control", O_WRONLY);
    int n = snprintf(text, sizeof text, "%d %d medium", event, level);
    bool told = event >= 0 && level >= 0 && control >= 0 && write(control, text, (size_t)n) == n;
    if (told)
        add(p, event, POLLIN, level);
    else
        log_debug("no word of pressure from %s: %s", folder, strerror(errno));
    if (control >= 0)
        close(control);
    if (!told && level >= 0)
        close(level);
    if (!told && event >= 0)
        close(event);
}

void pressure_open(struct pressure *p, const char *root, const struct budget_source *sources,
                   int n_sources)
{
    p->n = 0;
    add_stall(p, root, "/proc", "/pressure/memory");
    for (int i = 0; i < n_sources; i++) {
        if (!sources[i].limits || !*sources[i].folder)
            continue;
        if (sources[i].v2)
            add_stall(p, root, sources[i].folder, "/memory.pressure");
        else
            add_level(p, root, sources[i].folder);
    }
}

static void drop(struct pressure *p, int i)
{
    if (p->files[i].fd >= 0)
        close(p->files[i].fd);
    if (p->levels[i] >= 0)
        close(p->levels[i]);
    p->files[i].fd = p->levels[i] = -1;
}

void pressure_close(struct pressure *p)
{
    for (int i = 0; i < p->n; i++)
        drop(p, i);
    p->n = 0;
}

void pressure_taken(struct pressure *p, struct pollfd *polled)
{
    uint64_t count;
    for (int i = 0; i < p->n; i++) {
        bool gone = polled[i].revents & (POLLERR | POLLHUP | POLLNVAL);
        if (!gone && (polled[i].revents & POLLIN))
            gone = read(p->files[i].fd, &count, sizeof count) < 0 && errno != EAGAIN;
        if (gone)
            drop(p, i);
    }
}
