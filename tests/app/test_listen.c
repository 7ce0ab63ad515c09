// --listen in all its forms.
#include "support.h"

#include "app/listen.h"

#include <string.h>

static void check(const char *text, const char *host, int port)
{
    char got[64] = "";
    uint16_t p = 7667;
    struct err e = {0};
    assert_ok(listen_parse(text, got, sizeof got, &p, &e), &e);
    assert_string_equal(got, host);
    assert_int_equal(p, port);
}

static void an_address_a_port_or_both(void **state)
{
    (void)state;
    check("192.168.1.5", "192.168.1.5", 7667);
    check("192.168.1.5:0", "192.168.1.5", 0);
    check(":7700", "", 7700);
    check("::1", "::1", 7667);
    check("[::1]", "::1", 7667);
    check("[fd00::7]:65535", "fd00::7", 65535);
}

static void anything_else_is_a_sentence(void **state)
{
    (void)state;
    const char *const wrong[] = {"1.2.3.4:", "1.2.3.4:x",  "1.2.3.4:65536", "1.2.3.4:-1",
                                 "[::1",     "[::1]x:700", "[::1]:",        ":77 00"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char host[64] = "";
        uint16_t port = 1;
        struct err e = {0};
        assert_int_equal(listen_parse(wrong[i], host, sizeof host, &port, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "--listen"));
    }
    char small[8];
    uint16_t port = 1;
    struct err e = {0};
    assert_int_equal(listen_parse("192.168.100.200", small, sizeof small, &port, &e), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_a_port_or_both),
        cmocka_unit_test(anything_else_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
