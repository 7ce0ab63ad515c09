// The file of lines that were typed: what goes in comes out, in every state that the file may be
// in.
#include "support.h"

#include "app/line_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct entries {
    size_t n;
    char *first, *last;
};

static void take(void *arg, const char *entry)
{
    struct entries *s = arg;
    if (!s->n++)
        s->first = strdup(entry);
    free(s->last);
    s->last = strdup(entry);
}

static struct entries load(const char *path)
{
    struct entries s = {0};
    struct err e = {0};
    assert_ok(line_history_load(path, take, &s, &e), &e);
    return s;
}

static void entries_free(struct entries *s)
{
    free(s->first);
    free(s->last);
    *s = (struct entries){0};
}

static void an_entry_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static const char *const texts[] = {"a",  "two\nlines", "back\\slash \\n",
                                        "\\", "",           "\xc3\xa9\t\x01"};
    const char *path = test_file("entries");
    struct err e = {0};
    struct stat s;
    struct entries got = load(path); // not there yet
    assert_int_equal(got.n, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_ok(line_history_add(path, texts[i], &e), &e);
        got = load(path);
        assert_int_equal(got.n, i + 1);
        assert_string_equal(got.first, texts[0]);
        assert_string_equal(got.last, texts[i]);
        entries_free(&got);
    }
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
}

static void a_long_history_is_cut_to_its_newest_entries(void **state)
{
    (void)state;
    const char *path = test_file("long");
    FILE *f = fopen(path, "w");
    for (int i = 0; i < LINE_HISTORY_MAX_ENTRIES + 50; i++)
        fprintf(f, "entry %d\n", i);
    fclose(f);
    for (int i = 0; i < 2; i++) { // the second time the file is shorter already
        struct entries got = load(path);
        assert_int_equal(got.n, LINE_HISTORY_MAX_ENTRIES);
        assert_string_equal(got.first, "entry 50");
        assert_string_equal(got.last, "entry 1049");
        entries_free(&got);
    }
    size_t size;
    char *text = (char *)test_read(path, &size);
    assert_memory_equal(text, "entry 50\n", 9);
    free(text);
}

static void large_and_broken_files_give_what_is_whole(void **state)
{
    (void)state;
    const char *path = test_file("large");
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < LINE_HISTORY_MAX_BYTES / 2; k++)
            fputc('a' + i, f);
        fputc('\n', f);
    }
    fclose(f);
    struct entries got = load(path); // an entry that is cut is none
    assert_int_equal(got.n, 1);
    assert_int_equal(got.first[0], 'c');
    entries_free(&got);
    test_write(path, "whole\nhalf\\", 11); // a program ended while it wrote
    got = load(path);
    assert_int_equal(got.n, 1);
    assert_string_equal(got.last, "whole");
    entries_free(&got);
    struct err e = {0};
    assert_true(line_history_load(test_folder(), take, &got, &e) < 0);
    assert_true(line_history_add(test_folder(), "x", &e) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_out_as_it_went_in),
        cmocka_unit_test(a_long_history_is_cut_to_its_newest_entries),
        cmocka_unit_test(large_and_broken_files_give_what_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
