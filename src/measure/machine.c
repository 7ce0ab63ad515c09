// Which machine this is: see machine.h.
//
// x86 names its processor in /proc/cpuinfo ("model name"), most ARM boards name the board
// ("Model"), and the rest has at least its family from uname.
#include "measure/machine.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

// The value of `key` in a file of lines "key : value".
static bool find_line(const char *path, const char *key, char *out, size_t size)
{
    char line[512];
    size_t length = strlen(key);
    FILE *f = fopen(path, "r");
    *out = 0;
    while (f && !*out && fgets(line, sizeof line, f)) {
        const char *at = line + length;
        if (strncmp(line, key, length) || *(at += strspn(at, "\t ")) != ':')
            continue;
        at += 1 + strspn(at + 1, "\t ");
        err_quote(out, (int)size, at, (int)strcspn(at, "\n"));
    }
    if (f)
        fclose(f);
    return *out;
}

void machine_describe(struct machine *m)
{
    struct utsname u;
    *m = (struct machine){.n_processors = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
        m->memory_bytes = (uint64_t)pages * (uint64_t)page;
    if (uname(&u))
        memset(&u, 0, sizeof u);
    snprintf(m->system, sizeof m->system, "%.30s %.40s %.20s", u.sysname, u.release, u.machine);
    if (!find_line("/proc/cpuinfo", "model name", m->processor, sizeof m->processor) &&
        !find_line("/proc/cpuinfo", "Model", m->processor, sizeof m->processor))
        snprintf(m->processor, sizeof m->processor, "%.60s", *u.machine ? u.machine : "unknown");
}
