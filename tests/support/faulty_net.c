// See faulty_net.h.
#include "faulty_net.h"

#include "net/net_io.h"

#include <errno.h>
#include <stdatomic.h>

static struct net_faults faults;
static atomic_long calls[NET_CALLS], transfers;
static atomic_bool happened;

static bool fails(enum net_call call)
{
    long n = atomic_fetch_add(&calls[call], 1);
    if (faults.call != call || n != faults.nth)
        return false;
    atomic_store(&happened, true);
    errno = faults.error;
    return true;
}

// Whether this transfer is put off; cuts its size.
static bool hampered(size_t *size)
{
    if (faults.most && *size > faults.most)
        *size = faults.most;
    if (!faults.again_every || atomic_fetch_add(&transfers, 1) % faults.again_every)
        return false;
    errno = EAGAIN;
    return true;
}

static int faulty_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails(NET_CONNECT) ? -1 : net_io_real.connect(fd, address, size);
}

static int faulty_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return fails(NET_ACCEPT) ? -1 : net_io_real.accept(fd, address, size);
}

static ssize_t faulty_send(int fd, const void *data, size_t size, bool more)
{
    if (fails(NET_SEND) || hampered(&size))
        return -1;
    return net_io_real.send(fd, data, size, more);
}

static ssize_t faulty_recv(int fd, void *data, size_t size)
{
    if (fails(NET_RECV))
        return faults.error ? -1 : 0;
    return hampered(&size) ? -1 : net_io_real.recv(fd, data, size);
}

static int faulty_poll(struct pollfd *fds, unsigned n, int timeout_ms)
{
    return fails(NET_POLL) ? -1 : net_io_real.poll(fds, n, timeout_ms);
}

static struct net_io table;

void faulty_net(struct net_faults f)
{
    faults = f;
    for (int i = 0; i < NET_CALLS; i++)
        atomic_store(&calls[i], 0);
    atomic_store(&transfers, 0);
    atomic_store(&happened, false);
    table = net_io_real;
    table.connect = faulty_connect;
    table.accept = faulty_accept;
    table.send = faulty_send;
    table.recv = faulty_recv;
    table.poll = faulty_poll;
    net_io = &table;
}

bool faulty_net_end(void)
{
    net_io = &net_io_real;
    return atomic_load(&happened);
}
