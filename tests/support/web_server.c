// A bad HTTP server: see web_server.h.
#include "web_server.h"

#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES = 8192 };

struct visit {
    struct web *w;
    int fd;
};

static void *visit_main(void *arg)
{
    struct visit v = *(struct visit *)arg;
    char request[REQUEST_BYTES];
    size_t used = 0;
    free(arg);
    for (ssize_t n = 1; n > 0 && used < sizeof request - 1;) {
        n = recv(v.fd, request + used, sizeof request - 1 - used, 0);
        used += n > 0 ? (size_t)n : 0;
        request[used] = 0;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    if (used) {
        atomic_fetch_add(&v.w->n_requests, 1);
        v.w->answer(v.w, v.fd, request);
    }
    shutdown(v.fd, SHUT_WR);
    close(v.fd);
    atomic_fetch_sub(&v.w->n_running, 1);
    return NULL;
}

static void *web_main(void *arg)
{
    struct web *w = arg;
    for (int fd; (fd = accept(w->fd, NULL, NULL)) >= 0;) {
        struct visit *v = malloc(sizeof *v);
        pthread_t thread;
        *v = (struct visit){w, fd};
        atomic_fetch_add(&w->n_running, 1);
        assert_int_equal(pthread_create(&thread, NULL, visit_main, v), 0);
        pthread_detach(thread);
    }
    return NULL;
}

void web_start(struct web *w)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(w->fd >= 0);
    assert_int_equal(bind(w->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(w->fd, 64), 0);
    assert_int_equal(getsockname(w->fd, (struct sockaddr *)&a, &size), 0);
    w->port = ntohs(a.sin_port);
    atomic_init(&w->n_requests, 0);
    atomic_init(&w->n_asked, 0);
    atomic_init(&w->n_running, 0);
    assert_int_equal(pthread_create(&w->thread, NULL, web_main, w), 0);
}

void web_stop(struct web *w)
{
    shutdown(w->fd, SHUT_RDWR);
    pthread_join(w->thread, NULL);
    close(w->fd);
    while (atomic_load(&w->n_running))
        usleep(1000);
}

const char *web_url(const struct web *w, const char *path)
{
    static char out[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(out[next], sizeof out[next], "http://127.0.0.1:%d%s", w->port, path);
    return out[next];
}

bool web_range(struct web *w, const char *request, size_t *lo, size_t *hi)
{
    const char *range = strstr(request, "Range: bytes=");
    *lo = 0;
    *hi = w->size;
    if (!range || sscanf(range, "Range: bytes=%zu-%zu", lo, hi) != 2)
        return false;
    *hi = *hi + 1 < w->size ? *hi + 1 : w->size;
    atomic_fetch_add(&w->n_asked, *hi - *lo);
    return true;
}

bool web_send(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool web_say(int fd, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return web_send(fd, text, (size_t)n);
}

void web_answer_well(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    if (web_range(w, request, &lo, &hi))
        web_say(fd,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                "ETag: \"one\"\r\nContent-Length: %zu\r\n\r\n",
                lo, hi - 1, w->size, hi - lo);
    else
        web_say(fd, "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: %zu\r\n\r\n", hi - lo);
    web_send(fd, w->data + lo, hi - lo);
}
