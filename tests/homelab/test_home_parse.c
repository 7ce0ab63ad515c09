// Descriptions of homes: what they say, and what is said of those that are wrong.
#include "support.h"

#include "homelab/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(struct home *h, const char *text, struct err *e)
{
    return home_parse(h, "x.home", text, strlen(text), e);
}

static void a_line_of_all_holds_for_those_that_follow(void **state)
{
    (void)state;
    static struct home h;
    struct err e = {0};
    assert_ok(parse(&h,
                    "# a comment\n"
                    "all memory 900MiB cpu 0.5 # another\n"
                    "\n"
                    "node one\r\n"
                    "  node\ttwo memory unlimited cpus 2 threads 3\n"
                    "all rate 1Gbit/s model shared\n"
                    "node three disk 500MB/s",
                    &e),
              &e);
    assert_int_equal(h.n_nodes, 3);
    assert_string_equal(h.nodes[0].name, "one");
    assert_int_equal(h.nodes[0].memory_bytes, 900ll << 20);
    assert_true(h.nodes[0].cpu == 0.5 && h.nodes[1].cpu == 0.5 && h.nodes[2].cpu == 0.5);
    assert_int_equal(h.nodes[0].threads, 1);
    assert_int_equal(h.nodes[0].link.rate_bps, 0);
    assert_false(h.nodes[0].shares_model);
    assert_int_equal(h.nodes[1].memory_bytes, 0);
    assert_int_equal(h.nodes[1].cpus, 2);
    assert_int_equal(h.nodes[1].threads, 3);
    assert_int_equal(h.nodes[2].disk_bps, 500000000);
    assert_int_equal(h.nodes[2].link.rate_bps, 1000000000);
    assert_true(h.nodes[2].shares_model && home_link_is_cable(&h.nodes[2].link));
    assert_int_equal(home_find(&h, "two"), 1);
    assert_int_equal(home_find(&h, "four"), -1);
}

static void links_say_what_becomes_of_frames(void **state)
{
    (void)state;
    static struct home h;
    struct err e = {0};
    assert_ok(parse(&h,
                    "node a rate 2.5Mbit/s delay 3ms jitter 1500us loss 0.5% outage 2s every 30s\n"
                    "node b rate 300kbit/s air wifi\n"
                    "node c delay 0.25s outage none loss none air none\n",
                    &e),
              &e);
    const struct home_link *l = &h.nodes[0].link;
    assert_int_equal(l->rate_bps, 2500000);
    assert_int_equal(l->delay_us, 3000);
    assert_int_equal(l->jitter_us, 1500);
    assert_true(l->loss > 0.00499 && l->loss < 0.00501);
    assert_int_equal(l->outage_us, 2000000);
    assert_int_equal(l->period_us, 30000000);
    assert_string_equal(h.nodes[1].link.air, "wifi");
    assert_false(home_link_is_cable(&h.nodes[1].link));
    assert_int_equal(h.nodes[2].link.delay_us, 250000);
    assert_false(home_link_is_cable(&h.nodes[2].link));
}

// Each is refused, by a sentence that names the line and has this in it.
static void what_is_wrong_is_said_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"", "no node"},
        {"all memory 1GiB\n", "no node"},
        {"# a\n\nnod a\n", "x.home:3: 'nod' begins no line"},
        {"node\n", "x.home:1: a value is missing after 'node'"},
        {"node A\n", "'A' is no name"},
        {"node -a\n", "'-a' is no name"},
        {"node a\nnode a\n", "x.home:2: there is a node a already"},
        {"node a memory\n", "a value is missing after 'memory'"},
        {"node a memroy 1GiB\n", "'memroy' is no key"},
        {"node a memory 1GiB memory 2GiB\n", "memory is there twice"},
        {"node a memory 1\n", "wants a number with a unit (B, kB, MB, GB, KiB, MiB or GiB)"},
        {"node a memory 1gb\n", "'1gb' is no value for memory"},
        {"node a memory 0GiB\n", "it is too little"},
        {"node a memory 999999999999999GiB\n", "it is too much"},
        {"node a memory 99999999999999999999GiB\n", "'99999999999999999999GiB' is no value"},
        {"node a memory -1GiB\n", "'-1GiB' is no value for memory"},
        {"node a cpu 50%\n", "wants a number without a unit"},
        {"node a cpu .5\n", "'.5' is no value for cpu"},
        {"node a cpus 1.5\n", "wants a whole number"},
        {"node a threads 0\n", "it is too little"},
        {"node a disk 5MB\n", "(kB/s, MB/s, GB/s, MiB/s or GiB/s)"},
        {"node a model both\n", "it is own or shared"},
        {"node a rate 1GB/s\n", "(kbit/s, Mbit/s or Gbit/s)"},
        {"node a loss 100%\n", "it is too much"},
        {"node a jitter 1ms\n", "the jitter of a is more than its delay"},
        {"node a outage 2s\n", "a value is missing after '2s'"},
        {"node a outage 2s each 3s\n", "wants its period"},
        {"node a outage 2s every 2s\n", "leaves no time in which the link works"},
        {"node a air wifi\n", "a has air but no rate"},
        {"node a memory 1\x01GiB\n", "no printable ASCII"},
        {"node a memory 1GiB\xc3\xa4\n", "no printable ASCII"},
        {"node aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
         "is too long for a word"},
        {"node model\n", "'model' is no name for a node"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct home h;
        struct err e = {0};
        assert_int_equal(parse(&h, cases[i].text, &e), ERR_USAGE);
        if (!strstr(e.text, cases[i].said))
            fail_msg("'%s' is refused with '%s', not with '%s'", cases[i].text, e.text,
                     cases[i].said);
    }
}

static void a_home_has_a_largest_number_of_nodes(void **state)
{
    (void)state;
    static struct home h;
    struct err e = {0};
    char text[HOME_MAX_NODES * 16 + 32] = "";
    for (int i = 0; i < HOME_MAX_NODES; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "node n%d\n", i);
    assert_ok(parse(&h, text, &e), &e);
    assert_int_equal(h.n_nodes, HOME_MAX_NODES);
    strcat(text, "node more\n");
    assert_int_equal(parse(&h, text, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "x.home:17: a home has 16 nodes at most"));
}

static void what_is_no_text_is_refused(void **state)
{
    (void)state;
    static struct home h;
    struct err e = {0}, large = {0};
    assert_int_equal(home_parse(&h, "x", "node a\n\0node b\n", 15, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "no printable ASCII"));
    char *text = calloc(1, HOME_MAX_BYTES + 1);
    memset(text, '\n', HOME_MAX_BYTES + 1);
    assert_int_equal(home_parse(&h, "x", text, HOME_MAX_BYTES + 1, &large), ERR_USAGE);
    assert_non_null(strstr(large.text, "no description of a home"));
    free(text);
}

static void a_file_that_is_not_there_is_said(void **state)
{
    (void)state;
    static struct home h;
    struct err e = {0}, folder = {0};
    assert_int_equal(home_read(&h, test_file("absent.home"), &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "absent.home: cannot be opened: No such file"));
    assert_int_equal(home_read(&h, test_folder(), &folder), ERR_FAILED);
    assert_non_null(strstr(folder.text, "cannot be read"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_all_holds_for_those_that_follow),
        cmocka_unit_test(links_say_what_becomes_of_frames),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(a_home_has_a_largest_number_of_nodes),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(a_file_that_is_not_there_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
