// What memory is left, on machines that are made up file by file.
#include "support.h"

#include "weights/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[300];

static void put(const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = path + strlen(root); (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    test_write(path, text, strlen(text));
}

static void machine(const char *name)
{
    snprintf(root, sizeof root, "%s/%s", test_folder(), name);
    mkdir(root, 0700);
}

static void a_machine_without_groups_has_what_it_says(void **state)
{
    (void)state;
    machine("plain");
    assert_true(budget_available(root) == UINT64_MAX);
    put("/proc/meminfo", "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    4096 kB\n");
    assert_int_equal(budget_available(root), 4 << 20);
}

static void the_tightest_of_nested_groups_counts(void **state)
{
    (void)state;
    machine("v2");
    put("/proc/meminfo", "MemAvailable: 1000000 kB\n");
    put("/proc/self/cgroup", "0::/user/rondo\n");
    put("/sys/fs/cgroup/user/rondo/memory.max", "max\n");
    assert_int_equal(budget_available(root), 1000000ull << 10);
    put("/sys/fs/cgroup/user/memory.max", "10000000\n");
    put("/sys/fs/cgroup/user/memory.current", "9000000\n");
    put("/sys/fs/cgroup/user/memory.stat",
        "anon 5000000\ninactive_file 3000000\nactive_file 1000000\n");
    assert_int_equal(budget_available(root), 5000000); // page cache counts as left
    put("/sys/fs/cgroup/user/rondo/memory.max", "2000000\n");
    put("/sys/fs/cgroup/user/rondo/memory.current", "1999999\n");
    assert_int_equal(budget_available(root), 1);
    put("/sys/fs/cgroup/user/rondo/memory.current", "3000000\n");
    assert_int_equal(budget_available(root), 0);
}

static void groups_of_version_1_count_too(void **state)
{
    (void)state;
    machine("v1");
    put("/proc/meminfo", "MemAvailable: 1000000 kB\n");
    put("/proc/self/cgroup", "5:cpu,cpuacct:/other\n3:memory:/box\n");
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "8000000\n");
    put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "6000000\n");
    put("/sys/fs/cgroup/memory/box/memory.stat",
        "inactive_file 1\ntotal_inactive_file 500000\ntotal_active_file 500000\n");
    assert_int_equal(budget_available(root), 3000000);
}

// The source of this name, or NULL.
static const struct budget_source *source(const struct budget_watch *w, const char *name)
{
    const struct budget_source *s;
    for (int n = budget_watch_sources(w, &s); n-- > 0; s++)
        if (!strcmp(s->name, name))
            return s;
    return NULL;
}

static int sources_that_limit(const struct budget_watch *w)
{
    const struct budget_source *s;
    int n_limits = 0;
    for (int n = budget_watch_sources(w, &s); n-- > 0; s++)
        n_limits += s->limits;
    return n_limits;
}

// The kernel did not count the cache anew, but a limit that is hit takes from it.
static void a_cache_shrinks_with_each_hit_of_the_limit(void **state)
{
    (void)state;
    const char *const names[2][4] = {
        {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/a/memory.failcnt",
         "/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "/sys/fs/cgroup/memory/a/memory.stat"},
        {"/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/memory.events",
         "/sys/fs/cgroup/a/memory.current", "/sys/fs/cgroup/a/memory.stat"}};
    for (int v2 = 0; v2 < 2; v2++) {
        machine(v2 ? "hits2" : "hits1");
        put("/proc/self/cgroup", v2 ? "0::/a\n" : "4:memory:/a\n");
        put(names[v2][0], "10000000\n");
        put(names[v2][1], v2 ? "low 0\nmax 7\n" : "7\n");
        put(names[v2][2], "10000000\n");
        put(names[v2][3], v2 ? "active_file 8000000\n" : "total_active_file 8000000\n");
        struct budget_watch *w = budget_watch_open(root);
        budget_watch_poll(w);
        const struct budget_source *s = source(w, "the control group /a");
        assert_int_equal(s->free, 8000000);
        put(names[v2][1], v2 ? "low 0\nmax 1007\n" : "1007\n");
        budget_watch_poll(w);
        assert_int_equal(s->free, 8000000 - 1000 * 4096);
        put(names[v2][1], v2 ? "low 0\nmax 9007\n" : "9007\n");
        budget_watch_poll(w);
        assert_int_equal(s->free, 0);
        put(names[v2][3], v2 ? "active_file 5000000\n" : "total_active_file 5000000\n");
        budget_watch_poll(w);
        assert_int_equal(s->free, 5000000); // counted again
        budget_watch_close(w);
    }
}

static void a_watch_sees_what_changes(void **state)
{
    (void)state;
    machine("watched");
    put("/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 1000000 kB\n");
    put("/proc/self/cgroup", "0::/user/rondo\n");
    put("/sys/fs/cgroup/user/memory.max", "max\n");
    put("/sys/fs/cgroup/user/memory.current", "300000000\n");
    put("/sys/fs/cgroup/user/rondo/memory.max", "200000000\n");
    put("/sys/fs/cgroup/user/rondo/memory.current", "90000000\n");
    put("/sys/fs/cgroup/user/rondo/memory.stat",
        "anon 30000000\nfile 50000000\nactive_file 20000000\ninactive_file 30000000\n"
        "slab_reclaimable 10000000\n");
    struct budget_watch *w = budget_watch_open(root);
    assert_true(budget_watch_poll(w));
    const struct budget_source *s = source(w, "the control group /user/rondo");
    assert_non_null(s);
    assert_true(s->limits && s->v2);
    assert_int_equal(s->limit, 200000000);
    assert_int_equal(s->used, 30000000);
    assert_int_equal(s->free, 170000000);
    assert_int_equal(s->floor, 10000000);
    assert_false(source(w, "the control group /user")->limits);
    s = source(w, "the machine");
    assert_true(s->limit == 8000000ull << 10 && s->free == 1000000ull << 10);
    assert_true(s->floor == (8000000ull << 10) / 20);

    put("/sys/fs/cgroup/user/rondo/memory.current", "240000000\n"); // beyond the limit
    put("/sys/fs/cgroup/user/memory.max", "400000000\n");           // a limit that came later
    put("/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 2000 kB\n");
    assert_false(budget_watch_poll(w));
    assert_int_equal(source(w, "the control group /user/rondo")->free, 20000000);
    for (int polls = 0; !source(w, "the control group /user")->limits; polls++) {
        assert_true(polls < 100);
        budget_watch_poll(w);
    }
    assert_int_equal(source(w, "the control group /user")->free, 100000000);
    assert_int_equal(source(w, "the machine")->free, 2000 << 10);
    put("/sys/fs/cgroup/user/rondo/memory.current", "340000000\n");
    assert_false(budget_watch_poll(w));
    assert_int_equal(source(w, "the control group /user/rondo")->free, 0);
    assert_int_equal(source(w, "the control group /user/rondo")->used, 280000000);
    budget_watch_close(w);
}

static void the_limit_that_slows_down_is_one(void **state)
{
    (void)state;
    machine("high");
    put("/proc/self/cgroup", "0::/box\n");
    put("/sys/fs/cgroup/box/memory.max", "max\n");
    put("/sys/fs/cgroup/box/memory.high", "50000000\n");
    put("/sys/fs/cgroup/box/memory.current", "20000000\n");
    assert_int_equal(budget_available(root), 30000000);
    put("/sys/fs/cgroup/box/memory.max", "40000000\n");
    assert_int_equal(budget_available(root), 20000000);
}

static void a_process_that_is_moved_has_other_groups(void **state)
{
    (void)state;
    machine("moved");
    put("/proc/self/cgroup", "3:memory:/one\n");
    put("/sys/fs/cgroup/memory/one/memory.limit_in_bytes", "1000\n");
    put("/sys/fs/cgroup/memory/two/memory.limit_in_bytes", "2000\n");
    struct budget_watch *w = budget_watch_open(root);
    assert_true(budget_watch_poll(w));
    assert_non_null(source(w, "the control group /one"));
    put("/proc/self/cgroup", "3:memory:/two\n");
    int polls = 0;
    while (!budget_watch_poll(w))
        assert_true(++polls < 1000);
    assert_null(source(w, "the control group /one"));
    assert_int_equal(source(w, "the control group /two")->free, 2000);
    budget_watch_close(w);
}

// A container sees its own group at the mount; the names of those outside lead nowhere.
static void a_container_has_the_limit_at_the_mount(void **state)
{
    (void)state;
    machine("container");
    put("/proc/self/cgroup", "9:memory:/docker/0123\n0::/../../other\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "70000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "10000\n");
    put("/other/memory.max", "1\n");
    assert_int_equal(budget_available(root), 60000);
}

static void what_cannot_be_read_is_no_limit(void **state)
{
    (void)state;
    machine("garbage");
    put("/proc/meminfo", "MemTotal: lots\nMemAvailable: -5 kB\n");
    put("/proc/self/cgroup", "no colon\n:\n::\n4:memory\n5:memory:/box\n0::/a/b\n");
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/a/memory.max", "what?\n");
    put("/sys/fs/cgroup/a/b/memory.max", "");
    struct budget_watch *w = budget_watch_open(root);
    budget_watch_poll(w);
    assert_int_equal(sources_that_limit(w), 0);
    put("/proc/meminfo", "");
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "99999999999999999999999\n");
    for (int polls = 0; polls < 100; polls++)
        budget_watch_poll(w);
    assert_int_equal(sources_that_limit(w), 0);
    // A limit alone still is one: nothing is known to be used.
    put("/sys/fs/cgroup/a/memory.max", "5000\n");
    put("/sys/fs/cgroup/a/memory.stat",
        "active_file\nanon x\n\n\nactive_file 18446744073709551615");
    for (int polls = 0; polls < 100; polls++)
        budget_watch_poll(w);
    assert_int_equal(source(w, "the control group /a")->free, 5000);
    budget_watch_close(w);
    assert_true(budget_total(root) == 5000);

    machine("nothing");
    assert_true(budget_available(root) == UINT64_MAX);
    assert_true(budget_automatic(root) == UINT64_MAX);
    assert_true(budget_total(root) == UINT64_MAX);
}

static void very_many_nested_groups_are_cut_off(void **state)
{
    (void)state;
    machine("deep");
    char group[400] = "", name[500], text[600];
    for (int i = 0; i < 60; i++) {
        strcat(group, "/g");
        snprintf(name, sizeof name, "/sys/fs/cgroup%s/memory.max", group);
        put(name, "1000000\n");
    }
    snprintf(text, sizeof text, "0::%s\n", group);
    put("/proc/self/cgroup", text);
    struct budget_watch *w = budget_watch_open(root);
    budget_watch_poll(w);
    assert_int_equal(sources_that_limit(w), BUDGET_MAX_SOURCES - 1);
    budget_watch_close(w);
}

static void the_automatic_budget_leaves_two_floors(void **state)
{
    (void)state;
    const uint64_t gib = 1ull << 30, mib = 1ull << 20;
    char text[100];
    machine("automatic");
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 3145728 kB\n");
    assert_true(budget_automatic(root) == 3 * gib - 512 * mib);
    assert_true(budget_total(root) == 4 * gib);
    put("/proc/meminfo", "MemTotal: 41943040 kB\nMemAvailable: 31457280 kB\n");
    assert_true(budget_automatic(root) == 30 * gib - 2 * (40 * gib / 20));
    // The least of free less floors, not free of the source that has least free.
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n");
    put("/proc/self/cgroup", "0::/box\n");
    put("/sys/fs/cgroup/box/memory.max", "838860800\n");
    assert_true(budget_total(root) == 800 * mib);
    assert_true(budget_automatic(root) == 512 * mib);
    snprintf(text, sizeof text, "%llu\n", 600 * 1048576ull);
    put("/sys/fs/cgroup/box/memory.max", text);
    put("/sys/fs/cgroup/box/memory.current", text);
    assert_true(budget_automatic(root) == 0);
    put("/sys/fs/cgroup/box/memory.current", "0\n");
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 4194304 kB\n");
    assert_true(budget_automatic(root) == 540 * mib);
}

static void this_machine_has_an_answer(void **state)
{
    (void)state;
    assert_true(budget_available("") > 0);
    assert_true(budget_automatic("") <= budget_available(""));
    assert_true(budget_total("") >= budget_available(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_without_groups_has_what_it_says),
        cmocka_unit_test(the_tightest_of_nested_groups_counts),
        cmocka_unit_test(groups_of_version_1_count_too),
        cmocka_unit_test(a_watch_sees_what_changes),
        cmocka_unit_test(a_cache_shrinks_with_each_hit_of_the_limit),
        cmocka_unit_test(the_limit_that_slows_down_is_one),
        cmocka_unit_test(a_process_that_is_moved_has_other_groups),
        cmocka_unit_test(a_container_has_the_limit_at_the_mount),
        cmocka_unit_test(what_cannot_be_read_is_no_limit),
        cmocka_unit_test(very_many_nested_groups_are_cut_off),
        cmocka_unit_test(the_automatic_budget_leaves_two_floors),
        cmocka_unit_test(this_machine_has_an_answer),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
