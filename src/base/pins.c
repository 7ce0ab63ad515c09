// Locks on processors: see pins.h.
#include "base/pins.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

// A descriptor that holds the lock of a CPU; -1: somebody else has it.
static int lock_cpu(const char *root, int number)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d", root, number) >=
        (int)sizeof path)
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return -1;
    }
    return fd;
}

bool pins_take(struct pins *p, const char *root, const struct cores *c, int among, int n)
{
    *p = (struct pins){0};
    p->cpu = calloc((size_t)n, sizeof *p->cpu);
    p->fd = calloc((size_t)n, sizeof *p->fd);
    for (int i = 0; p->cpu && p->fd && i < among && p->n < n; i++) {
        int fd = lock_cpu(root, c->cpu[i].number);
        if (fd < 0)
            continue;
        p->cpu[p->n] = c->cpu[i].number;
        p->fd[p->n++] = fd;
    }
    if (p->n == n)
        return true;
    pins_drop(p);
    return false;
}

void pins_drop(struct pins *p)
{
    for (int i = 0; i < p->n; i++)
        close(p->fd[i]);
    free(p->cpu);
    free(p->fd);
    *p = (struct pins){0};
}
