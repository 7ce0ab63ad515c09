// The node's key on disk: made once, kept private, refused when it was not.
#include "support.h"

#include "cluster/identity.h"
#include "faulty_disk.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A new, empty state folder; static storage.
static const char *fresh(const char *name)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    assert_int_equal(mkdir(folder, 0700), 0);
    return folder;
}

static unsigned mode_of(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_mode & 07777;
}

static int files_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

static struct digest opened(const char *folder)
{
    struct tls_identity *id;
    struct err e = {0};
    assert_ok(identity_open(&id, folder, &e), &e);
    struct digest d = tls_identity_digest(id);
    tls_identity_free(id);
    return d;
}

static void a_node_stays_the_same(void **state)
{
    const char *folder = fresh("same");
    char path[4200];
    (void)state;
    mode_t before = umask(0);
    struct digest first = opened(folder);
    umask(before);
    snprintf(path, sizeof path, "%s/identity.pem", folder);
    assert_int_equal(mode_of(path), 0600); // whatever the umask is
    struct digest second = opened(folder);
    assert_memory_equal(first.bytes, second.bytes, DIGEST_BYTES);
    assert_int_equal(files_in(folder), 1);
    struct digest other = opened(fresh("other"));
    assert_memory_not_equal(first.bytes, other.bytes, DIGEST_BYTES);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
    const char *folder = fresh("open");
    const unsigned modes[] = {0604, 0640, 0660, 0666, 0602, 0620};
    char path[4200];
    (void)state;
    opened(folder);
    snprintf(path, sizeof path, "%s/identity.pem", folder);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct tls_identity *id;
        struct err e = {0};
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(identity_open(&id, folder, &e), ERR_DENIED);
        assert_null(id);
        assert_non_null(strstr(e.text, "chmod 600"));
    }
    assert_int_equal(chmod(path, 0600), 0);
    opened(folder);
}

static void a_folder_that_others_may_change_is_refused(void **state)
{
    const char *folder = fresh("loose");
    struct tls_identity *id;
    struct err e = {0};
    (void)state;
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(identity_open(&id, folder, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "chmod 700"));
    assert_int_equal(files_in(folder), 0);
}

static void a_link_in_place_of_the_key_is_refused(void **state)
{
    const char *folder = fresh("linked");
    char path[4200];
    struct tls_identity *id;
    struct err e = {0};
    (void)state;
    snprintf(path, sizeof path, "%s/identity.pem", folder);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(identity_open(&id, folder, &e), ERR_DENIED);
}

static void a_damaged_key_is_one_sentence(void **state)
{
    const char *folder = fresh("damaged");
    char path[4200];
    size_t size;
    (void)state;
    opened(folder);
    snprintf(path, sizeof path, "%s/identity.pem", folder);
    uint8_t *pem = test_read(path, &size);
    for (size_t n = 0; n < size - 5; n += 71) {
        struct tls_identity *id;
        struct err e = {0};
        test_write(path, pem, n);
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(identity_open(&id, folder, &e), ERR_FAILED);
        assert_non_null(strstr(e.text, "identity.pem"));
    }
    free(pem);
    char large[TLS_PEM_MAX + 10] = {0};
    test_write(path, large, sizeof large);
    struct tls_identity *id;
    assert_int_equal(identity_open(&id, folder, NULL), ERR_FAILED);
}

static void *open_one(void *folder)
{
    struct digest *d = malloc(sizeof *d);
    *d = opened(folder);
    return d;
}

static void nodes_that_start_at_once_agree_on_one_key(void **state)
{
    const char *folder = fresh("race");
    pthread_t threads[8];
    struct digest *d[8];
    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_one, (void *)(uintptr_t)folder), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], (void **)&d[i]);
    for (int i = 0; i < 8; i++) {
        assert_memory_equal(d[i]->bytes, d[0]->bytes, DIGEST_BYTES);
        if (i)
            free(d[i]);
    }
    free(d[0]);
    assert_int_equal(files_in(folder), 1);
}

static void a_disk_that_fails_leaves_no_half_of_a_key(void **state)
{
    const enum disk_call calls[] = {DISK_OPEN, DISK_PREAD, DISK_PWRITE, DISK_FSYNC};
    (void)state;
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++)
        for (long n = 0;; n++) {
            char name[32];
            snprintf(name, sizeof name, "fails-%zu-%ld", k, n);
            const char *folder = fresh(name);
            struct tls_identity *id;
            struct err e = {0};
            faulty_disk((struct disk_faults){.call = calls[k], .nth = n, .error = ENOSPC});
            int rc = identity_open(&id, folder, &e);
            if (!faulty_disk_end()) {
                assert_ok(rc, &e);
                tls_identity_free(id);
                break;
            }
            assert_true(rc < 0);
            assert_null(id);
            assert_true(files_in(folder) <= 1); // the whole key, or nothing
            opened(folder);
        }
}

static void the_folder_is_where_the_user_keeps_state(void **state)
{
    char folder[IDENTITY_PATH], expected[4200];
    const char *base = fresh("home");
    struct err e = {0};
    (void)state;
    unsetenv("RONDO_STATE");
    setenv("XDG_STATE_HOME", base, 1);
    assert_ok(identity_folder(folder, &e), &e);
    snprintf(expected, sizeof expected, "%s/rondo", base);
    assert_string_equal(folder, expected);
    assert_int_equal(mode_of(folder), 0700);
    setenv("XDG_STATE_HOME", "relative", 1); // to be ignored, says the specification
    setenv("HOME", base, 1);
    assert_ok(identity_folder(folder, &e), &e);
    snprintf(expected, sizeof expected, "%s/.local/state/rondo", base);
    assert_string_equal(folder, expected);
    assert_int_equal(mode_of(folder), 0700);
    snprintf(expected, sizeof expected, "%s/deep/er", base);
    setenv("RONDO_STATE", expected, 1);
    assert_ok(identity_folder(folder, &e), &e);
    assert_string_equal(folder, expected);
    unsetenv("RONDO_STATE");
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "", 1);
    assert_int_equal(identity_folder(folder, &e), ERR_USAGE);
}

static void a_machine_has_a_name(void **state)
{
    char name[32];
    (void)state;
    identity_name(name, sizeof name);
    assert_true(strlen(name) > 0 && strlen(name) < sizeof name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_stays_the_same),
        cmocka_unit_test(a_key_that_others_may_read_is_refused),
        cmocka_unit_test(a_folder_that_others_may_change_is_refused),
        cmocka_unit_test(a_link_in_place_of_the_key_is_refused),
        cmocka_unit_test(a_damaged_key_is_one_sentence),
        cmocka_unit_test(nodes_that_start_at_once_agree_on_one_key),
        cmocka_unit_test(a_disk_that_fails_leaves_no_half_of_a_key),
        cmocka_unit_test(the_folder_is_where_the_user_keeps_state),
        cmocka_unit_test(a_machine_has_a_name),
    };
    return cmocka_run_group_tests_name("cluster/identity", tests, NULL, NULL);
}
