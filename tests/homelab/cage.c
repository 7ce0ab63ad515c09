// Control groups (cage.h). A processor share has a period of 5 ms where the default is 100 ms: a
// ring works a few milliseconds in each node and waits for the others then, and would never use up
// its quota of a long period. What both versions call things:
//
//                     version 1                                   version 2
//     memory          memory.limit_in_bytes, memsw, swappiness    memory.max, memory.swap.max
//     processors      cpu.cfs_period_us, cpu.cfs_quota_us         cpu.max
//     reads           blkio.throttle.read_bps_device              io.max
#include "homelab/cage.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, EMPTYING_TRIES = 500, PERIOD_US = 5000, LEAST_QUOTA_US = 1000 };

static const char *const names_v1[CAGE_KINDS] = {"memory", "cpu", "blkio"};
static const char *const names_v2[CAGE_KINDS] = {"memory", "cpu", "io"};

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    char path[CAGE_PATH_BYTES + 64];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, mode) : NULL;
}

static bool put(const char *folder, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool put(const char *folder, const char *name, const char *format, ...)
{
    va_list args;
    FILE *f = open_in(folder, name, "w");
    if (!f)
        return false;
    va_start(args, format);
    bool ok = vfprintf(f, format, args) >= 0;
    va_end(args);
    return !fclose(f) && ok;
}

static bool is_there(const char *folder, const char *name)
{
    char path[CAGE_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return !access(path, F_OK);
}

// "KEY NUMBER"; a file that holds nothing but a number has the key "". 0 where there is none.
static uint64_t number_of(const char *folder, const char *name, const char *key)
{
    FILE *f = open_in(folder, name, "r");
    char line[LINE_BYTES];
    size_t length = strlen(key);
    uint64_t n = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, length) || (length && line[length] != ' '))
            continue;
        n = strtoull(line + length, NULL, 10);
        break;
    }
    if (f)
        fclose(f);
    return n;
}

static bool has_word(const char *list, const char *word, const char *separators)
{
    char copy[LINE_BYTES], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *w = strtok_r(copy, separators, &rest); w; w = strtok_r(NULL, separators, &rest))
        if (!strcmp(w, word))
            return true;
    return false;
}

static bool file_has_word(const char *folder, const char *name, const char *word)
{
    FILE *f = open_in(folder, name, "r");
    char line[LINE_BYTES] = "";
    bool found = f && fgets(line, sizeof line, f) && has_word(line, word, " \n");
    if (f)
        fclose(f);
    return found;
}

// ---- where groups can be -----------------------------------------------------------------------

// The caller's group of a controller, "NUMBER:CONTROLLERS:PATH"; version 2 has no controllers.
static bool find_group(const char *file, const char *controller, char *out)
{
    FILE *f = fopen(file, "r");
    char line[LINE_BYTES];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        list++;
        found = *controller ? has_word(list, controller, ",") : !*list;
        if (found)
            snprintf(out, CAGE_PATH_BYTES, "%s", strcmp(path, "/") ? path : "");
    }
    if (f)
        fclose(f);
    return found;
}

static bool find_mount(const char *file, const char *controller, char *out)
{
    FILE *f = fopen(file, "r");
    char line[LINE_BYTES], at[CAGE_PATH_BYTES], type[64], options[1024];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*s %1023s %63s %1023s", at, type, options) != 3)
            continue;
        found = *controller ? !strcmp(type, "cgroup") && has_word(options, controller, ",")
                            : !strcmp(type, "cgroup2");
    }
    if (f)
        fclose(f);
    if (found)
        memcpy(out, at, sizeof at);
    return found;
}

static bool join_path(char out[CAGE_PATH_BYTES], const char *mount, const char *group)
{
    int n = snprintf(out, CAGE_PATH_BYTES, "%s%s", mount, group);
    return n > 0 && n < CAGE_PATH_BYTES;
}

// In version 2 only a group that hands the controller down can have such children, and then it has
// no processes: the caller's own, or one around it.
static bool find_giver(char parent[CAGE_PATH_BYTES], size_t mount_length, const char *controller)
{
    while (!file_has_word(parent, "cgroup.subtree_control", controller)) {
        if (file_has_word(parent, "cgroup.controllers", controller) &&
            put(parent, "cgroup.subtree_control", "+%s", controller))
            continue;
        char *slash = strrchr(parent, '/');
        if (!slash || (size_t)(slash - parent) < mount_length)
            return false;
        *slash = 0;
    }
    return true;
}

void cage_find_site(struct cage_site *s, const char *groups_file, const char *mounts_file)
{
    char group[CAGE_PATH_BYTES], mount[CAGE_PATH_BYTES];
    *s = (struct cage_site){0};
    for (int i = 0; i < CAGE_KINDS; i++) {
        if (find_group(groups_file, names_v1[i], group) &&
            find_mount(mounts_file, names_v1[i], mount) && join_path(s->parent[i], mount, group))
            continue;
        s->v2[i] = true;
        if (!find_group(groups_file, "", group) || !find_mount(mounts_file, "", mount) ||
            !join_path(s->parent[i], mount, group) ||
            !find_giver(s->parent[i], strlen(mount), names_v2[i]))
            *s->parent[i] = 0;
    }
    // All of version 2 is one folder: the outermost of those found hands down what inner ones do.
    const char *outermost = NULL;
    for (int i = 0; i < CAGE_KINDS; i++)
        if (s->v2[i] && *s->parent[i] && (!outermost || strlen(s->parent[i]) < strlen(outermost)))
            outermost = s->parent[i];
    for (int i = 0; i < CAGE_KINDS; i++)
        if (s->v2[i] && *s->parent[i] && s->parent[i] != outermost)
            memcpy(s->parent[i], outermost, CAGE_PATH_BYTES);
}

// ---- one node's --------------------------------------------------------------------------------

int cage_name(struct cage *c, const struct cage_site *s, const char *id, const char *node,
              struct err *e)
{
    *c = (struct cage){0};
    for (int i = 0; i < CAGE_KINDS; i++) {
        c->v2[i] = s->v2[i];
        if (!*s->parent[i])
            continue;
        int n = snprintf(c->path[i], CAGE_PATH_BYTES, "%s/" CAGE_PREFIX "%s-%s", s->parent[i], id,
                         node);
        if (n < 0 || n >= CAGE_PATH_BYTES)
            return err_set(e, ERR_FAILED, "the path of control groups below %.100s... is too long",
                           s->parent[i]);
    }
    return 0;
}

// Memory and swap together may have a little more than memory: the kernel counts no hits of theirs.
static bool limit_memory(const char *folder, bool v2, uint64_t bytes)
{
    const uint64_t more_than_memory = 1 << 20;
    if (v2)
        return put(folder, "memory.max", "%" PRIu64, bytes) &&
               (!is_there(folder, "memory.swap.max") || put(folder, "memory.swap.max", "0"));
    if (is_there(folder, "memory.swappiness"))
        put(folder, "memory.swappiness", "0");
    return put(folder, "memory.limit_in_bytes", "%" PRIu64, bytes) &&
           (!is_there(folder, "memory.memsw.limit_in_bytes") ||
            put(folder, "memory.memsw.limit_in_bytes", "%" PRIu64, bytes + more_than_memory));
}

// The kernel takes no quota below a millisecond: a small share has a longer period.
static bool limit_cpu(const char *folder, bool v2, double cpu)
{
    int64_t period = PERIOD_US, quota = (int64_t)((double)PERIOD_US * cpu + 0.5);
    if (quota < LEAST_QUOTA_US) {
        quota = LEAST_QUOTA_US;
        period = (int64_t)(LEAST_QUOTA_US / cpu);
    }
    if (v2)
        return put(folder, "cpu.max", "%" PRId64 " %" PRId64, quota, period);
    return put(folder, "cpu.cfs_period_us", "%" PRId64, period) &&
           put(folder, "cpu.cfs_quota_us", "%" PRId64, quota);
}

static bool limit_disk(const char *folder, bool v2, const char *device, uint64_t rate)
{
    if (v2)
        return put(folder, "io.max", "%s rbps=%" PRIu64, device, rate);
    return put(folder, "blkio.throttle.read_bps_device", "%s %" PRIu64, device, rate);
}

static int set_limit(const struct cage *c, int kind, const struct home_node *n, const char *device,
                     struct err *e)
{
    static const char *const what[CAGE_KINDS] = {"memory", "processors", "disk reads"};
    const bool wanted[CAGE_KINDS] = {n->memory_bytes > 0, n->cpu > 0, n->disk_bps > 0};
    const char *folder = c->path[kind];
    bool done;
    if (!wanted[kind])
        return 0;
    if (!*folder)
        return err_set(e, ERR_FAILED,
                       "%s is to have a limit of %s, but this machine has no control groups for "
                       "that; take the limit out of the description",
                       n->name, what[kind]);
    if (kind == CAGE_MEMORY)
        done = limit_memory(folder, c->v2[kind], n->memory_bytes);
    else if (kind == CAGE_CPU)
        done = limit_cpu(folder, c->v2[kind], n->cpu);
    else
        done = limit_disk(folder, c->v2[kind], device, n->disk_bps);
    return done ? 0
                : err_errno(e, ERR_FAILED, "the control group %s takes no limit of %s", folder,
                            what[kind]);
}

int cage_make(const struct cage *c, const struct home_node *n, const char *device, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < CAGE_KINDS; i++)
        if (*c->path[i] && mkdir(c->path[i], 0755) && errno != EEXIST)
            return err_errno(e, ERR_DENIED, "the control group %s cannot be made", c->path[i]);
    for (int i = 0; i < CAGE_KINDS && !rc; i++)
        rc = set_limit(c, i, n, device, e);
    return rc;
}

int cage_enter(const struct cage *c, struct err *e)
{
    for (int i = 0; i < CAGE_KINDS; i++)
        if (*c->path[i] && !put(c->path[i], "cgroup.procs", "0"))
            return err_errno(e, ERR_FAILED, "the control group %s lets nobody in", c->path[i]);
    return 0;
}

void cage_usage(const struct cage *c, struct cage_usage *u)
{
    const char *folder = c->path[CAGE_MEMORY];
    *u = (struct cage_usage){0};
    if (!*folder)
        return;
    if (c->v2[CAGE_MEMORY]) {
        u->peak_bytes = number_of(folder, "memory.peak", "");
        u->limit_hits = number_of(folder, "memory.events", "max");
        u->oom_kills = number_of(folder, "memory.events", "oom_kill");
    } else {
        u->peak_bytes = number_of(folder, "memory.max_usage_in_bytes", "");
        u->limit_hits = number_of(folder, "memory.failcnt", "");
        u->oom_kills = number_of(folder, "memory.oom_control", "oom_kill");
    }
}

static void kill_all(const char *folder)
{
    FILE *f = open_in(folder, "cgroup.procs", "r");
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1)
        if (pid > 0)
            kill(pid, SIGKILL);
    if (f)
        fclose(f);
}

// What a node has read into the page cache goes with it, or it would be there for the next.
int cage_remove_folder(const char *path, struct err *e)
{
    const struct timespec nap = {.tv_nsec = 10000000};
    if (is_there(path, "memory.force_empty"))
        put(path, "memory.force_empty", "0");
    for (int i = 0; i < EMPTYING_TRIES; i++) {
        if (!rmdir(path) || errno == ENOENT)
            return 0;
        kill_all(path);
        nanosleep(&nap, NULL);
    }
    return err_errno(e, ERR_FAILED, "the control group %s cannot be removed", path);
}

int cage_remove(const struct cage *c, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < CAGE_KINDS; i++)
        if (*c->path[i] && cage_remove_folder(c->path[i], e))
            rc = ERR_FAILED;
    return rc;
}
