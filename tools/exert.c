// Uses one thing of a machine for as long as it takes, and tells how many milliseconds that was:
// what a test needs to see whether a limit binds.
//
//     exert cpu MILLISECONDS      computes until this thread has had so much processor time
//     exert read FILE BYTES       reads the beginning of a file, past the page cache
//     exert serve PORT            takes one connection, sends back all it gets, and ends with it
//     exert send HOST PORT BYTES  sends that many to such a server and takes them back again
//
// send checks every byte it gets back; wrong ones are an error. The last line is "MS ms".
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 18, ALIGNMENT = 4096, CONNECT_TRIES = 200 };

static uint8_t block[BLOCK_BYTES] __attribute__((aligned(ALIGNMENT)));

static int64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int fail(const char *what)
{
    fprintf(stderr, "exert: %s: %s\n", what, strerror(errno));
    return 1;
}

static int use_cpu(int64_t ms)
{
    while (now_us(CLOCK_THREAD_CPUTIME_ID) < ms * 1000) {
    }
    return 0;
}

static int read_file(const char *path, int64_t bytes)
{
    int fd = open(path, O_RDONLY | O_DIRECT);
    if (fd < 0)
        return fail(path);
    for (int64_t done = 0; done < bytes;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n <= 0)
            return fail("the file has no more");
        done += n;
    }
    return 0;
}

static int serve(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1))
        return fail("no port to serve on");
    int fd = accept(listener, NULL, NULL);
    for (ssize_t n; (n = recv(fd, block, sizeof block, 0)) > 0;)
        for (ssize_t done = 0; done < n;) {
            ssize_t sent = send(fd, block + done, (size_t)(n - done), MSG_NOSIGNAL);
            if (sent <= 0)
                return fail("the connection broke");
            done += sent;
        }
    return 0;
}

static int connect_to(const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct timespec nap = {.tv_nsec = 20000000};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return -1;
    for (int i = 0; i < CONNECT_TRIES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (!connect(fd, (struct sockaddr *)&to, sizeof to))
            return fd;
        close(fd);
        nanosleep(&nap, NULL);
    }
    return -1;
}

// No two neighbouring blocks of a network's size are alike.
static uint8_t byte_at(int64_t i)
{
    return (uint8_t)((uint64_t)i * 0x9e3779b97f4a7c15u >> 56);
}

static bool check(const uint8_t *got, ssize_t n, int64_t from)
{
    for (ssize_t i = 0; i < n; i++)
        if (got[i] != byte_at(from + i))
            return false;
    return true;
}

static int send_bytes(int fd, int64_t bytes)
{
    static uint8_t back[BLOCK_BYTES];
    int64_t sent = 0, got = 0;
    while (got < bytes) {
        struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < bytes ? POLLOUT : 0))};
        if (poll(&p, 1, 60000) <= 0)
            return fail("nothing for a minute");
        if (p.revents & POLLOUT) {
            int64_t want = bytes - sent < BLOCK_BYTES ? bytes - sent : BLOCK_BYTES;
            for (int64_t i = 0; i < want; i++)
                block[i] = byte_at(sent + i);
            ssize_t n = send(fd, block, (size_t)want, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? n : 0;
        }
        if (p.revents & ~POLLOUT) {
            ssize_t n = recv(fd, back, sizeof back, MSG_DONTWAIT);
            if (n <= 0 || !check(back, n, got)) {
                fprintf(stderr, "exert: after %lld bytes: %s\n", (long long)got,
                        n > 0 ? "what came back is not what was sent" : "the connection broke");
                return 1;
            }
            got += n;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    int64_t began = now_us(CLOCK_MONOTONIC);
    int rc = 2;
    if (argc == 3 && !strcmp(argv[1], "cpu"))
        rc = use_cpu(atoll(argv[2]));
    else if (argc == 4 && !strcmp(argv[1], "read"))
        rc = read_file(argv[2], atoll(argv[3]));
    else if (argc == 3 && !strcmp(argv[1], "serve"))
        rc = serve(atoi(argv[2]));
    else if (argc == 5 && !strcmp(argv[1], "send")) {
        int fd = connect_to(argv[2], atoi(argv[3]));
        began = now_us(CLOCK_MONOTONIC); // not the wait for the server
        rc = fd < 0 ? fail("no server") : send_bytes(fd, atoll(argv[4]));
    } else
        fputs("usage: exert cpu MS | read FILE BYTES | serve PORT | send HOST PORT BYTES\n",
              stderr);
    if (!rc)
        printf("%lld ms\n", (long long)(now_us(CLOCK_MONOTONIC) - began) / 1000);
    return rc;
}
