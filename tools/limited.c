// Runs a command under a memory limit of its own and says what it needed.
//
//     limited [-p] [-d FILE]... [-i MS] [-o FILE] [-t FILE] BYTES COMMAND [ARGUMENT...]
//
// The command and its children lie in a control group made for them, which has BYTES of memory and
// no swap; 0 is no limit. The page cache that they fill counts too, but a page belongs to whoever
// touched it first: -d drops a file from the cache before. With -p the limit is that of a group
// around theirs. Every MS milliseconds (10) the group and its processes are looked at:
//
//     peak_anon, peak_locked, peak   bytes of anonymous memory; of locked pages of files and shared
//                                    memory; of both together
//     peak_file, peak_swap           of the page cache and of swap
//     pressure                       how far MemAvailable fell, over MemTotal
//
// A line of JSON with these, and with what the kernel counted (limit_hits, oom_kills, read_bytes,
// cpu_s), goes to standard error or to the file of -o; -t wants every sample as CSV. The exit
// status is the command's, 128 and the signal's number when one ended it, 125 when there can be no
// such group. Control groups of both versions are known; making one takes root as a rule. Whatever
// happens but SIGKILL, what is left in the group is killed and the group removed.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, STATUS_OWN = 125, EMPTYING_TRIES = 500, LOCKED_EACH = 10 };

struct sample {
    uint64_t anon, locked, file, swap, available; // bytes
};

struct limited {
    uint64_t limit;      // 0: none
    bool v2, surrounded; // -p
    int interval_ms;
    const char *report, *trace;
    char group[PATH_BYTES], inner[PATH_BYTES]; // the limited one; that of the command
    FILE *samples;
    int64_t began_ns;
    struct sample before, peak;                // .available of the peak: the least
    uint64_t peak_together, n_samples, locked; // as looked at last
};

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("limited: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// ---- small files of the kernel -----------------------------------------------------------------

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    char path[2 * PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, mode) : NULL;
}

static bool put(const char *folder, const char *name, const char *text)
{
    FILE *f = open_in(folder, name, "w");
    bool ok = f && fputs(text, f) >= 0;
    if (f && fclose(f))
        ok = false;
    return ok;
}

static bool put_number(const char *folder, const char *name, uint64_t n)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, n);
    return put(folder, name, text);
}

// "KEY NUMBER" or "KEY: NUMBER kB" of a file of such lines; a file that holds nothing but a number
// has the key "". 0 where there is none.
static uint64_t number_of(const char *folder, const char *name, const char *key)
{
    FILE *f = open_in(folder, name, "r");
    char line[512];
    size_t length = strlen(key);
    uint64_t n = 0;
    while (f && fgets(line, sizeof line, f)) {
        char *rest = line + length;
        if (strncmp(line, key, length) || (length && *rest != ' ' && *rest != ':'))
            continue;
        n = strtoull(rest + (*rest == ':'), &rest, 10);
        if (!strncmp(rest, " kB", 3))
            n <<= 10;
        break;
    }
    if (f)
        fclose(f);
    return n;
}

// ---- the group ---------------------------------------------------------------------------------

// The caller's group of the memory controller, as /proc/self/cgroup names it.
static bool find_own_group(struct limited *l, char *name, size_t size)
{
    FILE *f = fopen("/proc/self/cgroup", "r");
    char line[PATH_BYTES];
    bool found = false;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        bool v1 = false;
        for (char *c = strtok(controllers + 1, ","); c; c = strtok(NULL, ","))
            v1 |= !strcmp(c, "memory");
        if (v1 || (!controllers[1] && !found)) {
            snprintf(name, size, "%s", path);
            found = true;
            l->v2 = !v1;
            if (v1)
                break;
        }
    }
    if (f)
        fclose(f);
    return found;
}

// Where the hierarchy is mounted: the line of /proc/self/mounts.
static bool find_mount(bool v2, char *mount, size_t size)
{
    FILE *f = fopen("/proc/self/mounts", "r");
    char line[2 * PATH_BYTES], at[PATH_BYTES], type[64], options[1024];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*s %4095s %63s %1023s", at, type, options) != 3 ||
            strcmp(type, v2 ? "cgroup2" : "cgroup"))
            continue;
        found = v2;
        for (char *o = strtok(options, ","); o; o = strtok(NULL, ","))
            found |= !strcmp(o, "memory");
    }
    if (f)
        fclose(f);
    snprintf(mount, size, "%s", at);
    return found;
}

static bool mentions_memory(const char *folder, const char *name)
{
    FILE *f = open_in(folder, name, "r");
    char line[512] = "";
    bool found = f && fgets(line, sizeof line, f) && strstr(line, "memory");
    if (f)
        fclose(f);
    return found;
}

// Below which group a new one gets limits. In version 2 only a group that hands the controller
// down can have such children, and then it has no processes: the caller's own, or one around it.
static bool find_parent(struct limited *l, char *parent, size_t size)
{
    char name[PATH_BYTES], mount[PATH_BYTES];
    if (!find_own_group(l, name, sizeof name) || !find_mount(l->v2, mount, sizeof mount))
        return false;
    int n = snprintf(parent, size, "%s%s", mount, name);
    if (n < 0 || (size_t)n >= size)
        return false;
    while (l->v2 && !mentions_memory(parent, "cgroup.subtree_control") &&
           !put(parent, "cgroup.subtree_control", "+memory")) {
        char *slash = strrchr(parent, '/');
        if (!slash || (size_t)(slash - parent) < strlen(mount))
            return false;
        *slash = 0;
    }
    return true;
}

// Memory and swap together may have a little more than memory: the kernel counts no hits of theirs.
static bool set_limit(const struct limited *l)
{
    const uint64_t more_than_memory = 1 << 20;
    if (l->v2)
        return put_number(l->group, "memory.max", l->limit) &&
               (put(l->group, "memory.swap.max", "0") || errno == ENOENT);
    put(l->group, "memory.swappiness", "0");
    return put_number(l->group, "memory.limit_in_bytes", l->limit) &&
           (put_number(l->group, "memory.memsw.limit_in_bytes", l->limit + more_than_memory) ||
            errno == ENOENT);
}

static bool make_group(struct limited *l)
{
    char parent[PATH_BYTES];
    if (!find_parent(l, parent, sizeof parent)) {
        fail("this machine has no control groups for memory that this process may use");
        return false;
    }
    int n = snprintf(l->group, sizeof l->group, "%s/limited-%d", parent, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof l->group - 8)
        return false;
    snprintf(l->inner, sizeof l->inner, "%.*s%s", n, l->group, l->surrounded ? "/inner" : "");
    if (mkdir(l->group, 0755)) {
        fail("no control group %s: %s; root may make one", l->group, strerror(errno));
        return false;
    }
    if (l->limit && !set_limit(l)) {
        fail("the control group %s takes no limit: %s", l->group, strerror(errno));
        return false;
    }
    if (l->surrounded &&
        ((l->v2 && !put(l->group, "cgroup.subtree_control", "+memory")) || mkdir(l->inner, 0755))) {
        fail("no control group %s: %s", l->inner, strerror(errno));
        return false;
    }
    return true;
}

static void kill_all(const char *folder)
{
    FILE *f = open_in(folder, "cgroup.procs", "r");
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    if (f)
        fclose(f);
}

// What a run has read into the page cache goes with it, or it would be there for the next.
static void remove_group(struct limited *l)
{
    const struct timespec nap = {.tv_nsec = 10000000};
    if (!*l->group)
        return;
    if (!l->v2)
        put(l->group, "memory.force_empty", "0");
    for (int i = 0; i < EMPTYING_TRIES; i++) {
        if (l->surrounded)
            rmdir(l->inner);
        if (!rmdir(l->group) || errno == ENOENT)
            return;
        kill_all(l->inner);
        nanosleep(&nap, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    fail("could not remove the control group %s: %s", l->group, strerror(errno));
}

// ---- samples -----------------------------------------------------------------------------------

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// Pages of files and shared memory that a process has locked: of each mapping with locked pages,
// what is there and not anonymous.
static uint64_t locked_of(const char *folder)
{
    FILE *f = open_in(folder, "smaps", "r");
    char line[PATH_BYTES];
    uint64_t sum = 0, there = 0, anonymous = 0, n;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "Rss: %" SCNu64, &n) == 1)
            there = n;
        else if (sscanf(line, "Anonymous: %" SCNu64, &n) == 1)
            anonymous = n;
        else if (sscanf(line, "Locked: %" SCNu64, &n) == 1 && n && there > anonymous)
            sum += (there - anonymous) << 10;
    }
    if (f)
        fclose(f);
    return sum;
}

// What the processes say of themselves; of locked pages not each time, because that takes long.
static void add_processes(const struct limited *l, struct sample *s)
{
    FILE *f = open_in(l->inner, "cgroup.procs", "r");
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1) {
        char folder[32];
        snprintf(folder, sizeof folder, "/proc/%d", pid);
        s->anon += number_of(folder, "status", "RssAnon");
        if (l->n_samples % LOCKED_EACH == 0 && number_of(folder, "status", "VmLck"))
            s->locked += locked_of(folder);
    }
    if (f)
        fclose(f);
}

static void take_sample(struct limited *l)
{
    const char *group = l->group;
    struct sample s = {
        .file = number_of(group, "memory.stat", l->v2 ? "file" : "total_cache"),
        .swap = l->v2 ? number_of(group, "memory.swap.current", "")
                      : number_of(group, "memory.stat", "total_swap"),
        .available = number_of("/proc", "meminfo", "MemAvailable"),
    };
    struct sample *p = &l->peak;
    add_processes(l, &s);
    if (l->n_samples % LOCKED_EACH == 0)
        l->locked = s.locked;
    s.locked = l->locked;
    // The group adds up late, up to seconds, what its processors count; but a process that has just
    // ended is no longer among the others.
    uint64_t counted = number_of(group, "memory.stat", l->v2 ? "anon" : "total_rss");
    p->anon = more(p->anon, more(s.anon, counted));
    p->file = more(p->file, s.file);
    p->swap = more(p->swap, s.swap);
    p->locked = more(p->locked, s.locked);
    p->available = p->available < s.available ? p->available : s.available;
    l->peak_together = more(l->peak_together, more(s.anon, counted) + s.locked);
    l->n_samples++;
    if (l->samples)
        fprintf(l->samples,
                "%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                now_ns() / 1000000, s.anon, s.locked, s.file, s.swap, s.available);
}

// ---- the command -------------------------------------------------------------------------------

static void run_command(const struct limited *l, char **command, const sigset_t *signals)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!put(l->inner, "cgroup.procs", "0")) {
        fail("could not enter the control group %s: %s", l->inner, strerror(errno));
        _exit(STATUS_OWN);
    }
    sigprocmask(SIG_UNBLOCK, signals, NULL);
    execvp(command[0], command);
    fail("could not run %s: %s", command[0], strerror(errno));
    _exit(127);
}

// Looks at the group until the command ends; signals go on to the command.
static int watch(struct limited *l, pid_t child, const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = l->interval_ms / 1000,
                                   .tv_nsec = l->interval_ms % 1000 * 1000000};
    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        take_sample(l);
        int got = sigtimedwait(signals, NULL, &pause);
        if (got > 0 && got != SIGCHLD)
            kill(child, got);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

// Before the group is removed. Kills are counted where the process was; version 2 adds them up.
static bool report(const struct limited *l, int status)
{
    FILE *out = l->report ? fopen(l->report, "w") : stderr;
    struct rusage used;
    uint64_t total = number_of("/proc", "meminfo", "MemTotal"), kills, hits;
    if (l->v2) {
        kills = number_of(l->group, "memory.events", "oom_kill");
        hits = number_of(l->group, "memory.events", "max");
    } else {
        kills = number_of(l->group, "memory.oom_control", "oom_kill") +
                (l->surrounded ? number_of(l->inner, "memory.oom_control", "oom_kill") : 0);
        hits = number_of(l->group, "memory.failcnt", "");
    }
    if (!out) {
        fail("could not write %s: %s", l->report, strerror(errno));
        return false;
    }
    getrusage(RUSAGE_CHILDREN, &used);
    uint64_t fell = l->before.available - l->peak.available;
    fprintf(out,
            "{\"limit\":%" PRIu64 ",\"peak_anon\":%" PRIu64 ",\"peak_locked\":%" PRIu64
            ",\"peak\":%" PRIu64 ",\"peak_file\":%" PRIu64 ",\"peak_swap\":%" PRIu64
            ",\"limit_hits\":%" PRIu64 ",\"oom_kills\":%" PRIu64 ",\"pressure\":%.4f"
            ",\"samples\":%" PRIu64 ",\"seconds\":%.3f,\"cpu_s\":%.3f,\"system_s\":%.3f"
            ",\"read_bytes\":%" PRIu64 ",\"status\":%d}\n",
            l->limit, l->peak.anon, l->peak.locked, l->peak_together, l->peak.file, l->peak.swap,
            hits, kills, total ? (double)fell / (double)total : 0.0, l->n_samples,
            (double)(now_ns() - l->began_ns) * 1e-9,
            seconds_of(used.ru_utime) + seconds_of(used.ru_stime), seconds_of(used.ru_stime),
            (uint64_t)used.ru_inblock * 512, status);
    return !(l->report ? fclose(out) : fflush(out));
}

static int run(struct limited *l, char **command)
{
    sigset_t signals;
    sigemptyset(&signals);
    const int passed_on[] = {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
        sigaddset(&signals, passed_on[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (l->trace) {
        l->samples = fopen(l->trace, "w");
        if (!l->samples) {
            fail("could not write %s: %s", l->trace, strerror(errno));
            return STATUS_OWN;
        }
        fputs("ms,anon,locked,file,swap,available\n", l->samples);
    }
    int status = STATUS_OWN;
    prctl(PR_SET_CHILD_SUBREAPER, 1); // what the command leaves behind is ours to end
    if (make_group(l)) {
        l->began_ns = now_ns();
        l->before.available = l->peak.available = number_of("/proc", "meminfo", "MemAvailable");
        pid_t child = fork();
        if (child == 0)
            run_command(l, command, &signals);
        if (child < 0)
            fail("could not start %s: %s", command[0], strerror(errno));
        else
            status = watch(l, child, &signals);
        if (!report(l, status))
            status = STATUS_OWN;
    }
    remove_group(l);
    if (l->samples && fclose(l->samples))
        status = STATUS_OWN;
    return status;
}

static bool drop_from_cache(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail("could not open %s: %s", path, strerror(errno));
        return false;
    }
    fdatasync(fd); // what is not written yet cannot be dropped
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return true;
}

static bool read_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

int main(int argc, char **argv)
{
    struct limited l = {.interval_ms = 10};
    uint64_t interval = 10;
    int option;
    while ((option = getopt(argc, argv, "+pd:i:o:t:")) != -1) {
        if (option == 'd' && !drop_from_cache(optarg))
            return STATUS_OWN;
        if (option == 'p')
            l.surrounded = true;
        if (option == 'o')
            l.report = optarg;
        if (option == 't')
            l.trace = optarg;
        if (option == '?' || (option == 'i' && !read_number(optarg, &interval)))
            argc = 0;
    }
    if (argc - optind < 2 || !read_number(argv[optind], &l.limit) || !interval ||
        interval > 60000) {
        fail("wanted: limited [-p] [-d FILE]... [-i MS] [-o FILE] [-t FILE] BYTES COMMAND...");
        return STATUS_OWN;
    }
    l.interval_ms = (int)interval;
    return run(&l, argv + optind + 1);
}
