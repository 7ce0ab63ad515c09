// Any bytes as what a server and its files say: the head of an answer line by line, the state of a
// download, a list of files, a name. Refused, or in bounds and consistent.
#include "base/check.h"
#include "hub/http_head.h"
#include "hub/listing.h"
#include "hub/part_state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void head(const char *text, size_t size)
{
    struct http_head h;
    struct digest d;
    http_head_init(&h);
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) + 1 - at : size - at;
        http_head_line(&h, text + at, length);
        at += length;
    }
    CHECK(!h.ranged || h.first <= h.last);
    CHECK(!h.ranged || h.total == HEAD_UNKNOWN || h.last < h.total);
    CHECK(strlen(h.etag) < sizeof h.etag && strlen(h.location) < sizeof h.location);
    CHECK(strlen(h.next) < sizeof h.next && h.retry_s >= -1);
    http_head_digest(h.linked_etag, &d);
}

static void state(const char *text, size_t size)
{
    struct part_state s, back;
    if (!part_state_parse(&s, text, size))
        return;
    for (int i = 0; i < s.done.n; i++)
        CHECK(s.done.at[i].lo < s.done.at[i].hi && s.done.at[i].hi <= s.size &&
              (!i || s.done.at[i - 1].hi < s.done.at[i].lo));
    char *again = part_state_text(&s);
    CHECK(!again || part_state_parse(&back, again, strlen(again)));
    free(again);
}

static void listing(const char *text, size_t size)
{
    struct listing l = {0};
    struct model_name n;
    char why[200];
    int n_files;
    if (!listing_add(&l, text, size, NULL) && !model_name_parse(&n, "hf:a/b", NULL)) {
        int i = listing_choose(&l, &n, &n_files, why, sizeof why, NULL);
        CHECK(i < 0 || (size_t)(i + n_files) <= l.n);
    }
    for (size_t i = 0; i < l.n; i++)
        CHECK(model_name_path_ok(l.files[i].path) && !strstr(l.files[i].path, "/../"));
    listing_free(&l);
}

static void name(const char *text, size_t size)
{
    struct model_name n;
    char plain[512];
    size = size < sizeof plain ? size : sizeof plain - 1;
    memcpy(plain, text, size);
    plain[size] = 0;
    if (model_name_parse(&n, plain, NULL))
        return;
    CHECK(n.owner[0] != '.' && n.repo[0] != '.' && !strchr(n.owner, '/') && !strchr(n.repo, '/'));
    CHECK(!n.file[0] || model_name_path_ok(n.file));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    head(text, size);
    state(text, size);
    listing(text, size);
    name(text, size);
    return 0;
}
