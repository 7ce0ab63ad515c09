// Heads of answers, states of downloads, names, lists of files: what is read right, what is
// refused.
#include "support.h"

#include "hub/http_head.h"
#include "hub/listing.h"
#include "hub/model_name.h"
#include "hub/part_state.h"
#include "hub/request.h"

#include <stdlib.h>
#include <string.h>

static struct http_head head_of(const char *const *lines)
{
    struct http_head h;
    http_head_init(&h);
    for (; *lines; lines++)
        http_head_line(&h, *lines, strlen(*lines));
    return h;
}

#define HEAD(...) head_of((const char *const[]){"HTTP/1.1 206 OK\r\n", __VA_ARGS__, NULL})

static void lines_of_a_head_are_read(void **state)
{
    (void)state;
    struct digest d;
    struct http_head h =
        HEAD("Content-Length: 12\r\n", "content-range:  bytes 5-16/100 \r\n", "ETag: \"ab\"\r\n",
             "Location: /x?y\r\n", "Retry-After: 7\r\n", "Content-Type: text/HTML;x\r\n",
             "Link: <https://a/b>; rel=\"prev\", <https://a/c?d>; rel=\"next\"\r\n",
             "X-Linked-Size: 100\r\n");
    assert_true(h.status == 206 && h.length == 12 && !h.broken && h.html && h.linked_size == 100);
    assert_true(h.ranged && h.first == 5 && h.last == 16 && h.total == 100 && h.retry_s == 7);
    assert_string_equal(h.etag, "\"ab\"");
    assert_string_equal(h.location, "/x?y");
    assert_string_equal(h.next, "https://a/c?d");
    h = HEAD("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_int_equal(h.retry_at, 784111777);
    h = HEAD("Content-Range: bytes */77\r\n");
    assert_true(!h.ranged && h.total == 77 && !h.broken);
    h = HEAD("Content-Range: bytes 0-9/*\r\n");
    assert_true(h.ranged && h.total == HEAD_UNKNOWN);
    assert_true(http_head_digest(
        "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"", &d));
    assert_memory_equal(&d, &(struct digest[]){digest_of("", 0)}[0], sizeof d);
    assert_false(http_head_digest("W/\"e3b0c44298fc1c149afbf4c8996fb924\"", &d));
}

static void lines_that_contradict_make_a_head_broken(void **state)
{
    (void)state;
    static const char *const bad[] = {"Content-Length: 99999999999999999999\r\n",
                                      "Content-Length: -1\r\n",
                                      "Content-Length: 1x\r\n",
                                      "Content-Range: bytes 9-5/100\r\n",
                                      "Content-Range: bytes 0-100/100\r\n",
                                      "Content-Range: items 0-1/2\r\n",
                                      "Content-Range: bytes 0-1/2 x\r\n",
                                      "Content-Range: bytes\r\n",
                                      "Location: /a\x01z\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(HEAD(bad[i]).broken);
    assert_true(HEAD("Content-Length: 1", "Content-Length: 2").broken);
    assert_true(HEAD("Content-Range: bytes 0-1/2", "Content-Range: bytes 0-1/2").broken);
    assert_int_equal(HEAD("Content-Length: 1", "HTTP/1.1 302 Go").length == HEAD_UNKNOWN, 1);
}

static void names_are_checked_hard(void **state)
{
    (void)state;
    struct model_name n;
    char text[NAME_URL_BYTES];
    static const char *const good[] = {"hf:a/b",
                                       "hf:Org-1/R.x_2:Q4_K_M",
                                       "hf:a/b/c/d-Q8_0.gguf",
                                       "https://h.x/m.gguf",
                                       "http://h.x:8080/a/m.gguf",
                                       "ollama:llama3.2:1b",
                                       "ollama:me/x:latest"};
    static const char *const bad[] = {"hf:",
                                      "hf:a",
                                      "hf:/b",
                                      "hf:a/",
                                      "hf:../b",
                                      "hf:a/..",
                                      "hf:a/b:",
                                      "hf:a/b:..",
                                      "hf:a/b/../c.gguf",
                                      "hf:a/b/c",
                                      "hf:a/b\n",
                                      "hf:a/b?x",
                                      "hf:a/b/.c.gguf",
                                      "hf:a/b//c.gguf",
                                      "hf:a/b:x/y",
                                      "hf:a%2fb/c",
                                      "http://h",
                                      "https://u:p@h/m.gguf",
                                      "https://h/m.bin",
                                      "https://h/../m.gguf",
                                      "https://h/a b.gguf",
                                      "https://h/%2e%2e/m.gguf",
                                      "https:///m.gguf",
                                      "ollama:",
                                      "ollama:../x:y",
                                      "x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err e = {0};
        assert_ok(model_name_parse(&n, good[i], &e), &e);
        model_name_text(&n, text, sizeof text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        if (model_name_parse(&n, bad[i], &e) != ERR_USAGE)
            fail_msg("%s was taken", bad[i]);
    }
    struct err e = {0};
    assert_ok(
        model_name_parse(&n, "https://huggingface.co/a/b/resolve/main/c.gguf?download=true", &e),
        &e);
    assert_true(n.kind == NAME_HUB && !strcmp(n.file, "c.gguf") && !strcmp(n.repo, "b"));
    assert_ok(model_name_parse(&n, "https://h/m.gguf?sig=s3cret", &e), &e);
    model_name_text(&n, text, sizeof text);
    assert_string_equal(text, "https://h/m.gguf"); // what is behind the path may be secret
    assert_true(model_name_bare("a/b:Q4_0") && !model_name_bare("a/b.gguf") &&
                !model_name_bare("./b") && !model_name_bare("a/b/c"));
}

static void ranges_merge_and_states_come_back(void **state)
{
    (void)state;
    struct part_state s, back;
    struct range gap;
    part_state_init(&s);
    s.size = 1000;
    strcpy(s.etag, "\"x\"");
    s.has_digest = true;
    s.digest = digest_of("a", 1);
    assert_true(ranges_add(&s.done, 100, 200) && ranges_add(&s.done, 300, 400));
    assert_true(ranges_gap(&s.done, 1000, &gap) && gap.lo == 0 && gap.hi == 100);
    assert_true(ranges_add(&s.done, 0, 100) && s.done.n == 2);
    assert_true(ranges_gap(&s.done, 1000, &gap) && gap.lo == 200 && gap.hi == 300);
    char *text = part_state_text(&s);
    assert_true(part_state_parse(&back, text, strlen(text)));
    assert_memory_equal(back.done.at, s.done.at, 2 * sizeof *s.done.at);
    assert_true(back.size == 1000 && back.done.n == 2 && back.has_digest &&
                !strcmp(back.etag, s.etag) && !memcmp(&back.digest, &s.digest, sizeof s.digest));
    free(text);
    assert_true(ranges_add(&s.done, 150, 350) && s.done.n == 1 && ranges_bytes(&s.done) == 400);
    static const char *const bad[] = {
        "",
        "[]",
        "{\"rondo_part\":2,\"size\":9,\"done\":[]}",
        "{\"rondo_part\":1,\"size\":-9,\"done\":[]}",
        "{\"rondo_part\":1,\"size\":9,\"done\":[[0,10]]}",
        "{\"rondo_part\":1,\"size\":9,\"done\":[[3,2]]}",
        "{\"rondo_part\":1,\"size\":9,\"done\":[[1]]}",
        "{\"rondo_part\":1,\"size\":9,\"etag\":\"a\\nb\",\"done\":[]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(part_state_parse(&back, bad[i], strlen(bad[i])));
}

static int choose(const char *json, const char *name, int *n_files, char *why, char *first,
                  struct err *e)
{
    struct listing l = {0};
    struct model_name n;
    assert_ok(model_name_parse(&n, name, e), e);
    assert_ok(listing_add(&l, json, strlen(json), e), e);
    int i = listing_choose(&l, &n, n_files, why, 400, e);
    strcpy(first, i >= 0 ? l.files[i].path : "");
    listing_free(&l);
    return i;
}

static void the_right_file_of_a_repository_is_chosen(void **state)
{
    (void)state;
    static const char json[] =
        "[{\"path\":\"README.md\",\"size\":5},{\"path\":\"m-Q8_0.gguf\",\"size\":5},"
        "{\"path\":\"m-Q5_K_M.gguf\",\"size\":7},{\"path\":\"mmproj-F16.gguf\",\"size\":5},"
        "{\"path\":\"../m-Q4_K_M.gguf\",\"size\":5},"
        "{\"path\":\"F16/m-F16-00002-of-00002.gguf\",\"size\":5},"
        "{\"path\":\"F16/m-F16-00001-of-00002.gguf\",\"size\":5},"
        "{\"path\":\"m-Q6_K-00001-of-00002.gguf\",\"size\":5}]";
    struct err e = {0};
    int n;
    char why[400], first[NAME_FILE_BYTES];
    assert_true(choose(json, "hf:a/b", &n, why, first, &e) >= 0);
    assert_string_equal(first, "m-Q5_K_M.gguf"); // not what lies above the folder
    assert_non_null(strstr(why, "there is no Q4_K_M; Q5_K_M is taken"));
    assert_true(choose(json, "hf:a/b:q8_0", &n, why, first, &e) >= 0);
    assert_true(!strcmp(first, "m-Q8_0.gguf") && n == 1 && !why[0]);
    assert_true(choose(json, "hf:a/b:F16", &n, why, first, &e) >= 0);
    assert_true(!strcmp(first, "F16/m-F16-00001-of-00002.gguf") && n == 2);
    assert_true(choose(json, "hf:a/b/F16/m-F16-00002-of-00002.gguf", &n, why, first, &e) >= 0);
    assert_true(!strcmp(first, "F16/m-F16-00001-of-00002.gguf") && n == 2);
    assert_true(choose(json, "hf:a/b:Q6_K", &n, why, first, &e) < 0); // a part is missing
    assert_non_null(strstr(e.text, "Q5_K_M"));
    assert_non_null(strstr(e.text, "Q8_0"));
}

static void redirects_never_leave_https(void **state)
{
    (void)state;
    static const struct {
        const char *from, *location, *to;
    } cases[] = {
        {"https://a/b/c", "d?e", "https://a/b/d?e"},  {"https://a/b/c", "//x/y", "https://x/y"},
        {"http://a/b", "https://x/y", "https://x/y"}, {"http://a/b", "http://x/y", "http://x/y"},
        {"https://a/b", "http://a/b", NULL},          {"https://a/b", "HTTP://a/b", NULL},
        {"https://a/b", "ftp://a/b", NULL},           {"https://a/b", "file:///etc/passwd", NULL},
        {"https://a/b", "https://u:p@a/b", NULL},     {"https://a/b", "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head h;
        struct err e = {0};
        http_head_init(&h);
        h.status = 302;
        strcpy(h.location, cases[i].location);
        char *to = request_redirect(cases[i].from, &h, 0, &e);
        if (cases[i].to) {
            assert_non_null(to);
            assert_string_equal(to, cases[i].to);
        } else {
            assert_true(!to && e.code);
        }
        free(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_a_head_are_read),
        cmocka_unit_test(lines_that_contradict_make_a_head_broken),
        cmocka_unit_test(names_are_checked_hard),
        cmocka_unit_test(ranges_merge_and_states_come_back),
        cmocka_unit_test(the_right_file_of_a_repository_is_chosen),
        cmocka_unit_test(redirects_never_leave_https),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
