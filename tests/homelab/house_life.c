// The first process of a home and those in its nodes (house.h). It is number 1 of a namespace of
// processes with a /proc of its own, so its open network namespaces are /proc/1/fd/N for every
// process in the home, and `homelab in` enters them there.
#include "homelab/air.h"
#include "homelab/house.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 256, ARGUMENT_BYTES = 1 << 16, GRACE_MS = 5000, AIR_PRIORITY = -20 };

static int say(const struct err *e)
{
    fprintf(stderr, "homelab: %s\n", e->text);
    return -e->code;
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void our_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

// ---- the first process -------------------------------------------------------------------------

// `owner` is the end of a pipe whose other end only the owner has: an owner that was killed before
// its death was asked for sends no signal.
static int separate(int owner, struct err *e)
{
    struct pollfd gone = {.fd = owner, .events = POLLIN};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return err_errno(e, ERR_FAILED, "the owner's end cannot be asked for");
    if (poll(&gone, 1, 0))
        return err_set(e, ERR_FAILED, "the owner of the home has ended");
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        return err_errno(e, ERR_DENIED, "no namespace of mounts with a /proc of its own");
    return 0;
}

// A process of its own for all links that are no cables.
static int start_air(struct house *h, struct err *e)
{
    bool wanted = false;
    for (int i = 0; i < h->home.n_nodes; i++)
        wanted |= h->wires.node_tap[i] >= 0;
    if (!wanted)
        return 0;
    fflush(NULL);
    h->air = fork();
    if (!h->air) {
        setpriority(PRIO_PROCESS, 0, AIR_PRIORITY);
        air_carry(&h->home, &h->wires, e);
        _exit(say(e));
    }
    return h->air < 0 ? err_errno(e, ERR_FAILED, "no process for the links") : 0;
}

static int write_house(const struct house *h, struct err *e)
{
    char name[HOUSE_PATH_BYTES + 8];
    snprintf(name, sizeof name, "%s/house", h->folder);
    FILE *f = fopen(name, "w");
    bool ok = f && fwrite(h, sizeof *h, 1, f) == 1;
    if (f && fclose(f))
        ok = false;
    return ok ? 0 : err_errno(e, ERR_FAILED, "%s cannot be written", name);
}

static int live(struct house *h, int owner, int (*body)(struct house *h, void *arg), void *arg)
{
    struct err e = {0};
    if (separate(owner, &e) || wires_lay(&h->wires, &h->home, &e) || start_air(h, &e) ||
        write_house(h, &e))
        return say(&e);
    int code = body(h, arg);
    fflush(NULL);
    return code;
}

// ---- the owner ---------------------------------------------------------------------------------

// A signal of the terminal reached the whole group of processes; one that was sent did not.
static bool was_sent(const siginfo_t *info)
{
    return info->si_code <= 0;
}

// A fork whose child is the first process of a namespace. The owner's own children stay in its.
static pid_t fork_apart(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
}

int house_live(struct house *h, int (*body)(struct house *h, void *arg), void *arg, struct err *e)
{
    sigset_t set, before;
    siginfo_t info;
    int status, ends[2];
    our_signals(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC))
        return err_errno(e, ERR_FAILED, "no pipe for the home");
    pid_t first = fork_apart();
    if (!first) {
        close(ends[1]);
        _exit(live(h, ends[0], body, arg)); // the kernel kills whoever else is still there
    }
    if (first < 0)
        return err_errno(e, ERR_DENIED, "no namespace of processes can be made");
    while (waitpid(first, &status, WNOHANG) == 0)
        if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD && was_sent(&info))
            kill(first, info.si_signo);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[0]);
    close(ends[1]);
    return exit_code(status);
}

// ---- processes of the nodes --------------------------------------------------------------------

// What {NAME} stands for, of `n` bytes; NULL: nothing.
static const char *meaning(const struct house *h, int node, const char *name, size_t n,
                           char address[WIRES_ADDRESS_BYTES])
{
    if (n == 5 && !strncmp(name, "model", n))
        return h->models[node];
    if (n == 2 && !strncmp(name, "ip", n)) {
        wires_address(address, node);
        return address;
    }
    for (int i = 0; i < h->home.n_nodes; i++)
        if (strlen(h->home.nodes[i].name) == n && !strncmp(h->home.nodes[i].name, name, n)) {
            wires_address(address, i);
            return address;
        }
    return NULL;
}

static int fill_in(const struct house *h, int node, char **command, char **out, struct err *e)
{
    static char text[ARGUMENT_BYTES];
    size_t used = 0;
    int n = 0;
    for (; command[n]; n++) {
        if (n == MAX_ARGUMENTS)
            return err_set(e, ERR_USAGE, "the command has more than %d arguments", MAX_ARGUMENTS);
        out[n] = text + used;
        for (const char *p = command[n]; *p;) {
            char address[WIRES_ADDRESS_BYTES];
            const char *end = *p == '{' ? strchr(p, '}') : NULL;
            const char *value =
                end ? meaning(h, node, p + 1, (size_t)(end - p - 1), address) : NULL;
            size_t length = value ? strlen(value) : 1;
            if (used + length + 1 >= sizeof text)
                return err_set(e, ERR_USAGE, "the command is too long");
            memcpy(text + used, value ? value : p, length);
            used += length;
            p = value ? end + 1 : p + 1;
        }
        text[used++] = 0;
    }
    out[n] = NULL;
    return 0;
}

// The processors after those of the nodes before, of those that we may use.
static int take_processors(const struct house *h, int node, struct err *e)
{
    cpu_set_t all, mine;
    int first = 0, wanted = h->home.nodes[node].cpus;
    if (!wanted)
        return 0;
    if (sched_getaffinity(0, sizeof all, &all))
        return err_errno(e, ERR_FAILED, "the processors of this machine are not to be known");
    int there = CPU_COUNT(&all);
    for (int i = 0; i < node; i++)
        first += h->home.nodes[i].cpus;
    CPU_ZERO(&mine);
    for (int cpu = 0, n = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        if ((n++ - first % there + there) % there < wanted)
            CPU_SET(cpu, &mine);
    }
    if (sched_setaffinity(0, sizeof mine, &mine))
        return err_errno(e, ERR_FAILED, "the processors of a node cannot be chosen");
    return 0;
}

static void set_environment(const struct house *h, int node)
{
    char text[HOME_MAX_NODES * HOME_NAME_BYTES + HOUSE_PATH_BYTES] = "", address[16];
    snprintf(text, sizeof text, "%s/%s", h->states, h->home.nodes[node].name);
    setenv("RONDO_STATE", text, 1);
    *text = 0;
    for (int i = 0; i < h->home.n_nodes; i++) {
        strcat(text, i ? " " : "");
        strcat(text, h->home.nodes[i].name);
    }
    wires_address(address, node);
    setenv("HOMELAB", h->folder, 1);
    setenv("HOMELAB_NODE", h->home.nodes[node].name, 1);
    setenv("HOMELAB_NODES", text, 1);
    setenv("HOMELAB_IP", address, 1);
    setenv("HOMELAB_MODEL", h->models[node], 1);
}

static int redirect(const char *path, int fd, struct err *e)
{
    int file = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (path && (file < 0 || dup2(file, fd) < 0))
        return err_errno(e, ERR_FAILED, "%s cannot be written", path);
    return 0;
}

int house_become(const struct house *h, const struct house_process *p, struct err *e)
{
    const char *name = h->home.nodes[p->node].name;
    char *command[MAX_ARGUMENTS + 1];
    sigset_t set;
    int rc = fill_in(h, p->node, p->command, command, e);
    if (!rc)
        rc = cage_enter(&h->cages[p->node], e);
    if (!rc)
        rc = wires_enter(h->wires.node_ns[p->node], e);
    if (!rc && (unshare(CLONE_NEWUTS) || sethostname(name, strlen(name))))
        rc = err_errno(e, ERR_DENIED, "a node cannot have a name of its own");
    if (!rc)
        rc = take_processors(h, p->node, e);
    if (!rc && !(rc = redirect(p->out, STDOUT_FILENO, e)))
        rc = redirect(p->log, STDERR_FILENO, e);
    if (rc)
        return rc;
    set_environment(h, p->node);
    our_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    execvp(command[0], command);
    return err_errno(e, ERR_FAILED, "%s cannot be run", command[0]);
}

// One with a file for its output is no part of what the terminal talks to.
pid_t house_start(const struct house *h, const struct house_process *p, struct err *e)
{
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        int null = p->out ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
        if (null >= 0) {
            setpgid(0, 0);
            dup2(null, STDIN_FILENO);
        }
        house_become(h, p, e);
        say(e);
        _exit(127);
    }
    return pid < 0 ? err_errno(e, ERR_FAILED, "no process for a node") : pid;
}

// As number 1 this process also gets the children of those that ended before them. A signal that
// was sent to the home ends the process, at the latest after a while of grace.
int house_wait(const struct house *h, pid_t pid, int64_t limit_ms)
{
    int64_t end_ms = limit_ms ? clock_ms() + limit_ms : INT64_MAX, kill_ms = INT64_MAX;
    const struct timespec nap = {.tv_nsec = 20000000};
    sigset_t set;
    our_signals(&set);
    while (clock_ms() < end_ms) {
        siginfo_t info;
        int status;
        for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (ended == pid)
                return exit_code(status);
            if (ended == h->air)
                fprintf(stderr, "homelab: the process of the links has ended\n");
        }
        if (clock_ms() >= kill_ms)
            kill(pid, SIGKILL);
        int got = sigtimedwait(&set, &info, &nap);
        if (got <= 0 || got == SIGCHLD)
            continue;
        if (was_sent(&info))
            kill(pid, got);
        if (kill_ms == INT64_MAX)
            kill_ms = clock_ms() + GRACE_MS;
    }
    return -1;
}

int house_load(struct house *h, struct err *e)
{
    const char *folder = getenv("HOMELAB");
    char name[HOUSE_PATH_BYTES];
    if (!folder)
        return err_set(e, ERR_USAGE,
                       "this is no process of a home: 'in' is for commands that "
                       "'homelab up' runs");
    snprintf(name, sizeof name, "%s/house", folder);
    FILE *f = fopen(name, "r");
    bool ok = f && fread(h, sizeof *h, 1, f) == 1;
    if (f)
        fclose(f);
    if (!ok)
        return err_set(e, ERR_FAILED, "%s cannot be read; has the home ended?", name);
    for (int i = 0; i < h->home.n_nodes; i++) {
        snprintf(name, sizeof name, "/proc/1/fd/%d", h->wires.node_ns[i]);
        h->wires.node_ns[i] = open(name, O_RDONLY | O_CLOEXEC);
        if (h->wires.node_ns[i] < 0)
            return err_errno(e, ERR_FAILED, "the network of %s is not to be had",
                             h->home.nodes[i].name);
    }
    return 0;
}
