// Reading what memory is left: see budget.h. Linux says it in /proc/meminfo and in the files of
// control groups; a limit that is not there is no limit.
#include "weights/budget.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 1024, MAX_NESTING = 64 };

static const uint64_t MARGIN = 512u << 20;

static FILE *open_at(const char *root, const char *folder, const char *name)
{
    char path[2 * PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s%s%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
}

// The number of a file that holds one; "max" and no file at all are no number.
static bool read_number(const char *root, const char *folder, const char *name, uint64_t *out)
{
    FILE *f = open_at(root, folder, name);
    bool read = f && fscanf(f, "%" SCNu64, out) == 1;
    if (f)
        fclose(f);
    return read;
}

// "KEY NUMBER" of a file of such lines.
static bool read_key(const char *root, const char *folder, const char *name, const char *key,
                     uint64_t *out)
{
    FILE *f = open_at(root, folder, name);
    char line[256], found[64];
    bool read = false;
    while (f && !read && fgets(line, sizeof line, f))
        read = sscanf(line, "%63s %" SCNu64, found, out) == 2 && !strcmp(found, key);
    if (f)
        fclose(f);
    return read;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// What one group leaves.
static uint64_t group_leaves(const char *root, const char *folder, bool v2)
{
    uint64_t limit, used = 0, active = 0, inactive = 0;
    if (!read_number(root, folder, v2 ? "/memory.max" : "/memory.limit_in_bytes", &limit))
        return UINT64_MAX;
    read_number(root, folder, v2 ? "/memory.current" : "/memory.usage_in_bytes", &used);
    read_key(root, folder, "/memory.stat", v2 ? "active_file" : "total_active_file", &active);
    read_key(root, folder, "/memory.stat", v2 ? "inactive_file" : "total_inactive_file", &inactive);
    uint64_t cache = at_most(active + inactive, used);
    used -= cache;
    return limit > used ? limit - used : 0;
}

// The group and all those around it.
static uint64_t groups_leave(const char *root, const char *mount, const char *group, bool v2)
{
    char folder[PATH_BYTES];
    uint64_t left = UINT64_MAX;
    int n = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof folder)
        return left;
    for (int i = 0; i < MAX_NESTING; i++) {
        left = at_most(left, group_leaves(root, folder, v2));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(mount))
            break;
        *slash = 0;
    }
    return left;
}

// Lines of /proc/self/cgroup: ID:CONTROLLERS:PATH, version 2 with an empty list.
static uint64_t own_groups_leave(const char *root)
{
    FILE *f = open_at(root, "/proc", "/self/cgroup");
    char line[PATH_BYTES];
    uint64_t left = UINT64_MAX;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        if (!*controllers)
            left = at_most(left, groups_leave(root, "/sys/fs/cgroup", path, true));
        else if (strstr(controllers, "memory"))
            left = at_most(left, groups_leave(root, "/sys/fs/cgroup/memory", path, false));
    }
    if (f)
        fclose(f);
    return left;
}

uint64_t budget_available(const char *root)
{
    uint64_t available, left = own_groups_leave(root);
    if (read_key(root, "/proc", "/meminfo", "MemAvailable:", &available))
        left = at_most(left, available << 10);
    return left;
}

uint64_t budget_for_weights(uint64_t available, uint64_t reserved)
{
    uint64_t margin = available / 10 > MARGIN ? available / 10 : MARGIN;
    if (available == UINT64_MAX)
        return available;
    return available > reserved && available - reserved > margin ? available - reserved - margin
                                                                 : 0;
}
