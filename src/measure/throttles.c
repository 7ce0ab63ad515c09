// Limits of control groups on reading: see throttles.h. A limit holds for all groups below the one
// that has it; those of the process's own group are looked at and of each group above.
#include "measure/throttles.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 256 };

static void add_line(char out[THROTTLES_BYTES], const char *line)
{
    size_t n = strlen(out);
    snprintf(out + n, THROTTLES_BYTES - n, "%s", line);
}

static void add_limits(char out[THROTTLES_BYTES], const char *path)
{
    char line[LINE_BYTES];
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *rbps = strstr(line, "rbps=");
        if (!strstr(line, "bps=") || (rbps && strncmp(rbps, "rbps=max", 8)))
            add_line(out, line);
    }
    if (f)
        fclose(f);
}

// `group` and all above it.
static void walk_up(char out[THROTTLES_BYTES], const char *mount, char *group, const char *file)
{
    char path[2 * PATH_BYTES];
    for (;;) {
        snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
        add_limits(out, path);
        char *slash = strrchr(group, '/');
        if (!slash || (slash == group && !slash[1]))
            return;
        slash[slash == group] = 0;
    }
}

void throttles_read(char out[THROTTLES_BYTES])
{
    char line[PATH_BYTES];
    FILE *f = fopen("/proc/self/cgroup", "re");
    *out = 0;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        if (!strcmp(names + 1, "blkio"))
            walk_up(out, "/sys/fs/cgroup/blkio", group, "blkio.throttle.read_bps_device");
        else if (!names[1])
            walk_up(out, "/sys/fs/cgroup", group, "io.max");
    }
    if (f)
        fclose(f);
}
