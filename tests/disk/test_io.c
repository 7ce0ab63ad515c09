// The disk: whole reads and writes over calls that stop early, and the table that tests swap.
#include "support.h"

#include "disk/io.h"
#include "faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static const char text[] = "the quick brown fox jumps over the lazy dog";

static int open_new(const char *name)
{
    int fd = disk_io->open(test_file(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void written_bytes_come_back_through_every_kind_of_short_call(void **state)
{
    (void)state;
    for (size_t most = 0; most < 9; most++)
        for (int interrupt = 0; interrupt < 2; interrupt++) {
            char back[sizeof text] = {0};
            int fd = open_new("short");
            faulty_disk((struct disk_faults){.most = most, .interrupt = interrupt});
            assert_int_equal(disk_write_full(fd, text, sizeof text, 100), 0);
            assert_int_equal(disk_read_full(fd, back, sizeof back, 100), 0);
            long least = most ? (long)(sizeof text / most) : 1;
            assert_true(faulty_disk_calls(DISK_PREAD) >= least + interrupt);
            faulty_disk_end();
            assert_memory_equal(text, back, sizeof text);
            assert_int_equal(disk_io->size(fd), 100 + sizeof text);
            disk_io->close(fd);
        }
}

static void the_end_of_a_file_is_told_from_an_error(void **state)
{
    (void)state;
    char back[sizeof text];
    int fd = open_new("end");
    assert_int_equal(disk_write_full(fd, text, sizeof text, 0), 0);
    errno = 7;
    assert_int_equal(disk_read_full(fd, back, sizeof text, 1), -1);
    assert_int_equal(errno, 0);
    disk_io->close(fd);
    assert_int_equal(disk_read_full(fd, back, 1, 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(disk_read_full(fd, back, 0, 0), 0); // nothing wanted: nothing called
}

static void the_nth_call_fails_and_no_other(void **state)
{
    (void)state;
    char back[sizeof text];
    int fd = open_new("nth");
    long n = 0;
    for (;; n++) {
        faulty_disk((struct disk_faults){.call = DISK_PREAD, .nth = n, .error = EIO, .most = 10});
        int rc = disk_write_full(fd, text, sizeof text, 0);
        assert_int_equal(rc, 0);
        errno = 0;
        rc = disk_read_full(fd, back, sizeof text, 0);
        int error = errno;
        if (!faulty_disk_end())
            break;
        assert_int_equal(rc, -1);
        assert_int_equal(error, EIO);
    }
    assert_int_equal(n, (sizeof text + 9) / 10);
    assert_memory_equal(text, back, sizeof text);
    disk_io->close(fd);
}

static void a_full_disk_takes_what_fits(void **state)
{
    (void)state;
    char back[5];
    int fd = open_new("full");
    faulty_disk((struct disk_faults){.full = true, .room = 5});
    assert_int_equal(disk_write_full(fd, text, sizeof text, 0), -1);
    assert_int_equal(errno, ENOSPC);
    assert_true(faulty_disk_end());
    assert_int_equal(disk_io->size(fd), 5);
    assert_int_equal(disk_read_full(fd, back, 5, 0), 0);
    assert_memory_equal(back, text, 5);
    disk_io->close(fd);
}

static void a_map_shows_the_file(void **state)
{
    (void)state;
    int fd = open_new("map");
    assert_int_equal(disk_write_full(fd, text, sizeof text, 4096), 0);
    char *p = disk_io->map(fd, sizeof text, 4096);
    assert_non_null(p);
    assert_memory_equal(p, text, sizeof text);
    assert_int_equal(disk_io->advise(p, sizeof text, MADV_WILLNEED), 0);
    assert_int_equal(disk_io->unmap(p, sizeof text), 0);
    assert_null(disk_io->map(fd, sizeof text, 1)); // not a page
    assert_int_equal(errno, EINVAL);
    disk_io->close(fd);
}

static void files_are_renamed_and_removed(void **state)
{
    (void)state;
    int fd = open_new("old");
    assert_int_equal(disk_io->fsync(fd), 0);
    disk_io->close(fd);
    assert_int_equal(disk_io->rename(test_file("old"), test_file("new")), 0);
    assert_int_equal(disk_io->unlink(test_file("old")), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(disk_io->unlink(test_file("new")), 0);
    assert_int_equal(disk_io->open(test_file("new"), O_RDONLY, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_bytes_come_back_through_every_kind_of_short_call),
        cmocka_unit_test(the_end_of_a_file_is_told_from_an_error),
        cmocka_unit_test(the_nth_call_fails_and_no_other),
        cmocka_unit_test(a_full_disk_takes_what_fits),
        cmocka_unit_test(a_map_shows_the_file),
        cmocka_unit_test(files_are_renamed_and_removed),
    };
    return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
