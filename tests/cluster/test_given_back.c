// What a worker says when memory of its weights is given back and taken again.
#include "support.h"

#include "cluster/given_back.h"

#include <string.h>

enum { MIB = 1 << 20, WANTED = 160 };

static char line[GIVEN_BACK_TEXT];

static bool news(struct given_back *g, uint64_t resident)
{
    struct weights_status s = {.resident = resident * MIB,
                               .wanted = (uint64_t)WANTED * MIB,
                               .governed = resident < WANTED};
    return given_back_news(g, &s, line);
}

static void memory_given_back_and_taken_again_is_said_once(void **state)
{
    struct given_back g;
    (void)state;
    given_back_init(&g, 0);
    assert_false(news(&g, WANTED));
    assert_true(news(&g, 159)); // the first of it always
    assert_non_null(strstr(line, "gave back 1.0 MiB"));
    assert_non_null(strstr(line, "159.0 MiB stay"));
    assert_false(news(&g, 159));
    assert_false(news(&g, 150)); // a little more
    assert_true(news(&g, 149));
    assert_non_null(strstr(line, "gave back 11.0 MiB"));
    assert_false(news(&g, 155)); // on its way
    assert_true(news(&g, WANTED));
    assert_non_null(strstr(line, "all 160.0 MiB of weights that were planned are resident"));
    assert_false(news(&g, WANTED));
    assert_true(news(&g, 100)); // again
}

static void nobody_looks_more_than_once_a_second(void **state)
{
    const int64_t second = 1000000000;
    struct given_back g;
    (void)state;
    given_back_init(&g, 5 * second);
    assert_true(given_back_due(&g, 5 * second));
    assert_false(given_back_due(&g, 5 * second + 1));
    assert_false(given_back_due(&g, 6 * second - 1));
    assert_true(given_back_due(&g, 6 * second));
    assert_true(given_back_due(&g, 60 * second));
    assert_false(given_back_due(&g, 60 * second + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_given_back_and_taken_again_is_said_once),
        cmocka_unit_test(nobody_looks_more_than_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
