// Fetching a file from servers that drop, stall, lie, redirect, change the file or die: what comes
// out is the right file under its name, or a sentence and no file under that name.
#include "support.h"

#include "faulty_disk.h"
#include "gguf/writer.h"
#include "hub/fetch.h"
#include "hub/fetch_part.h"
#include "web_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 300, WIDTH = 1024, CHUNK = 100000 };

static uint8_t *model; // a GGUF file in memory
static size_t model_size;

static int make_model(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct err e = {0};
    char path[256];
    float row[WIDTH];
    snprintf(path, sizeof path, "%s", test_file("served.gguf"));
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_declare(w, "x", WT_F32, 2, (uint64_t[]){WIDTH, ROWS});
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < WIDTH; k++)
            row[k] = (float)(i * WIDTH + k);
        gguf_write(w, row, sizeof row);
    }
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    model = test_read(path, &model_size);
    return 0;
}

static int free_model(void **state)
{
    (void)state;
    free(model);
    return 0;
}

static struct web serve(void (*answer)(struct web *, int, const char *))
{
    return (struct web){.answer = answer, .data = model, .size = model_size};
}

static struct fetch fetching(const char *url, const char *path)
{
    unlink(path);
    return (struct fetch){.url = url,
                          .path = path,
                          .n_connections = 4,
                          .chunk = CHUNK,
                          .how = {.stall_s = 1, .backoff_ms = 1}};
}

static void assert_file(const char *path)
{
    size_t size;
    uint8_t *data = test_read(path, &size);
    assert_int_equal(size, model_size);
    assert_memory_equal(data, model, size);
    free(data);
}

static void assert_nothing(const char *path)
{
    assert_int_equal(access(path, F_OK), -1);
}

// From a server of `answer`, the file comes out right.
static struct fetched get_right(void (*answer)(struct web *, int, const char *))
{
    struct web w = serve(answer);
    struct err e = {0};
    struct fetched got;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("right.gguf"));
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_file(f.path);
    web_stop(&w);
    return got;
}

// ... there is a sentence with `part` in it, and no file.
static void get_wrong(void (*answer)(struct web *, int, const char *), int code, const char *part)
{
    struct web w = serve(answer);
    struct err e = {0};
    struct fetched got;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("wrong.gguf"));
    assert_int_equal(fetch_file(&f, &got, &e), code);
    if (!strstr(e.text, part))
        fail_msg("'%s' is not in '%s'", part, e.text);
    assert_nothing(f.path);
    web_stop(&w);
}

static void ranges_come_in_parallel_and_once_each(void **state)
{
    (void)state;
    struct web w = serve(web_answer_well);
    struct err e = {0};
    struct fetched got;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("a/b/right.gguf"));
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_file(f.path);
    assert_true(got.moved == model_size && got.size == model_size && !got.verified);
    assert_int_equal(atomic_load(&w.n_asked), model_size);
    assert_int_equal(atomic_load(&w.n_requests), (model_size + CHUNK - 1) / CHUNK);
    assert_nothing(test_file("a/b/right.gguf.part"));
    assert_nothing(test_file("a/b/right.gguf.part.json"));
    web_stop(&w);
}

static void absent(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
}

static void what_is_not_there_leaves_no_folders(void **state)
{
    (void)state;
    struct web w = serve(absent);
    struct err e = {0};
    struct fetched got;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("x/y/z.gguf"));
    assert_int_equal(fetch_file(&f, &got, &e), ERR_FAILED);
    assert_nothing(test_file("x"));
    assert_int_equal(access(test_folder(), F_OK), 0);
    web_stop(&w);
}

static void no_ranges(struct web *w, int fd, const char *request)
{
    (void)request;
    web_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", w->size);
    web_send(fd, w->data, w->size);
}

static void no_length(struct web *w, int fd, const char *request)
{
    (void)request;
    web_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    web_send(fd, w->data, w->size);
}

static void dropping(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    assert_true(web_range(w, request, &lo, &hi));
    web_say(fd,
            "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n"
            "ETag: \"x\"\r\n\r\n",
            lo, hi - 1, w->size, hi - lo);
    web_send(fd, w->data + lo, hi - lo > 70000 ? 70000 : hi - lo);
}

static void stalling(struct web *w, int fd, const char *request)
{
    char byte;
    if (atomic_load(&w->n_requests) != 2) {
        web_answer_well(w, fd, request);
        return;
    }
    size_t lo, hi;
    web_range(w, request, &lo, &hi);
    web_say(fd, "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nETag: \"one\"\r\n\r\n", lo,
            hi - 1, w->size);
    web_send(fd, w->data + lo, 1000);
    while (read(fd, &byte, 1) > 0) // until the other side has had enough
        ;
}

static void busy_at_first(struct web *w, int fd, const char *request)
{
    static const int statuses[] = {0, 503, 429, 500};
    int n = atomic_load(&w->n_requests);
    if (n <= 3)
        web_say(fd, "HTTP/1.1 %d Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nbusy",
                statuses[n]);
    else
        web_answer_well(w, fd, request);
}

static void servers_with_weaknesses_still_give_the_file(void **state)
{
    (void)state;
    assert_int_equal(get_right(no_ranges).size, model_size);
    assert_int_equal(get_right(no_length).size, model_size);
    assert_int_equal(get_right(dropping).moved, model_size); // nothing twice
    get_right(stalling);
    get_right(busy_at_first);
}

static void wrong_part(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    web_range(w, request, &lo, &hi);
    web_say(fd, "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n", lo + 1, hi - 1,
            w->size);
    web_send(fd, w->data + lo, hi - lo);
}

static void too_much(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    web_range(w, request, &lo, &hi);
    web_say(fd, "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n", lo, lo + 99, w->size);
    web_send(fd, w->data + lo, hi - lo);
}

static void two_lengths(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    web_range(w, request, &lo, &hi);
    web_say(fd, "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: 7\r\n\r\n",
            lo, hi - 1, w->size);
    web_send(fd, w->data + lo, hi - lo);
}

static void html(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>log in");
}

static void other_file(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nversion https://git-lfs.co");
}

static void denied(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
}

static void wait_an_hour(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 429 No\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n");
}

static void in_circles(struct web *w, int fd, const char *request)
{
    web_say(fd, "HTTP/1.1 302 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
            strstr(request, "GET /m") ? "/n.gguf" : web_url(w, "/m.gguf"));
}

static void to_a_file(struct web *w, int fd, const char *request)
{
    (void)w, (void)request;
    web_say(fd, "HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
}

static void changing(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    web_range(w, request, &lo, &hi);
    web_say(fd,
            "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nETag: \"%d\"\r\n"
            "Content-Length: %zu\r\n\r\n",
            lo, hi - 1, w->size, atomic_load(&w->n_requests), hi - lo);
    web_send(fd, w->data + lo, hi - lo);
}

static void cut_short(struct web *w, int fd, const char *request)
{
    (void)request;
    web_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
    web_send(fd, w->data, 50); // it ends within its header
}

static void servers_that_lie_leave_no_file(void **state)
{
    (void)state;
    get_wrong(wrong_part, ERR_FAILED, "another part");
    get_wrong(too_much, ERR_FAILED, "more than it said");
    get_wrong(two_lengths, ERR_FAILED, "contradicts itself");
    get_wrong(html, ERR_FAILED, "web page");
    get_wrong(other_file, ERR_FAILED, "begins with 'version https://git-lfs");
    get_wrong(denied, ERR_DENIED, "HF_TOKEN");
    get_wrong(absent, ERR_FAILED, "not there");
    get_wrong(wait_an_hour, ERR_UNREACHABLE, "try again later");
    get_wrong(in_circles, ERR_FAILED, "again and again");
    get_wrong(to_a_file, ERR_DENIED, "protection");
    get_wrong(changing, ERR_FAILED, "changes on the server");
    get_wrong(cut_short, ERR_FAILED, "cut short");
}

static void changes_once(struct web *w, int fd, const char *request)
{
    static uint8_t old[1 << 21];
    size_t lo, hi;
    bool range = web_range(w, request, &lo, &hi), fresh = atomic_load(&w->n_requests) > 3;
    if (fresh && strstr(request, "If-Range: \"old\"")) { // as the standard has it
        range = false;
        lo = 0;
        hi = w->size;
    }
    memcpy(old, w->data, 4096); // another file of the same shape
    web_say(fd, "HTTP/1.1 %d P\r\nETag: \"%s\"\r\nContent-Length: %zu\r\n", range ? 206 : 200,
            fresh ? "new" : "old", hi - lo);
    if (range)
        web_say(fd, "Content-Range: bytes %zu-%zu/%zu\r\n", lo, hi - 1, w->size);
    web_say(fd, "\r\n");
    web_send(fd, fresh ? w->data + lo : old + lo, hi - lo);
}

static void a_file_that_changes_on_the_way_comes_out_as_the_new_one(void **state)
{
    (void)state;
    get_right(changes_once);
}

static bool stop_halfway(void *arg, enum fetch_phase phase, uint64_t done, uint64_t total)
{
    (void)arg, (void)phase;
    return !total || done < total / 2;
}

static void slowly(struct web *w, int fd, const char *request)
{
    usleep(20000);
    web_answer_well(w, fd, request);
}

static void after_an_interruption_only_the_rest_is_fetched(void **state)
{
    (void)state;
    struct web w = serve(slowly);
    struct err e = {0};
    struct fetched first, second;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("rest.gguf"));
    f.told = stop_halfway;
    assert_true(fetch_file(&f, &first, &e) < 0);
    assert_non_null(strstr(e.text, "interrupted"));
    assert_nothing(f.path);
    assert_true(first.moved >= model_size / 2 && first.moved < model_size);
    f.told = NULL;
    e = (struct err){0};
    while (atomic_load(&w.n_running)) // what was asked for in the first run is counted there
        usleep(1000);
    atomic_store(&w.n_asked, 0);
    assert_ok(fetch_file(&f, &second, &e), &e);
    assert_file(f.path);
    assert_int_equal(first.moved + second.moved, model_size);
    assert_int_equal(atomic_load(&w.n_asked), second.moved);
    web_stop(&w);
}

static void dripping(struct web *w, int fd, const char *request)
{
    size_t lo, hi;
    if (!web_range(w, request, &lo, &hi))
        return;
    web_say(fd,
            "HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n"
            "ETag: \"x\"\r\n\r\n",
            lo, hi - 1, w->size, hi - lo);
    for (size_t n; lo < hi; lo += n) {
        n = hi - lo < 10000 ? hi - lo : 10000;
        if (!web_send(fd, w->data + lo, n))
            return;
        usleep(w->arg ? 0 : 200000);
    }
}

static void after_kill_9_what_was_saved_is_not_fetched_again(void **state)
{
    (void)state;
    struct web w = serve(dripping);
    struct err e = {0};
    struct fetched got;
    int status;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("killed.gguf"));
    char saved[256];
    snprintf(saved, sizeof saved, "%s.part.json", f.path);
    pid_t child = fork();
    if (!child) {
        fetch_file(&f, &got, &e);
        _exit(0); // too fast to be killed: the file below is there then
    }
    for (int i = 0; i < 1000 && access(saved, F_OK); i++)
        usleep(10000);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_nothing(f.path);
    assert_int_equal(access(saved, F_OK), 0);
    w.arg = &w; // fast now
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_file(f.path);
    assert_true(got.moved > 0 && got.moved < model_size);
    web_stop(&w);
}

static void a_wrong_digest_leaves_no_file_and_a_right_one_verifies(void **state)
{
    (void)state;
    struct web w = serve(web_answer_well);
    struct err e = {0};
    struct fetched got;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("digest.gguf"));
    f.has_digest = true;
    f.digest = digest_of("something else", 14);
    assert_int_equal(fetch_file(&f, &got, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "SHA-256"));
    assert_nothing(f.path);
    e = (struct err){0};
    f.digest = digest_of(model, model_size);
    f.size = model_size;
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_true(got.verified);
    assert_int_equal(got.moved, model_size); // nothing of the wrong one was kept

    e = (struct err){0};
    f.size = model_size + 1;
    assert_int_equal(unlink(f.path), 0);
    assert_int_equal(fetch_file(&f, &got, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "should have"));
    web_stop(&w);
}

static void note_token(struct web *w, int fd, const char *request)
{
    if (strstr(request, "Bearer s3cret"))
        atomic_store((atomic_int *)w->arg, 1);
    web_answer_well(w, fd, request);
}

static void to_other_host(struct web *w, int fd, const char *request)
{
    struct web *other = w->arg;
    assert_non_null(strstr(request, "Authorization: Bearer s3cret\r\n"));
    web_say(fd,
            "HTTP/1.1 302 Go\r\nLocation: %s\r\nX-Linked-Size: %zu\r\nContent-Length: 0\r\n\r\n",
            web_url(other, "/blob"), w->size);
}

static void the_token_stays_with_its_host(void **state)
{
    (void)state;
    atomic_int seen = 0;
    struct web other = serve(note_token), hub = serve(to_other_host);
    struct err e = {0};
    struct fetched got;
    other.arg = &seen;
    hub.arg = &other;
    web_start(&other);
    web_start(&hub);
    struct fetch f = fetching(web_url(&hub, "/m.gguf"), test_file("token.gguf"));
    f.how.token = "s3cret";
    f.how.token_for = web_url(&hub, "");
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_file(f.path);
    assert_int_equal(seen, 0);
    assert_int_equal(atomic_load(&hub.n_requests), 1); // where it leads is remembered
    web_stop(&hub);

    f.url = web_url(&other, "/m.gguf"); // at home it is sent
    f.how.token_for = web_url(&other, "");
    unlink(f.path);
    assert_ok(fetch_file(&f, &got, &e), &e);
    assert_int_equal(seen, 1);
    web_stop(&other);
}

static void a_full_disk_is_a_sentence_and_what_came_is_kept(void **state)
{
    (void)state;
    struct web w = serve(web_answer_well);
    struct err e = {0};
    struct fetched first, second;
    web_start(&w);
    struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("full.gguf"));
    faulty_disk((struct disk_faults){.full = true, .room = (int64_t)model_size / 2});
    int rc = fetch_file(&f, &first, &e);
    assert_true(faulty_disk_end());
    assert_int_equal(rc, ERR_FAILED);
    assert_non_null(strstr(e.text, "No space left"));
    assert_nothing(f.path);
    e = (struct err){0};
    assert_ok(fetch_file(&f, &second, &e), &e);
    assert_file(f.path);
    web_stop(&w);
}

static void wherever_the_disk_fails_no_wrong_file_appears(void **state)
{
    (void)state;
    static const enum disk_call calls[] = {DISK_OPEN, DISK_PREAD, DISK_PWRITE, DISK_RENAME,
                                           DISK_FSYNC};
    struct web w = serve(web_answer_well);
    web_start(&w);
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        for (long nth = 0;; nth++) {
            struct err e = {0};
            struct fetched got;
            struct fetch f = fetching(web_url(&w, "/m.gguf"), test_file("disk.gguf"));
            f.chunk = model_size; // few calls
            f.n_connections = 1;
            faulty_disk((struct disk_faults){.call = calls[c], .nth = nth, .error = EIO});
            int rc = fetch_file(&f, &got, &e);
            bool happened = faulty_disk_end();
            if (!rc)
                assert_file(f.path);
            else
                assert_nothing(f.path);
            assert_true(!rc || e.text[0]);
            if (!happened || nth > 40)
                break;
        }
    }
    web_stop(&w);
}

static void two_downloads_of_one_file_do_not_meet(void **state)
{
    (void)state;
    struct fetch_part a, b;
    struct err e = {0};
    const char *path = test_file("locked.gguf");
    assert_ok(fetch_part_open(&a, path, &e), &e);
    assert_int_equal(fetch_part_open(&b, path, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "another rondo"));
    fetch_part_close(&a);
    e = (struct err){0};
    assert_ok(fetch_part_open(&b, path, &e), &e);
    fetch_part_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_come_in_parallel_and_once_each),
        cmocka_unit_test(what_is_not_there_leaves_no_folders),
        cmocka_unit_test(servers_with_weaknesses_still_give_the_file),
        cmocka_unit_test(servers_that_lie_leave_no_file),
        cmocka_unit_test(a_file_that_changes_on_the_way_comes_out_as_the_new_one),
        cmocka_unit_test(after_an_interruption_only_the_rest_is_fetched),
        cmocka_unit_test(after_kill_9_what_was_saved_is_not_fetched_again),
        cmocka_unit_test(a_wrong_digest_leaves_no_file_and_a_right_one_verifies),
        cmocka_unit_test(the_token_stays_with_its_host),
        cmocka_unit_test(a_full_disk_is_a_sentence_and_what_came_is_kept),
        cmocka_unit_test(wherever_the_disk_fails_no_wrong_file_appears),
        cmocka_unit_test(two_downloads_of_one_file_do_not_meet),
    };
    return cmocka_run_group_tests(tests, make_model, free_model);
}
