// Sets of layers as text, there and back.
#include "support.h"

#include "plan/layer_set.h"

#include <string.h>

static void text_there_and_back(void **state)
{
    (void)state;
    static const struct {
        const char *given, *shown;
    } cases[] = {
        {"0", "0"}, {"0-9", "0-9"}, {"8-15,3", "3, 8-15"}, {"1,2,3", "1-3"}, {"0-31", "0-31"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layer_set s;
        struct err e = {0};
        char text[LAYER_SET_TEXT];
        assert_ok(layer_set_parse(&s, cases[i].given, 32, &e), &e);
        layer_set_text(&s, text);
        assert_string_equal(text, cases[i].shown);
    }
    struct layer_set odd = {{0}};
    char text[LAYER_SET_TEXT];
    layer_set_text(&odd, text);
    assert_string_equal(text, "none");
    for (int i = 1; i < PLAN_MAX_LAYERS; i += 2)
        layer_set_add(&odd, i, i + 1);
    layer_set_text(&odd, text);
    assert_true(strlen(text) < sizeof text && !strcmp(text + strlen(text) - 5, ", ..."));
}

static void what_is_no_set_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     "-",  "a",  "1-",   "3-1",
                                        "0-32", "32", "-1", "1,,2", "1,"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct layer_set s;
        struct err e = {0};
        assert_int_equal(layer_set_parse(&s, texts[i], 32, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "layers 0 to 31"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_there_and_back),
        cmocka_unit_test(what_is_no_set_is_refused),
    };
    return cmocka_run_group_tests_name("sets of layers", tests, NULL, NULL);
}
