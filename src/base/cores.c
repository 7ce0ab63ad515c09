// Looking at processors: see cores.h.
//
// Hyper-threads: two of them share one core's arithmetic units and its way to memory, so a second
// one brings nothing to kernels that keep these busy, and one core counts once.
//
// Slow cores: threads claim work (backend/cpu/cpu.h), so a slow core does what it can. But a phase
// ends with its last piece of work, and a core at a fifth of the speed holds the fast ones up for
// longer than it helped; and one token's pass waits for memory, which the fast cores keep busy by
// themselves. So a core takes part from half the fastest one's speed: those of x86 hybrids do, the
// little ones of ARM boards do not.
//
// Quotas: a cgroup's limit holds for all below it, so each one from the process's own up to the
// root counts, the smallest wins. Sets of CPUs that cgroups allow are part of the affinity mask.
#include "base/cores.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

__attribute__((format(printf, 2, 3))) static FILE *open_below(const char *root, const char *path,
                                                              ...)
{
    char full[PATH_BYTES];
    int n = snprintf(full, sizeof full, "%s", root);
    va_list args;
    va_start(args, path);
    if (n >= 0 && n < PATH_BYTES)
        n += vsnprintf(full + n, sizeof full - (size_t)n, path, args);
    va_end(args);
    return n > 0 && n < PATH_BYTES ? fopen(full, "r") : NULL;
}

// A number that `f`, which is closed, begins with; 0: none.
static long take_number(FILE *f)
{
    long x = 0;
    if (f && (fscanf(f, "%ld", &x) != 1 || x < 0))
        x = 0;
    if (f)
        fclose(f);
    return x;
}

// A list like 0-3,8 of `f`, which is closed; false: there is none.
static bool take_list(FILE *f, cpu_set_t *out)
{
    int lo, hi;
    CPU_ZERO(out);
    while (f && fscanf(f, "%d", &lo) == 1 && lo >= 0) {
        hi = lo;
        if (fscanf(f, "-%d", &hi) == 1 && (hi < lo || hi >= CORES_MAX))
            break;
        for (int i = lo; i <= hi && i < CORES_MAX; i++)
            CPU_SET(i, out);
        if (fgetc(f) != ',')
            break;
    }
    if (f)
        fclose(f);
    return CPU_COUNT(out) > 0;
}

// ---- cores and their speed ---------------------------------------------------------------------

static int core_of(const char *root, int number)
{
    static const char *const names[] = {"core_cpus_list", "thread_siblings_list"}; // new, old
    cpu_set_t set;
    for (int i = 0; i < 2; i++)
        if (take_list(
                open_below(root, "/sys/devices/system/cpu/cpu%d/topology/%s", number, names[i]),
                &set) &&
            CPU_ISSET(number, &set))
            for (int k = 0;; k++)
                if (CPU_ISSET(k, &set))
                    return k;
    return number;
}

// One figure of each CPU from the file `name` of its folder. False: not all have it.
static bool read_figures(const struct cores *c, const char *root, const char *name, long *out)
{
    for (int i = 0; i < c->n; i++)
        if (!(out[i] = take_number(
                  open_below(root, "/sys/devices/system/cpu/cpu%d/%s", c->cpu[i].number, name))))
            return false;
    return true;
}

// Scales the figures of those CPUs whose being in `set` is `in`: the largest becomes `full`.
static void scale_figures(struct cores *c, const long *figures, const cpu_set_t *set, bool in,
                          int full)
{
    long most = 0;
    for (int i = 0; i < c->n; i++)
        if (!!CPU_ISSET(c->cpu[i].number, set) == in && figures[i] > most)
            most = figures[i];
    for (int i = 0; i < c->n; i++)
        if (!!CPU_ISSET(c->cpu[i].number, set) == in)
            c->cpu[i].speed = (int)((double)figures[i] / (double)most * full);
}

// ARM systems say how much each CPU can do. Elsewhere clocks tell kinds of cores apart, and on
// Intel's hybrids, where a small core at the same clock does about half of a large one's work, a
// list of the small ones.
static void find_speeds(struct cores *c, const char *root)
{
    static const int small_core = CORES_FULL_SPEED / 2;
    long figures[CORES_MAX];
    cpu_set_t small;
    CPU_ZERO(&small);
    if (!read_figures(c, root, "cpu_capacity", figures)) {
        if (!read_figures(c, root, "cpufreq/cpuinfo_max_freq", figures))
            for (int i = 0; i < c->n; i++)
                figures[i] = 1;
        take_list(open_below(root, "/sys/devices/cpu_atom/cpus"), &small);
    }
    scale_figures(c, figures, &small, false, CORES_FULL_SPEED);
    scale_figures(c, figures, &small, true, small_core);
    int best = 1;
    for (int i = 0; i < c->n; i++)
        best = c->cpu[i].speed > best ? c->cpu[i].speed : best;
    for (int i = 0; i < c->n; i++)
        c->cpu[i].speed = c->cpu[i].speed * CORES_FULL_SPEED / best;
}

static int in_order(const void *a, const void *b)
{
    const struct cores_cpu *x = a, *y = b;
    int by_rank = x->rank - y->rank, by_speed = y->speed - x->speed;
    return by_rank ? by_rank : by_speed ? by_speed : x->number - y->number;
}

// ---- quotas ------------------------------------------------------------------------------------

// CPUs' worth of time that one group in `folder` grants; 0: no limit.
static double group_quota(const char *root, const char *folder)
{
    double quota = 0, period = 0;
    FILE *f = open_below(root, "%s/cpu.max", folder); // "max 100000" where there is no limit
    if (f) {
        if (fscanf(f, "%lf %lf", &quota, &period) != 2)
            quota = 0;
        fclose(f);
    } else {
        quota = (double)take_number(open_below(root, "%s/cpu.cfs_quota_us", folder)); // -1: none
        period = (double)take_number(open_below(root, "%s/cpu.cfs_period_us", folder));
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",\n") == length && !strncmp(at, word, length))
            return true;
    return false;
}

// Where the hierarchy that counts CPU time is mounted, and what of it: a line of
//     31 23 0:28 ROOT POINT rw,relatime ... - TYPE SOURCE OPTIONS
static bool is_cpu_mount(const char *line, bool unified, char *from, char *point)
{
    char type[32], options[256];
    const char *rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*s %*s %*s %4095s %4095s", from, point) != 2 ||
        sscanf(rest, " - %31s %*s %255s", type, options) != 2)
        return false;
    return unified ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && has_word(options, "cpu");
}

static void least(double *quota, double other)
{
    if (other > 0 && (*quota <= 0 || other < *quota))
        *quota = other;
}

// The quota of `group`, a path in the hierarchy, and of all above it.
static void walk_groups(const char *root, const char *group, bool unified, double *quota)
{
    char from[PATH_BYTES], point[PATH_BYTES], folder[2 * PATH_BYTES];
    char *line = NULL;
    size_t size = 0;
    FILE *f = open_below(root, "/proc/self/mountinfo");
    while (f && getline(&line, &size, f) > 0) {
        if (!is_cpu_mount(line, unified, from, point))
            continue;
        size_t skip = strcmp(from, "/") ? strlen(from) : 0;
        bool below = !strncmp(group, from, skip) && (!group[skip] || group[skip] == '/');
        snprintf(folder, sizeof folder, "%s%s", point,
                 below && !strstr(group, "/..") ? group + skip : "");
        for (size_t top = strlen(point);;) {
            least(quota, group_quota(root, folder));
            char *slash = strrchr(folder, '/');
            if (!slash || (size_t)(slash - folder) < top)
                break;
            *slash = 0;
        }
    }
    if (f)
        fclose(f);
    free(line);
}

// Lines ID:CONTROLLERS:PATH; the unified hierarchy has no list of controllers.
static double find_quota(const char *root)
{
    double quota = 0;
    char *line = NULL;
    size_t size = 0;
    FILE *f = open_below(root, "/proc/self/cgroup");
    while (f && getline(&line, &size, f) > 0) {
        char *controllers = strchr(line, ':'), *path = controllers;
        if (!controllers || !(path = strchr(++controllers, ':')))
            continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        if (!*controllers || has_word(controllers, "cpu"))
            walk_groups(root, path, !*controllers, &quota);
    }
    if (f)
        fclose(f);
    free(line);
    return quota;
}

// ------------------------------------------------------------------------------------------------

void cores_read(struct cores *c, const char *root, const cpu_set_t *allowed)
{
    *c = (struct cores){0};
    for (int i = 0; i < CORES_MAX; i++)
        if (CPU_ISSET(i, allowed))
            c->cpu[c->n++] = (struct cores_cpu){.number = i, .core = core_of(root, i)};
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < i; k++)
            c->cpu[i].rank += c->cpu[k].core == c->cpu[i].core;
    find_speeds(c, root);
    qsort(c->cpu, (size_t)c->n, sizeof *c->cpu, in_order);
    for (int i = 0; i < c->n && !c->cpu[i].rank; i++) {
        c->n_cores++;
        c->n_able += 2 * c->cpu[i].speed >= CORES_FULL_SPEED;
    }
    c->quota = find_quota(root);
}

static struct cores here;
static pthread_once_t looked = PTHREAD_ONCE_INIT;

// The main thread's mask: compute threads may have narrowed their own.
static void look(void)
{
    cpu_set_t set;
    if (sched_getaffinity(getpid(), sizeof set, &set)) {
        CPU_ZERO(&set); // more CPUs than a mask of this size holds
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        for (int i = 0; i < n && i < CORES_MAX; i++)
            CPU_SET(i, &set);
    }
    cores_read(&here, "", &set);
}

const struct cores *cores_here(void)
{
    pthread_once(&looked, look);
    return &here;
}

int cores_threads(const struct cores *c)
{
    int n = c->n_able;
    if (c->quota > 0 && c->quota < n)
        n = (int)(c->quota + 0.5);
    return n < 1 ? 1 : n;
}
