// Processors of machines that are not there: trees of files as Linux shows them.
#include "support.h"

#include "base/cores.h"
#include "base/pins.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree {
    char root[256];
    struct cores cores;
};

static void tree_open(struct tree *t)
{
    static int trees;
    snprintf(t->root, sizeof t->root, "%s/tree%d", test_folder(), trees++);
    assert_int_equal(mkdir(t->root, 0777), 0);
}

// Writes a file below the root and makes the folders it needs.
__attribute__((format(printf, 3, 4))) static void tree_put(const struct tree *t, const char *text,
                                                           const char *path, ...)
{
    char full[1024];
    int n = snprintf(full, sizeof full, "%s", t->root);
    va_list args;
    va_start(args, path);
    vsnprintf(full + n, sizeof full - (size_t)n, path, args);
    va_end(args);
    for (char *at = full + n + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        mkdir(full, 0777);
    }
    test_write(full, text, strlen(text));
}

static void put_cpu(const struct tree *t, int number, const char *siblings, long khz)
{
    char text[32];
    snprintf(text, sizeof text, "%ld\n", khz);
    tree_put(t, siblings, "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", number);
    if (khz)
        tree_put(t, text, "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", number);
}

// A process that may use CPUs [lo, hi).
static const struct cores *look(struct tree *t, int lo, int hi)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = lo; i < hi; i++)
        CPU_SET(i, &set);
    cores_read(&t->cores, t->root, &set);
    return &t->cores;
}

static void assert_order(const struct cores *c, const int *numbers, int n)
{
    assert_int_equal(c->n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(c->cpu[i].number, numbers[i]);
}

// Four cores of two hyper-threads, numbered as Intel does: siblings are 0,4 1,5 2,6 3,7.
static void put_laptop(const struct tree *t)
{
    for (int i = 0; i < 8; i++) {
        char siblings[32];
        snprintf(siblings, sizeof siblings, "%d,%d\n", i % 4, i % 4 + 4);
        put_cpu(t, i, siblings, 4200000);
    }
}

static void hyper_threads_of_a_core_count_once(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    put_laptop(&t);
    const struct cores *c = look(&t, 0, 8);
    assert_int_equal(c->n_cores, 4);
    assert_int_equal(c->n_able, 4);
    assert_int_equal(cores_threads(c), 4);
    assert_order(c, (int[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
    assert_int_equal(c->cpu[5].core, 1);
    assert_int_equal(c->cpu[5].rank, 1);
}

static void the_old_name_of_the_list_of_siblings_is_known(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    for (int i = 0; i < 4; i++)
        tree_put(&t, i < 2 ? "0-1\n" : "2-3\n",
                 "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
    const struct cores *c = look(&t, 0, 4);
    assert_int_equal(cores_threads(c), 2);
    assert_order(c, (int[]){0, 2, 1, 3}, 4);
}

static void a_mask_with_one_sibling_of_each_core_keeps_all_cores(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    put_laptop(&t);
    const struct cores *c = look(&t, 4, 8); // the second of each
    assert_int_equal(cores_threads(c), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(c->cpu[i].rank, 0);
    c = look(&t, 2, 7); // 2, 3, 4, 5, 6: both of core 2
    assert_int_equal(cores_threads(c), 4);
    assert_order(c, (int[]){2, 3, 4, 5, 6}, 5);
    assert_int_equal(c->cpu[4].core, 2);
}

// Six large cores of two hyper-threads, eight small ones, two very small ones.
static void small_cores_of_a_hybrid_take_part_unless_very_slow(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    for (int i = 0; i < 22; i++) {
        char siblings[32];
        snprintf(siblings, sizeof siblings, i < 12 ? "%d-%d\n" : "%d\n", i < 12 ? i / 2 * 2 : i,
                 i / 2 * 2 + 1);
        put_cpu(&t, i, siblings, i < 4 ? 5200000 : i < 12 ? 5000000 : i < 20 ? 3800000 : 2500000);
    }
    tree_put(&t, "12-21\n", "/sys/devices/cpu_atom/cpus");
    const struct cores *c = look(&t, 0, 22);
    assert_int_equal(c->n_cores, 16);
    assert_int_equal(c->n_able, 14);
    assert_int_equal(cores_threads(c), 14);
    assert_order(
        c, (int[]){0, 2, 4, 6, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 1, 3, 5, 7, 9, 11},
        22);
    assert_int_equal(c->cpu[0].speed, CORES_FULL_SPEED);
    assert_int_equal(c->cpu[6].speed, CORES_FULL_SPEED / 2);
    assert_true(c->cpu[14].speed < CORES_FULL_SPEED / 2);
    c = look(&t, 12, 20); // small ones alone are as fast as it gets
    assert_int_equal(cores_threads(c), 8);
    assert_int_equal(c->cpu[7].speed, CORES_FULL_SPEED);
}

static void little_cores_of_an_arm_board_stay_out(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    for (int i = 0; i < 8; i++) {
        put_cpu(&t, i, "", 0);
        tree_put(&t,
                 i < 4   ? "402\n"
                 : i < 6 ? "1003\n"
                         : "1024\n",
                 "/sys/devices/system/cpu/cpu%d/cpu_capacity", i);
    }
    const struct cores *c = look(&t, 0, 8);
    assert_int_equal(c->n_cores, 8);
    assert_int_equal(c->n_able, 4);
    assert_int_equal(cores_threads(c), 4);
    assert_order(c, (int[]){6, 7, 4, 5, 0, 1, 2, 3}, 8);
    assert_int_equal(cores_threads(look(&t, 0, 4)), 4); // there is nothing better then
}

static void without_files_every_cpu_is_a_core(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    const struct cores *c = look(&t, 0, 6);
    assert_int_equal(c->n_cores, 6);
    assert_int_equal(cores_threads(c), 6);
    assert_true(c->quota == 0);
    assert_int_equal(cores_threads(look(&t, 0, 0)), 1);
    put_cpu(&t, 0, "7-99999\n", 1); // files that say nonsense
    put_cpu(&t, 1, "x\n", -5);
    tree_put(&t, "", "/sys/devices/cpu_atom/cpus");
    tree_put(&t, "::\n\n0:cpu\n0::relative\n", "/proc/self/cgroup");
    tree_put(&t, "1 2 3 - cgroup2\n1 2 3 / /sys/fs/cgroup rw - cgroup2 x rw\n",
             "/proc/self/mountinfo");
    tree_put(&t, "-3 0\n", "/sys/fs/cgroup/cpu.max");
    c = look(&t, 0, 6);
    assert_int_equal(cores_threads(c), 6);
    assert_true(c->quota == 0);
}

static void put_unified(const struct tree *t, const char *group, const char *from)
{
    char mounts[256];
    snprintf(mounts, sizeof mounts,
             "22 1 0:20 / /proc rw - proc proc rw\n"
             "30 23 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
             from);
    tree_put(t, mounts, "/proc/self/mountinfo");
    tree_put(t, group, "/proc/self/cgroup");
}

static void the_smallest_quota_on_the_way_up_counts(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    put_unified(&t, "0::/user.slice/box/inner\n", "/");
    tree_put(&t, "max 100000\n", "/sys/fs/cgroup/user.slice/box/inner/cpu.max");
    tree_put(&t, "300000 100000\n", "/sys/fs/cgroup/user.slice/box/cpu.max");
    tree_put(&t, "400000 100000\n", "/sys/fs/cgroup/user.slice/cpu.max");
    tree_put(&t, "100000 100000\n", "/sys/fs/cgroup/user.slice/other/cpu.max");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 3);
    assert_true(t.cores.quota == 3);
    tree_put(&t, "50000 200000\n", "/sys/fs/cgroup/user.slice/box/inner/cpu.max");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 1);
    tree_put(&t, "160000 100000\n", "/sys/fs/cgroup/user.slice/box/inner/cpu.max");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 2);
    assert_int_equal(cores_threads(look(&t, 0, 1)), 1);
}

// A container that sees its own part of the hierarchy, but is told its path from the top.
static void a_mount_of_a_part_of_the_hierarchy_is_understood(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    put_unified(&t, "0::/docker/abc/job\n", "/docker/abc");
    tree_put(&t, "500000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 5);
    tree_put(&t, "200000 100000\n", "/sys/fs/cgroup/job/cpu.max");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 2);
    put_unified(&t, "0::/../../elsewhere\n", "/");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 5);
}

static void quotas_of_the_first_version_are_read(void **state)
{
    (void)state;
    struct tree t;
    tree_open(&t);
    tree_put(&t,
             "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
             "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n",
             "/proc/self/mountinfo");
    tree_put(&t, "4:cpuset:/jobs\n3:cpu,cpuacct:/jobs/one\n0::/\n", "/proc/self/cgroup");
    tree_put(&t, "-1\n", "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us");
    tree_put(&t, "100000\n", "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_period_us");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 8);
    tree_put(&t, "150000\n", "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us");
    tree_put(&t, "50000\n", "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us");
    tree_put(&t, "10000\n", "/sys/fs/cgroup/cpuset/jobs/cpu.cfs_quota_us"); // not its place
    tree_put(&t, "10000\n", "/sys/fs/cgroup/cpuset/jobs/cpu.cfs_period_us");
    assert_int_equal(cores_threads(look(&t, 0, 8)), 3);
}

static void this_machine_has_a_core(void **state)
{
    (void)state;
    const struct cores *c = cores_here();
    assert_true(c->n >= 1 && c->n_cores >= 1 && c->n_cores <= c->n);
    assert_true(c->n_able >= 1 && c->n_able <= c->n_cores);
    assert_int_equal(c->cpu[0].speed, CORES_FULL_SPEED);
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(getpid(), sizeof set, &set), 0);
    for (int i = 0; i < c->n; i++)
        assert_true(CPU_ISSET(c->cpu[i].number, &set));
}

static void a_processor_is_pinned_to_by_one_program_only(void **state)
{
    (void)state;
    struct tree t;
    struct pins first, second, third;
    tree_open(&t);
    put_laptop(&t);
    const struct cores *c = look(&t, 0, 8);
    assert_true(pins_take(&first, t.root, c, c->n_able, 3));
    for (int i = 0; i < 3; i++)
        assert_int_equal(first.cpu[i], i);
    assert_false(pins_take(&second, t.root, c, c->n_able, 2)); // one core is left
    assert_int_equal(second.n, 0);
    assert_true(pins_take(&second, t.root, c, c->n_able, 1)); // which the failed one gave back
    assert_int_equal(second.cpu[0], 3);
    assert_true(pins_take(&third, t.root, c, c->n, 4));
    assert_int_equal(third.cpu[0], 4);
    pins_drop(&first);
    pins_drop(&third);
    assert_true(pins_take(&first, t.root, c, c->n_able, 3));
    assert_int_equal(first.cpu[0], 0);
    pins_drop(&first);
    pins_drop(&second);
    pins_drop(&second);
}

static void tell_processors(void *arg, int thread)
{
    cpu_set_t *sets = arg;
    sched_getaffinity(0, sizeof *sets, &sets[thread]);
}

// A caller with a pool, in a thread of its own, since it may be kept somewhere.
static void *run_pinned(void *caller)
{
    const struct cores *c = cores_here();
    int cpus[3] = {c->cpu[c->n - 1].number, c->cpu[0].number, c->cpu[c->n - 1].number};
    cpu_set_t *sets = calloc(3, sizeof *sets);
    struct pool *p = pool_new(3);
    assert_true(p && sets);
    pool_pin(p, cpus, caller != NULL);
    pool_run(p, tell_processors, sets);
    for (int i = 0; i < 3; i++) {
        bool kept = i > 0 || caller;
        assert_int_equal(CPU_COUNT(&sets[i]), kept ? 1 : c->n);
        assert_true(!kept || CPU_ISSET(cpus[i], &sets[i]));
    }
    pool_free(p);
    free(sets);
    return NULL;
}

static void pinned_threads_stay_where_they_are_put(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_pinned, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, run_pinned, state), 0);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hyper_threads_of_a_core_count_once),
        cmocka_unit_test(the_old_name_of_the_list_of_siblings_is_known),
        cmocka_unit_test(a_mask_with_one_sibling_of_each_core_keeps_all_cores),
        cmocka_unit_test(small_cores_of_a_hybrid_take_part_unless_very_slow),
        cmocka_unit_test(little_cores_of_an_arm_board_stay_out),
        cmocka_unit_test(without_files_every_cpu_is_a_core),
        cmocka_unit_test(the_smallest_quota_on_the_way_up_counts),
        cmocka_unit_test(a_mount_of_a_part_of_the_hierarchy_is_understood),
        cmocka_unit_test(quotas_of_the_first_version_are_read),
        cmocka_unit_test(a_processor_is_pinned_to_by_one_program_only),
        cmocka_unit_test(pinned_threads_stay_where_they_are_put),
        cmocka_unit_test(this_machine_has_a_core),
    };
    return cmocka_run_group_tests_name("cores", tests, NULL, NULL);
}
