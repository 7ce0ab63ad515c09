// Lays the network (wires.h) with ip and tc, which get their commands in one batch for each
// namespace. The bucket of a rate holds half a millisecond of it: with a smaller one the kernel's
// timers cost a fast link a tenth of its rate, and a larger one would let messages pass as if the
// link had no rate at all.
#include "homelab/wires.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEAST_BUCKET_BYTES = 4096, BUCKETS_A_SECOND = 2000 };

void wires_address(char out[WIRES_ADDRESS_BYTES], int node)
{
    snprintf(out, WIRES_ADDRESS_BYTES, "10.77.0.%d", (node + 1) & 0xff);
}

int wires_enter(int ns, struct err *e)
{
    if (setns(ns, CLONE_NEWNET))
        return err_errno(e, ERR_DENIED, "a network namespace lets nobody in");
    return 0;
}

// A new namespace, which the caller is in then.
static int make_ns(int *ns, struct err *e)
{
    if (unshare(CLONE_NEWNET))
        return err_errno(e, ERR_DENIED, "no network namespace can be made; root may make one");
    *ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return *ns < 0 ? err_errno(e, ERR_FAILED, "/proc/self/ns/net cannot be opened") : 0;
}

// ---- ip and tc ---------------------------------------------------------------------------------

struct batch {
    const char *tool;
    FILE *commands;
};

static int batch_open(struct batch *b, const char *tool, struct err *e)
{
    int fd = memfd_create(tool, 0);
    b->tool = tool;
    b->commands = fd < 0 ? NULL : fdopen(fd, "w+");
    return b->commands ? 0 : err_errno(e, ERR_FAILED, "no memory for the commands of %s", tool);
}

// The last line of what the tool said.
static void read_complaint(int fd, char *out, size_t size)
{
    char text[1024];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    snprintf(out, size, "%.200s", *text ? text : "it did not say why");
}

static int batch_run(struct batch *b, struct err *e)
{
    char complaint[256];
    int status = 0, said = memfd_create("said", MFD_CLOEXEC);
    fflush(b->commands);
    rewind(b->commands);
    pid_t pid = fork();
    if (!pid) {
        dup2(fileno(b->commands), STDIN_FILENO);
        dup2(said, STDOUT_FILENO);
        dup2(said, STDERR_FILENO);
        execlp(b->tool, b->tool, "-batch", "-", (char *)NULL);
        dprintf(STDERR_FILENO, "%s; on Debian the package iproute2 has it\n", strerror(errno));
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        status = -1;
    read_complaint(said, complaint, sizeof complaint);
    close(said);
    fclose(b->commands);
    return status ? err_set(e, ERR_FAILED, "%s could not lay the network: %s", b->tool, complaint)
                  : 0;
}

// ---- devices -----------------------------------------------------------------------------------

static int make_tap(const char *name, int *fd, struct err *e)
{
    struct ifreq want = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(want.ifr_name, sizeof want.ifr_name, "%s", name);
    *fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return err_errno(e, ERR_FAILED,
                         "a link with delay, jitter, loss, outages or air needs /dev/net/tun, "
                         "which cannot be opened");
    if (ioctl(*fd, TUNSETIFF, &want))
        return err_errno(e, ERR_FAILED, "no TAP device can be made");
    return 0;
}

// Of air, the medium has the rate (air.h).
static void add_rate(struct batch *tc, const char *device, const struct home_link *l)
{
    uint64_t bucket = l->rate_bps / 8 / BUCKETS_A_SECOND;
    if (!l->rate_bps || *l->air)
        return;
    fprintf(tc->commands,
            "qdisc add dev %s root tbf rate %" PRIu64 "bit burst %" PRIu64 " latency 50ms\n",
            device, l->rate_bps, bucket > LEAST_BUCKET_BYTES ? bucket : LEAST_BUCKET_BYTES);
}

static int lay_node(struct wires *w, const struct home *h, int i, struct err *e)
{
    const struct home_link *l = &h->nodes[i].link;
    struct batch ip, tc;
    char address[WIRES_ADDRESS_BYTES];
    int rc = make_ns(&w->node_ns[i], e);
    if (!rc && !home_link_is_cable(l))
        rc = make_tap("eth0", &w->node_tap[i], e);
    if (rc || (rc = batch_open(&ip, "ip", e)))
        return rc;
    wires_address(address, i);
    if (home_link_is_cable(l))
        fprintf(ip.commands, "link add eth0 type veth peer name p%d netns /proc/%d/fd/%d\n", i,
                (int)getpid(), w->switch_ns);
    fprintf(ip.commands, "link set lo up\nlink set eth0 up\naddr add %s/24 dev eth0\n", address);
    if ((rc = batch_run(&ip, e)) || (rc = batch_open(&tc, "tc", e)))
        return rc;
    add_rate(&tc, "eth0", l);
    return batch_run(&tc, e);
}

// The bridge forwards at once and floods what is sent to many, as a cheap switch does.
static int lay_switch(struct wires *w, const struct home *h, struct err *e)
{
    struct batch ip, tc;
    char port[16];
    int rc = wires_enter(w->switch_ns, e);
    for (int i = 0; i < h->n_nodes && !rc; i++) {
        snprintf(port, sizeof port, "p%d", i);
        if (w->node_tap[i] >= 0)
            rc = make_tap(port, &w->switch_tap[i], e);
    }
    if (rc || (rc = batch_open(&ip, "ip", e)))
        return rc;
    fprintf(ip.commands, "link add switch type bridge forward_delay 0 mcast_snooping 0\n"
                         "link set switch up\n");
    for (int i = 0; i < h->n_nodes; i++)
        fprintf(ip.commands, "link set p%d master switch up\n", i);
    if ((rc = batch_run(&ip, e)) || (rc = batch_open(&tc, "tc", e)))
        return rc;
    for (int i = 0; i < h->n_nodes; i++) {
        snprintf(port, sizeof port, "p%d", i);
        add_rate(&tc, port, &h->nodes[i].link);
    }
    return batch_run(&tc, e);
}

int wires_lay(struct wires *w, const struct home *h, struct err *e)
{
    for (int i = 0; i < HOME_MAX_NODES; i++)
        w->node_ns[i] = w->node_tap[i] = w->switch_tap[i] = -1;
    int rc = make_ns(&w->switch_ns, e);
    for (int i = 0; i < h->n_nodes && !rc; i++)
        rc = lay_node(w, h, i, e);
    return rc ? rc : lay_switch(w, h, e);
}
