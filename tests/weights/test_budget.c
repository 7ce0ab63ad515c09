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

static void weights_leave_a_margin_and_what_is_promised(void **state)
{
    (void)state;
    const uint64_t gib = 1ull << 30;
    assert_true(budget_for_weights(UINT64_MAX, gib) == UINT64_MAX);
    assert_int_equal(budget_for_weights(gib, 0), gib / 2);
    assert_int_equal(budget_for_weights(gib, gib / 4), gib / 4);
    assert_int_equal(budget_for_weights(gib, gib), 0);
    assert_int_equal(budget_for_weights(0, 0), 0);
    assert_int_equal(budget_for_weights(100 * gib, 10 * gib), 80 * gib);
}

static void this_machine_has_an_answer(void **state)
{
    (void)state;
    assert_true(budget_available("") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_without_groups_has_what_it_says),
        cmocka_unit_test(the_tightest_of_nested_groups_counts),
        cmocka_unit_test(groups_of_version_1_count_too),
        cmocka_unit_test(weights_leave_a_margin_and_what_is_promised),
        cmocka_unit_test(this_machine_has_an_answer),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
