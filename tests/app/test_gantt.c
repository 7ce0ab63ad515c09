// The Gantt of a pass, drawn from made-up times, letter by letter.
#include "support.h"

#include "app/gantt.h"
#include "app/terminal.h"
#include "made_up_pass.h"

#include <stdlib.h>
#include <string.h>

static struct timings_trace trace_of(int n_rounds)
{
    struct timings_trace t;
    struct err e = {0};
    assert_ok(timings_trace_new(&t, 3, n_rounds, 1, &e), &e);
    made_up_pass(&t, &t.passes[0]);
    return t;
}

static void assert_drawn(const struct timings_trace *t, int columns, bool utf8, const char *want)
{
    const struct gantt_look look = {.columns = columns, .utf8 = utf8};
    char *text = gantt_text(t, &t->passes[0], made_up_names, &look);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void each_node_has_a_line_and_time_goes_to_the_right(void **state)
{
    (void)state;
    struct timings_trace t = trace_of(2); // 7300 us
    assert_drawn(
        &t, 88, false,
        "one token in 7.3 ms\n"
        "1 alpha         --#########=                        --#########=\n"
        "2 beta                      --#########=                        --#########=\n"
        "3 desk (head) #=                        --...######=                        --...######\n"
        "              0 ms      1         2         3         4         5         6         7\n"
        "              - receive  # compute  . disk wait  = send\n");
    timings_trace_free(&t);
}

static void a_terminal_that_can_gets_bars(void **state)
{
    (void)state;
    struct timings_trace t = trace_of(1); // 3700 us
    assert_drawn(&t, 52, true,
                 "one token in 3.7 ms\n"
                 "1 alpha         ╌╌█████████━\n"
                 "2 beta                      ╌╌█████████━\n"
                 "3 desk (head) █━                        ╌╌░░░██████\n"
                 "              0 ms     1         2         3\n"
                 "              ╌ receive  █ compute  ░ disk wait  ━ send\n");
    timings_trace_free(&t);
}

static void columns_stand_for_what_took_most_of_them(void **state)
{
    (void)state;
    struct timings_trace t = trace_of(2);
    assert_drawn(&t, 10, false, // at least 40
                 "one token in 7.3 ms\n"
                 "1 alpha       -####        -###=\n"
                 "2 beta            -####        -###=\n"
                 "3 desk (head) #       --.##=       -.##\n"
                 "              0 ms             5\n"
                 "              - receive  # compute  . disk wait  = send\n");
    t.passes[0].n_tokens = 64;
    char *text = gantt_text(&t, &t.passes[0], made_up_names, &(struct gantt_look){0});
    assert_non_null(strstr(text, "64 tokens in 7.3 ms\n"));
    free(text);
    timings_trace_free(&t);
}

static void the_scale_has_the_unit_of_the_time(void **state)
{
    (void)state;
    static const struct {
        double us;
        const char *title, *scale;
    } rows[] = {
        {90, "one token in 90 us\n", " 0 us        20          40           60          80\n"},
        {2500, "one token in 2.5 ms\n", " 0 ms       0.5        1          1.5        2\n"},
        {4361000, "one token in 4361 ms\n",
         " 0 ms        1000         2000         3000         4000\n"},
        {43000000, "one token in 43 s\n",
         " 0 s          10           20           30           40\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct timings_trace t;
        struct err e = {0};
        const struct gantt_look look = {.columns = 72};
        assert_ok(timings_trace_new(&t, 1, 1, 1, &e), &e);
        t.passes[0].n_tokens = 1;
        t.passes[0].stops[0] = (struct timings_stop){.computed_us = rows[i].us};
        char *text = gantt_text(&t, &t.passes[0], made_up_names, &look);
        assert_ptr_equal(strstr(text, rows[i].title), text);
        assert_non_null(strstr(text, rows[i].scale));
        free(text);
        timings_trace_free(&t);
    }
}

static void absurd_times_are_drawn_within_the_chart(void **state)
{
    (void)state;
    struct timings_trace t = trace_of(1);
    struct timings_stop *s = t.passes[0].stops;
    const struct gantt_look look = {.columns = 60};
    s[0] = (struct timings_stop){-1e12, -1e12, 1e12, 1e12, 1e12};
    s[1] = (struct timings_stop){1e12, 1e12, -1e12, -1e12, -1e12};
    char *text = gantt_text(&t, &t.passes[0], made_up_names, &look);
    assert_non_null(text);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        assert_true(strchr(line, '\n') - line <= 60);
    free(text);
    s[2].computed_us = -5; // no time at all
    assert_null(gantt_text(&t, &t.passes[0], made_up_names, &look));
    timings_trace_free(&t);
}

static void the_locale_says_whether_bars_can_be_shown(void **state)
{
    (void)state;
    unsetenv("LC_ALL");
    unsetenv("LC_CTYPE");
    unsetenv("LANG");
    assert_false(terminal_utf8());
    setenv("LANG", "de_DE.UTF-8", 1);
    assert_true(terminal_utf8());
    setenv("LC_CTYPE", "en_GB.utf8", 1);
    assert_true(terminal_utf8());
    setenv("LC_ALL", "C", 1);
    assert_false(terminal_utf8());
    setenv("LC_ALL", "", 1); // as if it were not set
    assert_true(terminal_utf8());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_has_a_line_and_time_goes_to_the_right),
        cmocka_unit_test(a_terminal_that_can_gets_bars),
        cmocka_unit_test(columns_stand_for_what_took_most_of_them),
        cmocka_unit_test(the_scale_has_the_unit_of_the_time),
        cmocka_unit_test(absurd_times_are_drawn_within_the_chart),
        cmocka_unit_test(the_locale_says_whether_bars_can_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
