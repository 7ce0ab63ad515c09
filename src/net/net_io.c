// The real network, and the pointer that tests swap.
#include "net/net_io.h"

#include <unistd.h>

static int real_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return accept4(fd, address, size, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static ssize_t real_send(int fd, const void *data, size_t size, bool more)
{
    return send(fd, data, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

static ssize_t real_recv(int fd, void *data, size_t size)
{
    return recv(fd, data, size, 0);
}

static int real_poll(struct pollfd *fds, unsigned n, int timeout_ms)
{
    return poll(fds, n, timeout_ms);
}

const struct net_io net_io_real = {
    .connect = connect,
    .accept = real_accept,
    .send = real_send,
    .recv = real_recv,
    .poll = real_poll,
    .close = close,
};

const struct net_io *net_io = &net_io_real;
