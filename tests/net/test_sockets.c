// Addresses, listening, dialling with a deadline.
#include "support.h"

#include "base/clock.h"
#include "faulty_net.h"
#include "net/net_io.h"
#include "net/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct net_address address(const char *text)
{
    struct net_address a;
    struct err e = {0};
    assert_ok(net_address_parse(&a, text, &e), &e);
    return a;
}

static void addresses_come_back_as_text(void **state)
{
    const char *const texts[] = {"192.168.1.5", "127.0.0.1", "::1", "2001:db8::7", "fe80::1"};
    char text[NET_ADDRESS_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct net_address a = address(texts[i]);
        assert_true(net_address_valid(&a));
        assert_string_equal(net_address_text(&a, text), texts[i]);
        assert_int_equal(net_address_loopback(&a), i == 1 || i == 2);
    }
    struct net_address a = address("10.0.0.1"), b = address("10.0.0.2");
    assert_true(net_address_equal(&a, &a));
    assert_false(net_address_equal(&a, &b));
}

static void what_is_no_address_is_refused(void **state)
{
    const char *const texts[] = {"", "1.2.3", "1.2.3.256", "host", "1.2.3.4:80", ":::"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct net_address a;
        struct err e = {0};
        assert_int_equal(net_address_parse(&a, texts[i], &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "not an IP address"));
    }
    const char *const nobody[] = {"0.0.0.0",         "0.1.2.3", "224.0.0.1",
                                  "255.255.255.255", "::",      "ff02::1"};
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
        struct net_address a = address(nobody[i]);
        assert_false(net_address_valid(&a));
    }
    struct net_address odd = address("10.0.0.1");
    odd.bytes[9] = 1; // what IPv4 does not use must be zero, or one address has many forms
    assert_false(net_address_valid(&odd));
    odd = address("10.0.0.1");
    odd.zero[1] = 1;
    assert_false(net_address_valid(&odd));
    odd = (struct net_address){.family = 5};
    assert_false(net_address_valid(&odd));
}

// Both ends of a connection to `to`.
static void connect_to(int listener, const char *to, uint16_t port, int *here, int *there,
                       struct net_address *from)
{
    struct net_address a = address(to);
    struct err e = {0};
    *here = net_connect(&a, port, 10000, -1, &e);
    if (*here < 0)
        fail_msg("%s", e.text);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    *there = net_accept(listener, from);
    assert_true(*there >= 0);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void a_listener_is_found_on_its_port(void **state)
{
    struct err e = {0};
    struct net_address from;
    uint16_t port = 0;
    int here, there;
    char c;
    (void)state;
    int listener = net_listen(NULL, 0, &port, &e);
    assert_true(listener >= 0);
    assert_int_not_equal(port, 0);
    assert_int_equal(net_accept(listener, &from), -1); // nobody yet
    assert_int_equal(errno, EAGAIN);
    connect_to(listener, "127.0.0.1", port, &here, &there, &from);
    assert_int_equal(from.family, 4); // not ::ffff:127.0.0.1
    assert_true(net_address_loopback(&from));
    for (int i = 0; i < 2; i++) {
        int fd = i ? here : there;
        assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), NET_USER_TIMEOUT_MS);
    }
    assert_int_equal(net_io->recv(here, &c, 1), -1); // does not block
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(net_io->send(there, "x", 1, false), 1);
    close(there);
    close(here);
    uint16_t again;
    assert_int_equal(net_listen(NULL, port, &again, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "taken"));
    close(listener);
}

static void one_host_means_one_interface(void **state)
{
    struct err e = {0};
    struct net_address other = address("127.0.0.2");
    uint16_t port;
    (void)state;
    int listener = net_listen("127.0.0.1", 0, &port, &e);
    assert_true(listener >= 0);
    assert_int_equal(net_connect(&other, port, 10000, -1, &e), ERR_UNREACHABLE);
    assert_non_null(strstr(e.text, "nothing listens on 127.0.0.2"));
    close(listener);
    e.code = 0;
    assert_int_equal(net_listen("not-a-host", 0, &port, &e), ERR_USAGE);
}

static void dialling_ends_at_the_deadline_or_when_told(void **state)
{
    struct err e = {0};
    struct net_address nobody = address("127.0.0.1");
    (void)state;
    // A listener whose queue is full answers no more calls.
    uint16_t port;
    int listener = net_listen("127.0.0.1", 0, &port, &e), crowd[16], n = 0;
    assert_int_equal(listen(listener, 0), 0);
    for (; n < 16; n++)
        if ((crowd[n] = net_connect(&nobody, port, 100, -1, &e)) < 0)
            break;
    assert_true(n < 16);
    assert_int_equal(e.code, ERR_UNREACHABLE);
    assert_non_null(strstr(e.text, "does not answer"));
    int cancel = eventfd(1, 0);
    int64_t start_ms = clock_ms();
    e.code = 0;
    assert_int_equal(net_connect(&nobody, port, 600000, cancel, &e), ERR_UNREACHABLE);
    assert_non_null(strstr(e.text, "given up"));
    assert_true(clock_ms() - start_ms < 300000);
    while (n--)
        close(crowd[n]);
    close(cancel);
    close(listener);
}

static void own_addresses_can_be_dialled_and_do_not_repeat(void **state)
{
    struct net_address a[8];
    (void)state;
    int n = net_own_addresses(NULL, a, 8);
    assert_true(n >= 1 && n <= 8);
    for (int i = 0; i < n; i++) {
        assert_true(net_address_valid(&a[i]));
        assert_true(n == 1 || !net_address_loopback(&a[i]));
        for (int k = 0; k < i; k++)
            assert_false(net_address_equal(&a[i], &a[k]));
    }
    assert_int_equal(net_own_addresses(NULL, a, 1), 1);
    assert_int_equal(net_own_addresses("127.0.0.1", a, 8), 1);
    assert_true(net_address_loopback(&a[0]));
    assert_int_equal(net_own_addresses("0.0.0.0", a, 8), n); // everything: as without a host
}

static void sockets_that_fail_are_one_sentence(void **state)
{
    struct net_address to = address("127.0.0.1"), from;
    uint16_t port;
    struct err e = {0};
    (void)state;
    int listener = net_listen("127.0.0.1", 0, &port, &e);
    faulty_net((struct net_faults){.call = NET_CONNECT, .error = ENETUNREACH});
    assert_int_equal(net_connect(&to, port, 1000, -1, &e), ERR_UNREACHABLE);
    assert_non_null(strstr(e.text, "cannot be reached"));
    assert_true(faulty_net_end());
    faulty_net((struct net_faults){.call = NET_ACCEPT, .error = EMFILE});
    assert_int_equal(net_accept(listener, &from), -1);
    assert_int_equal(errno, EMFILE);
    assert_true(faulty_net_end());
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_come_back_as_text),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_listener_is_found_on_its_port),
        cmocka_unit_test(one_host_means_one_interface),
        cmocka_unit_test(dialling_ends_at_the_deadline_or_when_told),
        cmocka_unit_test(own_addresses_can_be_dialled_and_do_not_repeat),
        cmocka_unit_test(sockets_that_fail_are_one_sentence),
    };
    return cmocka_run_group_tests_name("net/sockets", tests, NULL, NULL);
}
