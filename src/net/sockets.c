// TCP sockets and addresses.
#include "net/sockets.h"

#include "base/clock.h"
#include "net/net_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

bool net_address_valid(const struct net_address *a)
{
    if (!all_zero(a->zero, sizeof a->zero))
        return false;
    if (a->family == 4) // 0.x is nobody, 224.x and above are not single hosts
        return a->bytes[0] != 0 && a->bytes[0] < 224 && all_zero(a->bytes + 4, 12);
    return a->family == 6 && a->bytes[0] != 0xff && !all_zero(a->bytes, 16);
}

int net_address_parse(struct net_address *a, const char *text, struct err *e)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, a->bytes) == 1)
        a->family = 4;
    else if (inet_pton(AF_INET6, text, a->bytes) == 1)
        a->family = 6;
    if (!a->family) {
        char shown[64];
        err_quote(shown, sizeof shown, text, (int)strnlen(text, 256));
        return err_set(e, ERR_USAGE,
                       "'%s' is not an IP address; give one such as 192.168.1.5 or ::1", shown);
    }
    return 0;
}

const char *net_address_text(const struct net_address *a, char out[NET_ADDRESS_TEXT])
{
    if (!inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->bytes, out, NET_ADDRESS_TEXT))
        snprintf(out, NET_ADDRESS_TEXT, "?");
    return out;
}

bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool net_address_loopback(const struct net_address *a)
{
    if (a->family == 4)
        return a->bytes[0] == 127;
    return all_zero(a->bytes, 15) && a->bytes[15] == 1;
}

static socklen_t to_socket(const struct net_address *a, uint16_t port, union any_address *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        memcpy(&out->v4.sin_addr, a->bytes, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    memcpy(&out->v6.sin6_addr, a->bytes, 16);
    return sizeof out->v6;
}

// IPv4 callers of a dual-stack listener come as ::ffff:a.b.c.d.
static void from_socket(const struct sockaddr *s, struct net_address *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(out, 0, sizeof *out);
    if (s->sa_family == AF_INET) {
        out->family = 4;
        memcpy(out->bytes, &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
    } else if (s->sa_family == AF_INET6) {
        const uint8_t *b = ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr;
        bool v4 = memcmp(b, mapped, sizeof mapped) == 0;
        out->family = v4 ? 4 : 6;
        memcpy(out->bytes, v4 ? b + 12 : b, v4 ? 4 : 16);
    }
}

// Best effort: a kernel that knows one of these not is still a network.
static void tune(int fd)
{
    int on = 1, idle_s = 5, interval_s = 2, probes = 3;
    unsigned user_ms = NET_USER_TIMEOUT_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof user_ms);
}

// A bound, listening socket, or -1 and errno.
static int listen_at(const union any_address *at, socklen_t size)
{
    int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    int off = 0;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &at->any, size) == 0 && listen(fd, 64) == 0)
        return fd;
    int cause = errno;
    net_io->close(fd);
    errno = cause;
    return -1;
}

int net_listen(const char *host, uint16_t port, uint16_t *bound, struct err *e)
{
    union any_address at;
    struct net_address a = {.family = 6};
    int rc = host ? net_address_parse(&a, host, e) : 0;
    if (rc)
        return rc;
    socklen_t size = to_socket(&a, port, &at);
    int fd = listen_at(&at, size);
    if (fd < 0 && !host && errno != EADDRINUSE) { // a machine without IPv6
        a.family = 4;
        size = to_socket(&a, port, &at);
        fd = listen_at(&at, size);
    }
    if (fd < 0 && errno == EADDRINUSE)
        return err_set(e, ERR_FAILED,
                       "port %u is taken by another program; give another one with --listen", port);
    if (fd < 0)
        return err_errno(e, ERR_FAILED, "cannot listen on %s port %u",
                         host ? host : "all interfaces", port);
    size = sizeof at;
    if (getsockname(fd, &at.any, &size)) {
        rc = err_errno(e, ERR_FAILED, "cannot tell which port was given");
        net_io->close(fd);
        return rc;
    }
    *bound = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    return fd;
}

int net_accept(int listener, struct net_address *from)
{
    union any_address at;
    socklen_t size = sizeof at;
    memset(&at, 0, sizeof at);
    int fd = net_io->accept(listener, &at.any, &size);
    if (fd < 0)
        return -1;
    from_socket(&at.any, from);
    tune(fd);
    return fd;
}

// 0 when the connection that is under way is made; ETIMEDOUT, ECANCELED or its own errno.
static int await(int fd, int64_t deadline_ms, int cancel_fd)
{
    for (;;) {
        int64_t left = deadline_ms - clock_ms();
        if (left <= 0)
            return ETIMEDOUT;
        struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = cancel_fd, .events = POLLIN}};
        int n = net_io->poll(p, 2, (int)(left > 1000 ? 1000 : left));
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0 && p[1].revents)
            return ECANCELED;
        if (n > 0 && p[0].revents) {
            int cause = 0;
            socklen_t size = sizeof cause;
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size) ? errno : cause;
        }
    }
}

int net_connect(const struct net_address *to, uint16_t port, int timeout_ms, int cancel_fd,
                struct err *e)
{
    union any_address at;
    char text[NET_ADDRESS_TEXT];
    int64_t deadline_ms = clock_ms() + timeout_ms;
    socklen_t size = to_socket(to, port, &at);
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, ERR_FAILED, "cannot make a socket");
    tune(fd);
    int cause = net_io->connect(fd, &at.any, size) == 0 ? 0 : errno;
    if (cause == EINPROGRESS || cause == EINTR)
        cause = await(fd, deadline_ms, cancel_fd);
    if (!cause)
        return fd;
    net_io->close(fd);
    net_address_text(to, text);
    if (cause == ECANCELED)
        return err_set(e, ERR_UNREACHABLE, "%s port %u: given up", text, port);
    if (cause == ETIMEDOUT)
        return err_set(
            e, ERR_UNREACHABLE,
            "%s port %u does not answer; is it switched on and in this network, and does "
            "a firewall let the port through?",
            text, port);
    if (cause == ECONNREFUSED)
        return err_set(e, ERR_UNREACHABLE, "nothing listens on %s port %u; is rondo running there?",
                       text, port);
    return err_set(e, ERR_UNREACHABLE, "%s port %u cannot be reached: %s", text, port,
                   strerror(cause));
}

// The order in which addresses are worth trying; larger is later, -1 never.
static int rank(const struct net_address *a, const char *interface)
{
    static const char *const virtual[] = {"docker", "br-", "veth",  "virbr", "vmnet",
                                          "vbox",   "lxc", "lxdbr", "cni",   "flannel",
                                          "tun",    "tap", "wg",    "zt",    "tailscale"};
    const uint8_t *b = a->bytes;
    if (!net_address_valid(a) || net_address_loopback(a))
        return -1;
    int late = 0;
    for (size_t i = 0; i < sizeof virtual / sizeof *virtual; i++)
        if (strncmp(interface, virtual[i], strlen(virtual[i])) == 0)
            late = 10;
    if (a->family == 6) // a link-local one means something only with this machine's interface
        return b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? -1 : late + 3;
    if (b[0] == 169 && b[1] == 254)
        return late + 4;
    bool home = b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168);
    return late + (home ? 1 : 2);
}

struct ranked {
    struct net_address address;
    int rank;
};

int net_own_addresses(const char *host, struct net_address *out, int max)
{
    enum { SEEN_MAX = 64 };
    struct ranked seen[SEEN_MAX];
    struct ifaddrs *all = NULL;
    int n = 0;
    if (host && max > 0 && net_address_parse(&out[0], host, NULL) == 0 &&
        net_address_valid(&out[0]))
        return 1;
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *i = all; i && n < SEEN_MAX; i = i->ifa_next) {
            struct ranked r;
            if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
                continue;
            from_socket(i->ifa_addr, &r.address);
            r.rank = rank(&r.address, i->ifa_name);
            if (r.rank < 0)
                continue;
            int at = n++; // insertion keeps the system's order among equals
            for (; at > 0 && seen[at - 1].rank > r.rank; at--)
                seen[at] = seen[at - 1];
            seen[at] = r;
        }
    freeifaddrs(all);
    if (n == 0)
        seen[n++].address = (struct net_address){.family = 4, .bytes = {127, 0, 0, 1}};
    for (int i = 0; i < n && i < max; i++)
        out[i] = seen[i].address;
    return n < max ? n : max;
}
