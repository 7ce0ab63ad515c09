// Mapped files that are cut short while they are read: whoever reads goes on, with zeros, and is
// told; what is not ours dies as before. And the stamps that tell of files that changed.
#include "support.h"

#include "base/signals.h"
#include "disk/io.h"
#include "disk/mapped.h"
#include "disk/stamp.h"
#include "faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 64 };

// A file of `pages` pages, each full of its number + 1; open.
static int file_new(const char *path, int pages)
{
    uint8_t page[PAGE];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    for (int i = 0; i < pages; i++) {
        memset(page, i + 1, sizeof page);
        assert_int_equal(pwrite(fd, page, sizeof page, (off_t)i * PAGE), PAGE);
    }
    return fd;
}

static void map_new(struct mapped *m, const char *name)
{
    struct err e = {0};
    int fd = file_new(test_file(name), PAGES);
    assert_ok(mapped_open(m, fd, PAGES * PAGE, name, &e), &e);
    close(fd);
}

static unsigned sum(const struct mapped *m)
{
    unsigned all = 0;
    for (int i = 0; i < PAGES; i++)
        all += *(const volatile uint8_t *)(m->base + (size_t)i * PAGE);
    return all;
}

enum { WHOLE = PAGES * (PAGES + 1) / 2 };

static void check_lost(const struct mapped *m, const char *name)
{
    struct err e = {0};
    assert_int_equal(mapped_check(m, name, "get it again", &e), ERR_FAILED);
    assert_int_equal(strncmp(e.text, name, strlen(name)), 0);
    assert_non_null(strstr(e.text, "could not be read while it was in use"));
    assert_non_null(strstr(e.text, "get it again"));
}

// ---- what is not ours --------------------------------------------------------------------------

// How a process ends that does this: its exit code, or minus a signal.
static int ends(void (*what)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGBUS, SIG_DFL); // not cmocka's
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void touch_a_mapping_of_its_own(void)
{
    int fd = file_new(test_file("own"), 2);
    volatile uint8_t *own = mmap(NULL, (size_t)2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (own == MAP_FAILED || ftruncate(fd, 0))
        _exit(0);
    (void)own[PAGE];
}

static void fault_elsewhere(void)
{
    struct mapped m;
    map_new(&m, "beside");
    touch_a_mapping_of_its_own();
}

static void signal_from_somebody(void)
{
    struct mapped m;
    map_new(&m, "sent");
    kill(getpid(), SIGBUS);
}

static void signal_that_was_ignored(void)
{
    struct mapped m;
    signal(SIGBUS, SIG_IGN);
    map_new(&m, "ignored");
    kill(getpid(), SIGBUS);
    _exit(7);
}

static void fault_that_was_ignored(void)
{
    struct mapped m;
    signal(SIGBUS, SIG_IGN);
    map_new(&m, "ignored");
    touch_a_mapping_of_its_own();
}

static void leave(int number)
{
    _exit(number == SIGBUS ? 5 : 0);
}

static void leave_knowing(int number, siginfo_t *info, void *context)
{
    (void)context;
    _exit(number == SIGBUS && info->si_addr ? 6 : 0);
}

static void fault_with_a_handler(void)
{
    struct sigaction a = {.sa_handler = leave};
    sigaction(SIGBUS, &a, NULL);
    fault_elsewhere();
}

static void fault_with_a_handler_that_is_told_more(void)
{
    struct sigaction a = {.sa_sigaction = leave_knowing, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &a, NULL);
    fault_elsewhere();
}

static void what_is_not_ours_goes_on_as_it_would_have(void **state)
{
    (void)state;
    assert_int_equal(ends(fault_with_a_handler), 5);
    assert_int_equal(ends(fault_with_a_handler_that_is_told_more), 6);
    assert_int_equal(ends(signal_that_was_ignored), 7);
    assert_int_equal(ends(fault_that_was_ignored), -SIGBUS);
    assert_int_equal(ends(fault_elsewhere), -SIGBUS);
    assert_int_equal(ends(signal_from_somebody), -SIGBUS);
}

// ---- what is -----------------------------------------------------------------------------------

static void a_file_cut_short_reads_as_zeros_and_is_told(void **state)
{
    (void)state;
    struct err e = {0};
    struct mapped m, again;
    map_new(&m, "cut");
    assert_int_equal(sum(&m), WHOLE);
    assert_ok(mapped_check(&m, "cut", "", &e), &e);
    assert_int_equal(truncate(test_file("cut"), 10 * PAGE + 1), 0);
    errno = 99;
    assert_int_equal(((volatile uint8_t *)m.base)[(PAGES - 1) * PAGE], 0);
    assert_int_equal(errno, 99);
    check_lost(&m, "cut");
    assert_int_equal(sum(&m), 0); // all of it, at once
    check_lost(&m, "cut");
    mapped_close(&m);
    mapped_close(&m);
    map_new(&again, "cut"); // the same place in the table knows nothing of it
    assert_int_equal(sum(&again), WHOLE);
    assert_ok(mapped_check(&again, "cut", "", &e), &e);
    mapped_close(&again);
}

static void a_size_of_no_whole_pages_is_covered_to_its_last_page(void **state)
{
    (void)state;
    struct err e = {0};
    struct mapped m;
    int fd = file_new(test_file("odd"), 3);
    assert_int_equal(ftruncate(fd, 2 * PAGE + 1), 0);
    assert_ok(mapped_open(&m, fd, 2 * PAGE + 1, "odd", &e), &e);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(((volatile uint8_t *)m.base)[2 * PAGE], 0);
    check_lost(&m, "odd");
    mapped_close(&m);
    close(fd);
}

static void one_lost_mapping_leaves_the_others_alone(void **state)
{
    (void)state;
    struct err e = {0};
    struct mapped first, second, same;
    map_new(&first, "first");
    map_new(&second, "second");
    int fd = open(test_file("second"), O_RDONLY);
    assert_ok(mapped_open(&same, fd, PAGES * PAGE, "second", &e), &e);
    assert_int_equal(truncate(test_file("second"), 0), 0);
    assert_int_equal(sum(&second), 0);
    assert_int_equal(sum(&first), WHOLE);
    assert_ok(mapped_check(&first, "first", "", &e), &e);
    assert_ok(mapped_check(&same, "second", "", &e), &e); // nobody touched it yet
    check_lost(&second, "second");
    mapped_close(&second);
    assert_int_equal(sum(&same), 0);
    check_lost(&same, "second");
    assert_int_equal(sum(&first), WHOLE);
    mapped_close(&same);
    mapped_close(&first);
    close(fd);
}

static void *sum_without_signals(void *arg)
{
    static unsigned result;
    result = sum(arg);
    return &result;
}

// Threads are started so; the kernel kills a process for a fault whose signal is blocked.
static void a_thread_that_leaves_signals_to_others_survives(void **state)
{
    (void)state;
    struct mapped m;
    sigset_t before;
    pthread_t thread;
    void *result;
    map_new(&m, "blocked");
    assert_int_equal(truncate(test_file("blocked"), 0), 0);
    signals_block(&before);
    assert_int_equal(pthread_create(&thread, NULL, sum_without_signals, &m), 0);
    signals_restore(&before);
    pthread_join(thread, &result);
    assert_int_equal(*(unsigned *)result, 0);
    check_lost(&m, "blocked");
    mapped_close(&m);
}

// ---- many at once ------------------------------------------------------------------------------

enum { THREADS = 8, MAPPINGS = 5, ROUNDS = 30 };

struct crowd {
    struct mapped m[MAPPINGS];
    pthread_barrier_t start;
};

static void *read_them_all(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->start);
    for (int i = 0; i < MAPPINGS; i++)
        sum(&c->m[i]);
    return NULL;
}

struct others {
    int fd;
    atomic_bool ended;
};

// Maps and unmaps another file all the while.
static void *come_and_go(void *arg)
{
    struct others *o = arg;
    struct err e = {0};
    bool good = true;
    while (!atomic_load(&o->ended) && good) {
        struct mapped m;
        good = !mapped_open(&m, o->fd, PAGES * PAGE, "others", &e);
        good = good && sum(&m) == WHOLE && !mapped_check(&m, "others", "", &e);
        mapped_close(&m);
    }
    return good ? arg : NULL;
}

static void many_threads_fault_at_once_while_mappings_come_and_go(void **state)
{
    (void)state;
    struct err e = {0};
    struct crowd c;
    pthread_t threads[THREADS], other;
    struct others others = {.fd = file_new(test_file("others"), PAGES)};
    void *result;
    assert_int_equal(pthread_create(&other, NULL, come_and_go, &others), 0);
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(pthread_barrier_init(&c.start, NULL, THREADS + 1), 0);
        for (int i = 0; i < MAPPINGS; i++) {
            char name[20];
            snprintf(name, sizeof name, "crowd%d", i);
            map_new(&c.m[i], name);
        }
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_them_all, &c), 0);
        pthread_barrier_wait(&c.start);
        for (int i = 1; i < MAPPINGS; i += 2) { // while they read, before or after
            char name[20];
            snprintf(name, sizeof name, "crowd%d", i);
            assert_int_equal(truncate(test_file(name), round % 2 ? 0 : PAGES / 2 * PAGE), 0);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < MAPPINGS; i++) {
            bool cut = i % 2;
            if (cut)
                sum(&c.m[i]); // the readers may have been through before the cut
            assert_int_equal(sum(&c.m[i]), cut ? 0 : WHOLE);
            if (cut)
                check_lost(&c.m[i], "crowd");
            else
                assert_ok(mapped_check(&c.m[i], "crowd", "", &e), &e);
            mapped_close(&c.m[i]);
        }
        pthread_barrier_destroy(&c.start);
    }
    atomic_store(&others.ended, true);
    pthread_join(other, &result);
    assert_non_null(result);
    close(others.fd);
}

static void a_full_table_says_so_and_has_room_again(void **state)
{
    (void)state;
    struct err e = {0};
    struct mapped *m = calloc(MAPPED_MAX, sizeof *m), more;
    assert_non_null(m);
    int fd = file_new(test_file("many"), 1);
    for (int i = 0; i < MAPPED_MAX; i++)
        assert_ok(mapped_open(&m[i], fd, PAGE, "many", &e), &e);
    assert_int_equal(mapped_open(&more, fd, PAGE, "many", &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "4096 files are mapped already"));
    mapped_close(&m[77]);
    e = (struct err){0};
    assert_ok(mapped_open(&m[77], fd, PAGE, "many", &e), &e);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(*(volatile uint8_t *)m[77].base, 0);
    assert_int_equal(*(volatile uint8_t *)m[MAPPED_MAX - 1].base, 0);
    check_lost(&m[77], "many");
    check_lost(&m[MAPPED_MAX - 1], "many");
    assert_ok(mapped_check(&m[0], "many", "", &e), &e);
    for (int i = 0; i < MAPPED_MAX; i++)
        mapped_close(&m[i]);
    close(fd);
    free(m);
}

static void a_mapping_that_fails_leaves_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct mapped m;
    int fd = file_new(test_file("none"), 1);
    faulty_disk((struct disk_faults){.call = DISK_MAP, .error = ENOMEM});
    assert_int_equal(mapped_open(&m, fd, PAGE, "none", &e), ERR_NO_MEMORY);
    assert_true(faulty_disk_end());
    assert_non_null(strstr(e.text, "none: cannot be mapped into memory"));
    assert_ok(mapped_check(&m, "none", "", &e), &e);
    mapped_close(&m);
    close(fd);
}

// ---- stamps ------------------------------------------------------------------------------------

static char path[300];

// A file whose last write was long ago, and its stamp.
static int stamped_new(struct disk_stamp *s)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    snprintf(path, sizeof path, "%s", test_file("stamped"));
    int fd = file_new(path, 2);
    assert_int_equal(futimens(fd, long_ago), 0);
    assert_int_equal(stamp_take(s, fd), 0);
    assert_int_equal(s->bytes, 2 * PAGE);
    return fd;
}

static void check_changed(const struct disk_stamp *s, int fd, const char *how)
{
    struct err e = {0};
    assert_int_equal(stamp_check(s, fd, path, "start again", &e), ERR_FAILED);
    if (!strstr(e.text, how) || !strstr(e.text, path) || !strstr(e.text, "start again"))
        fail_msg("'%s' is not in: %s", how, e.text);
}

static void what_changes_a_file_changes_its_stamp(void **state)
{
    (void)state;
    struct disk_stamp s;
    int fd = stamped_new(&s);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    check_changed(&s, fd, "was changed while it was in use");
    close(fd);
    fd = stamped_new(&s);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    check_changed(&s, fd, "was cut short while it was in use, to 4096 of 8192 bytes");
    assert_int_equal(ftruncate(fd, 2 * PAGE), 0); // and grown again: it is zeros now
    check_changed(&s, fd, "was changed while it was in use");
    assert_int_equal(ftruncate(fd, 3 * PAGE), 0);
    check_changed(&s, fd, "was changed while it was in use");
    close(fd);
    fd = stamped_new(&s);
    faulty_disk((struct disk_faults){.call = DISK_STAMP, .error = EIO});
    check_changed(&s, fd, "can no longer be looked at");
    assert_true(faulty_disk_end());
    close(fd);
}

static void what_leaves_the_bytes_alone_leaves_the_stamp(void **state)
{
    (void)state;
    struct err e = {0};
    struct disk_stamp s;
    char other[320], byte;
    int fd = stamped_new(&s);
    snprintf(other, sizeof other, "%s.other", path);
    assert_int_equal(link(path, other), 0);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_ok(stamp_check(&s, fd, path, "", &e), &e);
    close(file_new(other, 1)); // in place: the same file
    check_changed(&s, fd, "cut short");
    close(fd);
    unlink(other);
    fd = stamped_new(&s);
    close(file_new(other, 1));
    assert_int_equal(rename(other, path), 0); // another file under its name
    assert_ok(stamp_check(&s, fd, path, "", &e), &e);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_ours_goes_on_as_it_would_have),
        cmocka_unit_test(a_file_cut_short_reads_as_zeros_and_is_told),
        cmocka_unit_test(a_size_of_no_whole_pages_is_covered_to_its_last_page),
        cmocka_unit_test(one_lost_mapping_leaves_the_others_alone),
        cmocka_unit_test(a_thread_that_leaves_signals_to_others_survives),
        cmocka_unit_test(many_threads_fault_at_once_while_mappings_come_and_go),
        cmocka_unit_test(a_full_table_says_so_and_has_room_again),
        cmocka_unit_test(a_mapping_that_fails_leaves_nothing),
        cmocka_unit_test(what_changes_a_file_changes_its_stamp),
        cmocka_unit_test(what_leaves_the_bytes_alone_leaves_the_stamp),
    };
    return cmocka_run_group_tests_name("mapped", tests, NULL, NULL);
}
