// Every call to the network goes through this table, so that tests can swap it for one that fails.
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct net_io {
    int (*connect)(int fd, const struct sockaddr *address, socklen_t size);
    int (*accept)(int fd, struct sockaddr *address, socklen_t *size); // close-on-exec, non-blocking
    // No SIGPIPE. `more`: the next send follows at once, the last packet may wait for it.
    ssize_t (*send)(int fd, const void *data, size_t size, bool more);
    ssize_t (*recv)(int fd, void *data, size_t size);
    int (*poll)(struct pollfd *fds, unsigned n, int timeout_ms);
    int (*close)(int fd);
};

extern const struct net_io net_io_real;
// What everybody calls. Swapped only by tests, before any thread starts.
extern const struct net_io *net_io;
