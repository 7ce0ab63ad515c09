// The socket that rondo nodes asks: clients that do not read, sockets of the dead, folders with
// long names, answers that are none.
#include "support.h"

#include "app/status_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[1024];

// A folder of the test's own, for the sockets; its name is longer than a socket's address.
static void use_folder(const char *name)
{
    static int count;
    snprintf(folder, sizeof folder, "%s/%d-%s-%0100d", test_folder(), count++, name, 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    setenv("RONDO_STATE", folder, 1);
}

static json_t *number(void *ctx)
{
    return json_pack("{s:i}", "number", *(int *)ctx);
}

static int n_sockets(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        n += *d->d_name != '.';
    closedir(dir);
    return n;
}

static json_t *asked(size_t n)
{
    struct err e = {0};
    json_t *heads;
    assert_ok(status_ask(&heads, &e), &e);
    assert_int_equal(json_array_size(heads), n);
    return heads;
}

static struct status_socket *opened(json_t *(*document)(void *ctx), void *ctx)
{
    struct status_socket *s;
    struct err e = {0};
    assert_ok(status_socket_open(&s, document, ctx, &e), &e);
    return s;
}

static void every_head_is_asked(void **state)
{
    (void)state;
    int one = 1, two = 2;
    use_folder("several");
    json_decref(asked(0));
    struct status_socket *a = opened(number, &one), *b = opened(number, &two);
    json_t *heads = asked(2);
    int sum = 0;
    for (size_t i = 0; i < 2; i++)
        sum += (int)json_integer_value(json_object_get(json_array_get(heads, i), "number"));
    assert_int_equal(sum, 3);
    json_decref(heads);
    one = 11; // it is asked anew each time
    heads = asked(2);
    status_socket_close(a);
    json_decref(heads);
    json_decref(asked(1));
    status_socket_close(b);
    json_decref(asked(0));
    assert_int_equal(n_sockets(), 0);
}

static struct sockaddr_un address(int fd, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", fd, name);
    return a;
}

// Binds a socket and leaves it behind, as who is killed does; listening or not.
static int leave_behind(const char *name)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = address(dir, name);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(dir);
    return fd;
}

static void what_the_dead_left_is_removed(void **state)
{
    (void)state;
    int seven = 7;
    char own[64];
    use_folder("dead");
    close(leave_behind("head-4194300.sock"));
    json_decref(asked(0));
    assert_int_equal(n_sockets(), 0);
    // One of our own number: of a process that had it before.
    snprintf(own, sizeof own, "head-%ld.sock", (long)getpid());
    close(leave_behind(own));
    struct status_socket *s = opened(number, &seven);
    assert_int_equal(n_sockets(), 1);
    json_decref(asked(1));
    status_socket_close(s);
    assert_int_equal(n_sockets(), 0);
}

enum { LARGE = 1 << 20 }; // bytes: more than any socket's buffer

static json_t *large(void *ctx)
{
    char *text = malloc(LARGE + 1);
    (void)ctx;
    memset(text, 'x', LARGE);
    text[LARGE] = 0;
    json_t *json = json_pack("{s:s}", "text", text);
    free(text);
    return json;
}

static void who_does_not_read_is_dropped(void **state)
{
    (void)state;
    char own[64], byte[4096];
    size_t got = 0;
    use_folder("stuck");
    struct status_socket *s = opened(large, NULL);
    int dir = open(folder, O_RDONLY | O_DIRECTORY), stuck = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(own, sizeof own, "head-%ld.sock", (long)getpid());
    struct sockaddr_un a = address(dir, own);
    assert_int_equal(connect(stuck, (struct sockaddr *)&a, sizeof a), 0);
    json_t *heads = asked(1); // behind the one that is stuck
    assert_int_equal(json_string_length(json_object_get(json_array_get(heads, 0), "text")), LARGE);
    json_decref(heads);
    ssize_t n;
    while ((n = read(stuck, byte, sizeof byte)) > 0)
        got += (size_t)n;
    assert_int_equal(n, 0); // the end, but not of the document
    assert_true(got < LARGE);
    // One that is stuck does not hold up the end.
    close(stuck);
    stuck = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(stuck, (struct sockaddr *)&a, sizeof a), 0);
    status_socket_close(s);
    close(stuck);
    close(dir);
}

static void *talk_nonsense(void *arg)
{
    int listener = *(int *)arg, client = accept(listener, NULL, NULL);
    assert_true(write(client, "{\"half\": [1, 2", 14) == 14);
    close(client);
    return NULL;
}

static void an_answer_that_is_none_is_left_out(void **state)
{
    (void)state;
    int one = 1;
    pthread_t thread;
    use_folder("nonsense");
    int listener = leave_behind("head-1.sock");
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, talk_nonsense, &listener), 0);
    struct status_socket *s = opened(number, &one);
    json_decref(asked(1));
    pthread_join(thread, NULL);
    status_socket_close(s);
    close(listener);
}

static void a_folder_that_others_may_change_is_refused(void **state)
{
    (void)state;
    int one = 1;
    struct status_socket *s;
    struct err e = {0};
    json_t *heads;
    use_folder("open");
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(status_socket_open(&s, number, &one, &e), ERR_DENIED);
    assert_null(s);
    e = (struct err){0};
    assert_int_equal(status_ask(&heads, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "chmod 700"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_head_is_asked),
        cmocka_unit_test(what_the_dead_left_is_removed),
        cmocka_unit_test(who_does_not_read_is_dropped),
        cmocka_unit_test(an_answer_that_is_none_is_left_out),
        cmocka_unit_test(a_folder_that_others_may_change_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
