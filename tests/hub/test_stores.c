// What is on this machine: models of other programs are found, named, compared and used where they
// lie; rondo rm takes nothing but Rondo's own.
#include "support.h"

#include "app/model_path.h"
#include "app/verbs.h"
#include "gguf/writer.h"
#include "hub/download.h"
#include "hub/fetch_part.h"
#include "verb_output.h"
#include "web_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[256];

// A small GGUF file at home/`path`; `seed` makes files differ. Returns its digest.
static struct digest put_model(const char *path, uint32_t seed)
{
    char full[600];
    struct gguf_writer *w;
    struct err e = {0};
    snprintf(full, sizeof full, "%s/%s", home, path);
    for (char *at = full + strlen(home) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(full, 0777);
        *at = '/';
    }
    assert_ok(gguf_writer_open(&w, full, &e), &e);
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_u32(w, "seed", seed);
    gguf_declare(w, "x", WT_F32, 1, (uint64_t[]){1});
    gguf_write(w, "abcd", 4);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    size_t size;
    uint8_t *data = test_read(full, &size);
    struct digest d = digest_of(data, size);
    free(data);
    return d;
}

static void put_text(const char *path, const char *text)
{
    char full[600];
    snprintf(full, sizeof full, "%s/%s", home, path);
    for (char *at = full + strlen(home) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(full, 0777);
        *at = '/';
    }
    test_write(full, text, strlen(text));
}

static int set_up(void **state)
{
    static const char *const variables[] = {"XDG_CACHE_HOME", "HF_HOME",   "HF_HUB_CACHE",
                                            "LLAMA_CACHE",    "HF_TOKEN",  "OLLAMA_MODELS",
                                            "HF_ENDPOINT",    "http_proxy"};
    static int n;
    (void)state;
    char name[32];
    snprintf(name, sizeof name, "home%d", n++);
    snprintf(home, sizeof home, "%s", test_file(name));
    mkdir(home, 0777);
    setenv("HOME", home, 1);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    return 0;
}

static int run_verb(const struct verb *v, char **out, struct err *e, const char *a, const char *b)
{
    int rc;
    char *argv[] = {(char *)a, (char *)b, NULL};
    *out = verb_output(v, a ? b ? 2 : 1 : 0, argv, &rc, e);
    return rc;
}

static void assert_finds(const char *name, const char *below)
{
    char path[MODEL_PATH_BYTES], wanted[600];
    struct err e = {0};
    snprintf(wanted, sizeof wanted, "%s/%s", home, below);
    assert_ok(model_path_find(name, path, sizeof path, &e), &e);
    assert_string_equal(path, wanted);
}

static void assert_misses(const char *name, const char *part)
{
    char path[MODEL_PATH_BYTES];
    struct err e = {0};
    assert_int_equal(model_path_find(name, path, sizeof path, &e), ERR_FAILED);
    if (!strstr(e.text, part))
        fail_msg("'%s' is not in '%s'", part, e.text);
}

static void models_of_all_programs_are_found_by_their_names(void **state)
{
    (void)state;
    char *out, hex[2 * DIGEST_BYTES + 1], path[600], to[600];
    struct err e = {0};
    put_model(".cache/rondo/models/o/own/m-Q8_0.gguf", 1);
    put_model(".cache/llama.cpp/o_flat_m-Q4_0.gguf", 2);
    put_model(".lmstudio/models/o/studio/m-Q6_K.gguf", 3);
    struct digest d = put_model(".cache/huggingface/hub/models--o--face/blobs/x", 4);
    digest_hex(&d, hex);
    put_text(".cache/huggingface/hub/models--o--face/refs/main", "abc123");
    put_text(".cache/huggingface/hub/models--o--face/snapshots/abc123/README.md", "x");
    snprintf(to, sizeof to, "%s/.cache/huggingface/hub/models--o--face/blobs/%s", home, hex);
    snprintf(path, sizeof path, "%s/.cache/huggingface/hub/models--o--face/blobs/x", home);
    assert_int_equal(rename(path, to), 0);
    snprintf(path, sizeof path,
             "%s/.cache/huggingface/hub/models--o--face/snapshots/abc123/m-Q5_K_M.gguf", home);
    snprintf(to, sizeof to, "../../blobs/%s", hex);
    assert_int_equal(symlink(to, path), 0);
    d = put_model(".ollama/models/blobs/x", 5);
    digest_hex(&d, hex);
    snprintf(path, sizeof path, "%s/.ollama/models/blobs/x", home);
    snprintf(to, sizeof to, "%s/.ollama/models/blobs/sha256-%s", home, hex);
    assert_int_equal(rename(path, to), 0);
    snprintf(path, sizeof path,
             "{\"layers\":[{\"mediaType\":\"other\"},\n{\"mediaType\":"
             "\"application/vnd.ollama.image.model\",\"digest\":\"sha256:%s\"}]}",
             hex);
    put_text(".ollama/models/manifests/registry.ollama.ai/library/tiny/1b", path);
    put_text(".ollama/models/manifests/registry.ollama.ai/library/bad/1b",
             "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\","
             "\"digest\":\"sha256:../../../etc/passwd\"}]}");

    assert_finds("hf:o/own", ".cache/rondo/models/o/own/m-Q8_0.gguf");
    assert_finds("o/own:q8_0", ".cache/rondo/models/o/own/m-Q8_0.gguf");
    assert_finds("hf:o/flat:Q4_0", ".cache/llama.cpp/o_flat_m-Q4_0.gguf");
    assert_finds("hf:o/studio", ".lmstudio/models/o/studio/m-Q6_K.gguf");
    assert_finds("hf:o/face",
                 ".cache/huggingface/hub/models--o--face/snapshots/abc123/m-Q5_K_M.gguf");
    assert_finds("ollama:tiny:1b", to + strlen(home) + 1);
    assert_misses("hf:o/none", "rondo pull hf:o/none");
    assert_misses("hf:o/own:Q4_0", "Q8_0");
    assert_misses("ollama:bad:1b", "rondo ls");

    assert_ok(run_verb(&verb_ls, &out, &e, "--json", NULL), &e);
    static const char *const names[] = {"\"hf:o/own:Q8_0\"", "o_flat_m-Q4_0.gguf\"",
                                        "\"hf:o/studio:Q6_K\"", "\"hf:o/face:Q5_K_M\"",
                                        "\"ollama:tiny:1b\""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(strstr(out, names[i]));
    assert_null(strstr(out, "bad"));
    free(out);
}

static void rm_takes_own_models_whole_and_no_others(void **state)
{
    (void)state;
    char *out, path[600];
    struct err e = {0};
    put_model(".cache/rondo/models/o/r/m-Q8_0-00001-of-00002.gguf", 1);
    put_model(".cache/rondo/models/o/r/m-Q8_0-00002-of-00002.gguf", 2);
    put_text(".cache/rondo/models/o/r/m-Q8_0-00001-of-00002.gguf.lanes", "x");
    put_text(".cache/rondo/models/o/p/m-Q4_0.gguf.part", "x");
    put_model(".lmstudio/models/o/s/m-Q6_K.gguf", 3);
    assert_int_equal(run_verb(&verb_rm, &out, &e, "hf:o/s", "--yes"), ERR_DENIED);
    assert_non_null(strstr(e.text, "LM Studio"));
    free(out);
    e = (struct err){0};
    assert_ok(run_verb(&verb_rm, &out, &e, "hf:o/r", "--yes"), &e);
    assert_non_null(strstr(out, "removed"));
    free(out);
    assert_ok(run_verb(&verb_rm, &out, &e, "hf:o/p", "--yes"), &e);
    free(out);
    snprintf(path, sizeof path, "%s/.cache/rondo/models/o", home);
    assert_int_equal(access(path, F_OK), -1); // its empty folders too
    assert_finds("hf:o/s", ".lmstudio/models/o/s/m-Q6_K.gguf");

    // A folder that is a link out of Rondo's own: what lies behind it is somebody else's.
    snprintf(path, sizeof path, "%s/.cache/rondo/models/link", home);
    char to[600];
    snprintf(to, sizeof to, "%s/.lmstudio/models/o", home);
    assert_int_equal(symlink(to, path), 0);
    assert_int_equal(run_verb(&verb_rm, &out, &e, "hf:link/s", "--yes"), ERR_DENIED);
    free(out);
    assert_finds("hf:o/s", ".lmstudio/models/o/s/m-Q6_K.gguf");
}

static void list_and_serve(struct web *w, int fd, const char *request)
{
    char hex[2 * DIGEST_BYTES + 1], json[400];
    if (!strstr(request, "GET /api/models/o/studio/tree/main?recursive=1 ")) {
        web_answer_well(w, fd, request);
        return;
    }
    struct digest d = digest_of(w->data, w->size);
    digest_hex(&d, hex);
    int n = snprintf(json, sizeof json,
                     "[{\"type\":\"file\",\"path\":\"m-Q6_K.gguf\",\"size\":%zu,\"lfs\":{\"oid\":"
                     "\"%s\",\"size\":%zu}}]",
                     w->size, hex, w->size);
    web_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, json);
}

static void what_another_program_has_is_compared_and_used_in_place(void **state)
{
    (void)state;
    struct web w = {.answer = list_and_serve};
    struct model_name n;
    struct downloaded got;
    struct err e = {0};
    char path[600];
    put_model(".lmstudio/models/o/studio/m-Q6_K.gguf", 7);
    snprintf(path, sizeof path, "%s/.lmstudio/models/o/studio/m-Q6_K.gguf", home);
    w.data = test_read(path, &w.size);
    web_start(&w);
    struct download d = {.mirror = web_url(&w, "/"), .n_connections = 2, .stall_s = 2};
    assert_ok(model_name_parse(&n, "hf:o/studio:Q6_K", &e), &e);
    assert_ok(download_model(&d, &n, &got, &e), &e);
    assert_true(got.here && got.store == STORE_LM_STUDIO && got.verified && !got.moved);
    assert_string_equal(got.path, path);
    assert_int_equal(atomic_load(&w.n_requests), 1); // the list, nothing else

    put_model(".lmstudio/models/o/studio/m-Q6_K.gguf", 8); // as long, but another one
    assert_ok(download_model(&d, &n, &got, &e), &e);
    assert_true(!got.here && got.verified && got.moved == w.size);
    assert_finds("hf:o/studio", ".cache/rondo/models/o/studio/m-Q6_K.gguf");
    assert_ok(download_model(&d, &n, &got, &e), &e);
    assert_true(got.here && got.store == STORE_RONDO);
    web_stop(&w);
    free((void *)w.data);
    assert_ok(download_model(&d, &n, &got, &e), &e); // the server is gone: what is here will do
    assert_true(got.here && !got.verified);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(models_of_all_programs_are_found_by_their_names, set_up),
        cmocka_unit_test_setup(rm_takes_own_models_whole_and_no_others, set_up),
        cmocka_unit_test_setup(what_another_program_has_is_compared_and_used_in_place, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
