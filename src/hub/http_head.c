// The head of an HTTP answer: see http_head.h.
#include "hub/http_head.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

void http_head_init(struct http_head *h)
{
    *h = (struct http_head){.length = HEAD_UNKNOWN,
                            .total = HEAD_UNKNOWN,
                            .linked_size = HEAD_UNKNOWN,
                            .retry_s = -1,
                            .retry_at = -1};
}

struct text { // a piece of a line
    const char *at;
    size_t left;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text trimmed(struct text t)
{
    while (t.left && blank(*t.at)) {
        t.at++;
        t.left--;
    }
    while (t.left && blank(t.at[t.left - 1]))
        t.left--;
    return t;
}

// A number in front of `t`, which moves on. HEAD_UNKNOWN is no number.
static bool number(struct text *t, uint64_t *out)
{
    uint64_t n = 0;
    size_t digits = 0;
    for (; digits < t->left && isdigit((unsigned char)t->at[digits]); digits++) {
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(t->at[digits] - '0'), &n))
            return false;
    }
    if (!digits || n == HEAD_UNKNOWN)
        return false;
    t->at += digits;
    t->left -= digits;
    *out = n;
    return true;
}

static bool skip(struct text *t, char c)
{
    if (!t->left || *t->at != c)
        return false;
    t->at++;
    t->left--;
    return true;
}

static bool is(struct text t, const char *word)
{
    return t.left == strlen(word) && !strncasecmp(t.at, word, t.left);
}

static bool begins(struct text t, const char *word)
{
    return t.left >= strlen(word) && !strncasecmp(t.at, word, strlen(word));
}

// Printable text that fits; else it is left out and the answer is false.
static bool copy(char *out, size_t size, struct text t)
{
    for (size_t i = 0; i < t.left; i++)
        if (t.at[i] < 0x20 || t.at[i] == 0x7f)
            return false;
    if (t.left >= size)
        return false;
    memcpy(out, t.at, t.left);
    out[t.left] = 0;
    return true;
}

static void take_size(struct http_head *h, uint64_t *out, struct text t)
{
    uint64_t n;
    if (!number(&t, &n) || t.left || (*out != HEAD_UNKNOWN && *out != n))
        h->broken = true;
    else
        *out = n;
}

// "bytes 0-99/1000", "bytes 0-99/*", "bytes */1000"
static void take_range(struct http_head *h, struct text t)
{
    bool ok = begins(t, "bytes") && !h->ranged;
    t.at += ok ? 5 : 0;
    t.left -= ok ? 5 : 0;
    t = trimmed(t);
    if (ok && skip(&t, '*')) {
        ok = skip(&t, '/') && number(&t, &h->total);
    } else if (ok) {
        ok = number(&t, &h->first) && skip(&t, '-') && number(&t, &h->last) && skip(&t, '/') &&
             (skip(&t, '*') || number(&t, &h->total)) && h->first <= h->last &&
             (h->total == HEAD_UNKNOWN || h->last < h->total);
        h->ranged = ok && !t.left;
    }
    if (!ok || t.left)
        h->broken = true;
}

static void take_retry(struct http_head *h, struct text t)
{
    uint64_t n;
    char date[HEAD_DATE_BYTES];
    if (number(&t, &n)) {
        if (!t.left && n < INT32_MAX)
            h->retry_s = (int64_t)n;
    } else if (copy(date, sizeof date, t)) {
        h->retry_at = curl_getdate(date, NULL); // -1: no date
    }
}

// <https://...?cursor=x>; rel="next", <...>; rel="..."
static void take_link(struct http_head *h, struct text t)
{
    while (t.left) {
        const char *open = memchr(t.at, '<', t.left);
        const char *close = open ? memchr(open, '>', t.left - (size_t)(open - t.at)) : NULL;
        if (!close)
            return;
        struct text url = {open + 1, (size_t)(close - open) - 1};
        struct text rest = {close + 1, t.left - (size_t)(close + 1 - t.at)};
        const char *comma = memchr(rest.at, ',', rest.left);
        struct text how = {rest.at, comma ? (size_t)(comma - rest.at) : rest.left};
        for (; how.left && *how.at != 'r'; how.at++)
            how.left--;
        if ((begins(how, "rel=\"next\"") || begins(how, "rel=next")) &&
            !copy(h->next, sizeof h->next, url))
            h->broken = true;
        t = comma ? (struct text){comma + 1, rest.left - (size_t)(comma + 1 - rest.at)}
                  : (struct text){rest.at, 0};
    }
}

static void take_status(struct http_head *h, struct text t)
{
    uint64_t status;
    http_head_init(h);
    while (t.left && !blank(*t.at)) { // HTTP/1.1
        t.at++;
        t.left--;
    }
    t = trimmed(t);
    if (number(&t, &status) && status >= 100 && status <= 999)
        h->status = (int)status;
    else
        h->broken = true;
}

void http_head_line(struct http_head *h, const char *line, size_t size)
{
    struct text all = {line, size};
    if (begins(all, "HTTP/")) {
        take_status(h, all);
        return;
    }
    const char *colon = memchr(line, ':', size);
    if (!colon)
        return;
    struct text name = {line, (size_t)(colon - line)};
    struct text value = trimmed((struct text){colon + 1, size - name.left - 1});
    if (is(name, "content-length"))
        take_size(h, &h->length, value);
    else if (is(name, "x-linked-size"))
        take_size(h, &h->linked_size, value);
    else if (is(name, "content-range"))
        take_range(h, value);
    else if (is(name, "etag"))
        (void)!copy(h->etag, sizeof h->etag, value); // one that is too long is none
    else if (is(name, "x-linked-etag"))
        (void)!copy(h->linked_etag, sizeof h->linked_etag, value);
    else if (is(name, "last-modified"))
        (void)!copy(h->modified, sizeof h->modified, value);
    else if (is(name, "location"))
        h->broken = !copy(h->location, sizeof h->location, value) || h->broken;
    else if (is(name, "link"))
        take_link(h, value);
    else if (is(name, "retry-after"))
        take_retry(h, value);
    else if (is(name, "content-type"))
        h->html = begins(value, "text/html") || begins(value, "application/xhtml");
    else if (is(name, "content-encoding"))
        h->encoded = value.left && !is(value, "identity");
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http_head_hex(const char *text, size_t length, struct digest *out)
{
    struct digest d;
    if (length != 2 * DIGEST_BYTES)
        return false;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        int high = digit((char)tolower((unsigned char)text[2 * i]));
        int low = digit((char)tolower((unsigned char)text[2 * i + 1]));
        if (high < 0 || low < 0)
            return false;
        d.bytes[i] = (uint8_t)(16 * high + low);
    }
    *out = d;
    return true;
}

bool http_head_digest(const char *etag, struct digest *out)
{
    size_t length = strlen(etag);
    if (length >= 2 && etag[0] == '"' && etag[length - 1] == '"') {
        etag++;
        length -= 2;
    }
    return http_head_hex(etag, length, out);
}
