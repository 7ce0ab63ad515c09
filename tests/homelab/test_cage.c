// Control groups on machines that this one is not: folders that look like theirs. What the kernel
// makes of the limits is shown by test_homelab.sh.
#include "support.h"

#include "homelab/cage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[256];

static const char *path_of(const char *relative)
{
    static char path[4][1024];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, relative);
    return p;
}

static void folder(const char *relative)
{
    assert_int_equal(mkdir(path_of(relative), 0755), 0);
}

static void put(const char *relative, const char *text)
{
    test_write(path_of(relative), text, strlen(text));
}

static void assert_holds(const char *relative, const char *text)
{
    size_t size;
    char *got = (char *)test_read(path_of(relative), &size);
    assert_string_equal(got, text);
    free(got);
}

// A machine of its own for each test.
static int make_machine(void **state)
{
    (void)state;
    static int n;
    snprintf(root, sizeof root, "%s", test_file("machine"));
    snprintf(root + strlen(root), sizeof root - strlen(root), "%d", n++);
    return mkdir(root, 0755);
}

static void find(struct cage_site *s, const char *groups, const char *mounts_format)
{
    char mounts[2048];
    snprintf(mounts, sizeof mounts, mounts_format, root, root, root, root);
    put("groups", groups);
    put("mounts", mounts);
    cage_find_site(s, path_of("groups"), path_of("mounts"));
}

static const struct home_node node = {
    .name = "attic", .memory_bytes = 900 << 20, .cpu = 0.5, .disk_bps = 5000000};

static void version_1_has_a_folder_for_each_controller(void **state)
{
    (void)state;
    static struct cage_site s;
    static struct cage c;
    struct err e = {0};
    folder("memory");
    folder("memory/mine");
    folder("cpu");
    folder("blkio");
    find(&s, "9:name=systemd:/\n4:memory:/mine\n3:blkio:/\n2:cpu,cpuacct:/\n0::/\n",
         "cgroup %s/memory cgroup rw,memory 0 0\ncgroup %s/cpu cgroup rw,cpu,cpuacct 0 0\n"
         "cgroup %s/blkio cgroup rw,blkio 0 0\ncgroup2 %s/unified cgroup2 rw 0 0\n");
    assert_ok(cage_name(&c, &s, "0123", "attic", &e), &e);
    assert_string_equal(c.path[CAGE_MEMORY], path_of("memory/mine/rondo-home-0123-attic"));
    assert_ok(cage_make(&c, &node, "254:0", &e), &e);
    assert_holds("memory/mine/rondo-home-0123-attic/memory.limit_in_bytes", "943718400");
    assert_holds("cpu/rondo-home-0123-attic/cpu.cfs_period_us", "5000");
    assert_holds("cpu/rondo-home-0123-attic/cpu.cfs_quota_us", "2500");
    assert_holds("blkio/rondo-home-0123-attic/blkio.throttle.read_bps_device", "254:0 5000000");
    assert_ok(cage_enter(&c, &e), &e);
    assert_holds("cpu/rondo-home-0123-attic/cgroup.procs", "0");
    put("memory/mine/rondo-home-0123-attic/memory.max_usage_in_bytes", "4096\n");
    put("memory/mine/rondo-home-0123-attic/memory.failcnt", "7\n");
    put("memory/mine/rondo-home-0123-attic/memory.oom_control", "under_oom 0\noom_kill 2\n");
    struct cage_usage u;
    cage_usage(&c, &u);
    assert_int_equal(u.peak_bytes, 4096);
    assert_int_equal(u.limit_hits, 7);
    assert_int_equal(u.oom_kills, 2);
}

static void version_2_has_one_folder_below_a_group_that_gives(void **state)
{
    (void)state;
    static struct cage_site s;
    static struct cage c;
    struct err e = {0};
    folder("slice");
    folder("slice/mine");
    put("slice/cgroup.subtree_control", "cpu io memory\n");
    put("slice/mine/cgroup.subtree_control", "\n");
    put("slice/mine/cgroup.controllers", "\n");
    find(&s, "0::/slice/mine\n", "cgroup2 %s cgroup2 rw 0 0\n");
    assert_ok(cage_name(&c, &s, "0123", "attic", &e), &e);
    for (int i = 0; i < CAGE_KINDS; i++)
        assert_string_equal(c.path[i], path_of("slice/rondo-home-0123-attic"));
    folder("slice/rondo-home-0123-attic");
    put("slice/rondo-home-0123-attic/memory.swap.max", "max\n");
    assert_ok(cage_make(&c, &node, "254:0", &e), &e);
    assert_holds("slice/rondo-home-0123-attic/memory.max", "943718400");
    assert_holds("slice/rondo-home-0123-attic/memory.swap.max", "0");
    assert_holds("slice/rondo-home-0123-attic/cpu.max", "2500 5000");
    assert_holds("slice/rondo-home-0123-attic/io.max", "254:0 rbps=5000000");
    put("slice/rondo-home-0123-attic/memory.peak", "8192\n");
    put("slice/rondo-home-0123-attic/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n");
    struct cage_usage u;
    cage_usage(&c, &u);
    assert_int_equal(u.peak_bytes, 8192);
    assert_int_equal(u.limit_hits, 3);
    assert_int_equal(u.oom_kills, 1);
}

static void a_small_share_has_a_longer_period(void **state)
{
    (void)state;
    static struct cage_site s;
    static struct cage c;
    struct err e = {0};
    put("cgroup.subtree_control", "cpu\n");
    find(&s, "0::/\n", "cgroup2 %s cgroup2 rw 0 0\n");
    assert_ok(cage_name(&c, &s, "0123", "attic", &e), &e);
    assert_ok(cage_make(&c, &(struct home_node){.name = "attic", .cpu = 0.1}, "", &e), &e);
    assert_holds("rondo-home-0123-attic/cpu.max", "1000 10000");
}

static void a_limit_that_cannot_be_set_is_said(void **state)
{
    (void)state;
    static struct cage_site s;
    static struct cage c;
    struct err e = {0}, none = {0};
    put("cgroup.subtree_control", "cpu\n");
    put("cgroup.controllers", "cpu\n");
    find(&s, "0::/\n", "cgroup2 %s cgroup2 rw 0 0\n");
    assert_ok(cage_name(&c, &s, "0123", "attic", &none), &none);
    assert_int_equal(cage_make(&c, &node, "254:0", &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "attic is to have a limit of memory, but this machine has no"));
    assert_ok(cage_make(&c, &(struct home_node){.name = "attic"}, "", &none), &none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(version_1_has_a_folder_for_each_controller, make_machine),
        cmocka_unit_test_setup(version_2_has_one_folder_below_a_group_that_gives, make_machine),
        cmocka_unit_test_setup(a_small_share_has_a_longer_period, make_machine),
        cmocka_unit_test_setup(a_limit_that_cannot_be_set_is_said, make_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
