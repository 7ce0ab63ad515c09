// How fast a file comes from the disk: every way that is there has a figure, what is refused has
// none, and what others keep in the page cache stays there.
#include "support.h"

#include "disk/io.h"
#include "faulty_disk.h"
#include "measure/disk_rate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

enum { BYTES = (9 << 20) + 12345, PAGES = BYTES / 4096 + 1, BRIEFLY = 20000000 };

static int open_file(bool cached)
{
    static uint8_t block[1 << 16];
    const char *path = test_file("rate");
    int fd = disk_io->open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (int64_t at = 0; at < BYTES; at += (int64_t)sizeof block) {
        size_t n = BYTES - at < (int64_t)sizeof block ? (size_t)(BYTES - at) : sizeof block;
        assert_int_equal(disk_write_full(fd, block, n, at), 0);
    }
    if (!cached) {
        assert_int_equal(disk_io->fsync(fd), 0);
        assert_int_equal(disk_io->drop(fd, 0, 0), 0);
    }
    return fd;
}

static int count_cached(int fd)
{
    static unsigned char resident[PAGES];
    int n = 0;
    void *map = disk_io->map(fd, BYTES, 0);
    assert_non_null(map);
    assert_int_equal(mincore(map, BYTES, resident), 0);
    for (int i = 0; i < PAGES; i++)
        n += resident[i] & 1;
    disk_io->unmap(map, BYTES);
    return n;
}

static bool in_memory(int fd)
{
    struct statfs fs;
    return !fstatfs(fd, &fs) && fs.f_type == 0x01021994;
}

static void ways_that_are_there_have_figures(void **state)
{
    (void)state;
    struct disk_rate rate;
    struct err e = {0};
    int fd = open_file(false);
    bool cold = !in_memory(fd);
    assert_ok(disk_rate_measure(&rate, fd, BYTES, BRIEFLY, &e), &e);
    disk_io->close(fd);
    for (int i = 0; i < READER_KINDS; i++) {
        const struct disk_way *w = &rate.ways[i];
        assert_true(*w->how);
        assert_int_equal(w->measured, w->bytes > 0);
        assert_int_equal(w->measured, w->gbps > 0 && w->cpu_s_per_gb > 0);
        assert_true(!w->measured || w->bytes >= (i == READER_BUFFERED ? 1 : BYTES));
    }
    assert_true(!cold || rate.ways[rate.chosen].measured);
    assert_true(!cold || rate.ways[READER_BUFFERED].measured);
}

static void a_way_that_is_refused_has_none(void **state)
{
    (void)state;
    struct disk_rate rate;
    struct err e = {0};
    int fd = open_file(false);
    faulty_disk((struct disk_faults){.no_direct = true});
    int rc = disk_rate_measure(&rate, fd, BYTES, BRIEFLY, &e);
    faulty_disk_end();
    disk_io->close(fd);
    assert_ok(rc, &e);
    assert_int_equal(rate.chosen, READER_BUFFERED);
    assert_false(rate.ways[READER_URING].measured || rate.ways[READER_DIRECT].measured);
    assert_string_equal(rate.ways[READER_URING].how, "not to be had here");
}

static void what_is_in_the_page_cache_stays_there(void **state)
{
    (void)state;
    struct disk_rate rate;
    struct err e = {0};
    int fd = open_file(true), before = count_cached(fd);
    assert_ok(disk_rate_measure(&rate, fd, BYTES, BRIEFLY, &e), &e);
    assert_int_equal(before, PAGES);
    assert_int_equal(count_cached(fd), before);
    assert_false(rate.ways[READER_BUFFERED].measured);
    assert_string_equal(rate.ways[READER_BUFFERED].how, "the page cache holds the file");
    disk_io->close(fd);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct disk_rate rate;
    struct err e = {0};
    int fd = open_file(false);
    assert_int_equal(disk_rate_measure(&rate, fd, 0, BRIEFLY, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "is empty"));
    e = (struct err){0};
    assert_int_equal(disk_rate_measure(&rate, fd, BYTES + (64 << 20), BRIEFLY, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "became shorter"));
    e = (struct err){0};
    faulty_disk(
        (struct disk_faults){.call = DISK_PREAD, .error = EIO, .no_direct = true, .onwards = true});
    int rc = disk_rate_measure(&rate, fd, BYTES, BRIEFLY, &e);
    faulty_disk_end();
    assert_true(rc == ERR_FAILED || in_memory(fd));
    assert_true(!rc || strstr(e.text, "Input/output error"));
    disk_io->close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_that_are_there_have_figures),
        cmocka_unit_test(a_way_that_is_refused_has_none),
        cmocka_unit_test(what_is_in_the_page_cache_stays_there),
        cmocka_unit_test(what_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests_name("disk_rate", tests, NULL, NULL);
}
