// Requests of libcurl: see request.h.
#include "hub/request.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONNECT_S = 20, SLOW_BYTES = 1024, STEP_MS = 100, TOKEN_BYTES = 4096, URL_SHOWN = 200 };

const char *request_shown(const char *url, char *out, size_t size)
{
    size_t n = strcspn(url, "?#");
    return err_quote(out, (int)size, url, (int)(n < size ? n : size));
}

// ---- who is who --------------------------------------------------------------------------------

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = !curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) &&
                !curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) && !strcasecmp(x, y);
    curl_free(x);
    curl_free(y);
    return same;
}

static CURLU *parsed(const char *url)
{
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, url, 0)) {
        curl_url_cleanup(u);
        u = NULL;
    }
    return u;
}

static bool on_this_machine(CURLU *u)
{
    char *host = NULL;
    struct in_addr address;
    bool here = !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
                (!strcasecmp(host, "localhost") || !strcmp(host, "[::1]") ||
                 (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127));
    curl_free(host);
    return here;
}

// The token goes to its own scheme, host and port, and in the clear only within this machine.
static bool wants_token(const struct request_how *how, const char *url)
{
    CURLU *to = how->token && how->token_for ? parsed(url) : NULL;
    CURLU *home = to ? parsed(how->token_for) : NULL;
    char *scheme = NULL;
    bool wants = home && same_part(to, home, CURLUPART_SCHEME) &&
                 same_part(to, home, CURLUPART_HOST) && same_part(to, home, CURLUPART_PORT) &&
                 !curl_url_get(to, CURLUPART_SCHEME, &scheme, 0) &&
                 (!strcmp(scheme, "https") || on_this_machine(to));
    curl_free(scheme);
    curl_url_cleanup(to);
    curl_url_cleanup(home);
    return wants;
}

static int add_token(const struct request_how *how, struct curl_slist **headers, struct err *e)
{
    char line[TOKEN_BYTES];
    for (const char *c = how->token; *c; c++)
        if (*c <= 0x20 || *c >= 0x7f)
            return err_set(e, ERR_USAGE,
                           "the token in HF_TOKEN has spaces or unprintable "
                           "characters; copy it again");
    int n = snprintf(line, sizeof line, "Authorization: Bearer %s", how->token);
    if (n >= (int)sizeof line)
        return err_set(e, ERR_USAGE, "the token in HF_TOKEN is too long; copy it again");
    struct curl_slist *grown = curl_slist_append(*headers, line);
    explicit_bzero(line, sizeof line);
    if (!grown)
        return err_set(e, ERR_NO_MEMORY, "no memory for a request");
    *headers = grown;
    return 0;
}

// ---- one request -------------------------------------------------------------------------------

int request_set_up(CURL *c, const struct request_how *how, const char *url,
                   struct curl_slist **headers, struct err *e)
{
    const char *authorities = getenv("SSL_CERT_FILE");
    char shown[URL_SHOWN];
    if (wants_token(how, url)) {
        int rc = add_token(how, headers, e);
        if (rc)
            return rc;
        if (!strncasecmp(url, "http:", 5))
            curl_easy_setopt(c, CURLOPT_PROXY, ""); // no proxy sees it in the clear
    }
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, *headers);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (authorities && *authorities)
        curl_easy_setopt(c, CURLOPT_CAINFO, authorities);
    // Each range on a connection of its own: that is what makes several faster than one.
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "rondo/" RONDO_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)how->stall_s);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    log_debug("GET %s", request_shown(url, shown, sizeof shown));
    return 0;
}

char *request_redirect(const char *from, const struct http_head *h, int hops, struct err *e)
{
    char shown[URL_SHOWN], to_shown[URL_SHOWN], *to = NULL, *scheme = NULL, *user = NULL;
    CURLU *u = parsed(from);
    request_shown(from, shown, sizeof shown);
    if (!u) {
        err_set(e, ERR_FAILED, "%s: is no URL that can be read", shown);
    } else if (hops >= REQUEST_MAX_HOPS) {
        err_set(e, ERR_FAILED,
                "%s: the server redirects again and again, %d times now; the address is wrong or "
                "the server is broken",
                shown, hops);
    } else if (h->broken || !h->location[0] || curl_url_set(u, CURLUPART_URL, h->location, 0) ||
               curl_url_get(u, CURLUPART_URL, &to, 0) ||
               curl_url_get(u, CURLUPART_SCHEME, &scheme, 0)) {
        err_set(e, ERR_FAILED, "%s: the server redirects (status %d) without saying where to",
                shown, h->status);
        to = NULL;
    } else if (!curl_url_get(u, CURLUPART_USER, &user, 0) ||
               (strcmp(scheme, "https") && strcmp(scheme, "http")) ||
               (!strcmp(scheme, "http") && !strncasecmp(from, "https://", 8))) {
        err_set(e, ERR_DENIED,
                "%s: the server redirects to %s, which would give up the protection of https; "
                "nothing is taken from there",
                shown, request_shown(to, to_shown, sizeof to_shown));
        curl_free(to);
        to = NULL;
    }
    char *copy = to ? strdup(to) : NULL;
    if (to && !copy)
        err_set(e, ERR_NO_MEMORY, "no memory for a request");
    curl_free(to);
    curl_free(scheme);
    curl_free(user);
    curl_url_cleanup(u);
    return copy;
}

bool request_again(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

int request_refused(const struct request_how *how, const char *url, const struct http_head *h,
                    struct err *e)
{
    char shown[URL_SHOWN];
    request_shown(url, shown, sizeof shown);
    switch (h->status) {
    case 401:
    case 403:
        return err_set(e, ERR_DENIED,
                       "%s: the server refuses it (status %d): it is not there, or private, or its "
                       "licence must be accepted on its page first; %s",
                       shown, h->status,
                       how->token ? "the token in HF_TOKEN was not enough"
                                  : "for private and gated models put your token into HF_TOKEN");
    case 404:
    case 410:
        return err_set(e, ERR_FAILED, "%s: is not there (status %d); check the name", shown,
                       h->status);
    case 407:
        return err_set(e, ERR_DENIED,
                       "%s: the proxy wants a name and a password; put them into https_proxy",
                       shown);
    case 429:
        return err_set(e, ERR_UNREACHABLE,
                       "%s: the server has had too many requests (status 429); try again later%s",
                       shown, how->token ? "" : ", or with your token in HF_TOKEN");
    default:
        return err_set(e, h->status >= 500 ? ERR_UNREACHABLE : ERR_FAILED,
                       "%s: the server answers with status %d; try again later", shown, h->status);
    }
}

bool request_failed_again(CURLcode code)
{
    switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return false;
    default:
        return true;
    }
}

int request_failed(const char *url, CURLcode code, struct err *e)
{
    char shown[URL_SHOWN];
    request_shown(url, shown, sizeof shown);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return err_set(e, ERR_UNREACHABLE,
                       "%s: the name of the %s cannot be found; check the network connection",
                       shown, code == CURLE_COULDNT_RESOLVE_HOST ? "host" : "proxy");
    case CURLE_COULDNT_CONNECT:
        return err_set(e, ERR_UNREACHABLE,
                       "%s: no connection to the server; is it running, and is "
                       "a proxy needed (https_proxy)?",
                       shown);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(e, ERR_DENIED,
                       "%s: the server's certificate is not one that this machine trusts; nothing "
                       "is taken from there (an authority of your own goes into SSL_CERT_FILE)",
                       shown);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, ERR_UNREACHABLE, "%s: the server stopped sending; try again later",
                       shown);
    case CURLE_OUT_OF_MEMORY:
        return err_set(e, ERR_NO_MEMORY, "%s: no memory for the transfer", shown);
    default:
        return err_set(e, ERR_UNREACHABLE, "%s: the connection broke (%s); try again later", shown,
                       curl_easy_strerror(code));
    }
}

int64_t request_wait_ms(const struct request_how *how, const struct http_head *h, int tries)
{
    int64_t wait = (int64_t)how->backoff_ms << (tries < 6 ? tries : 6), asked = h->retry_s;
    if (asked < 0 && h->retry_at >= 0)
        asked = h->retry_at - clock_wall_s();
    if (asked > REQUEST_MAX_WAIT_S)
        return -1;
    return asked * 1000 > wait ? asked * 1000 : wait;
}

// ---- a text ------------------------------------------------------------------------------------

struct answer {
    const struct request_how *how;
    struct http_head head;
    char *text; // heap
    size_t size, capacity, most;
    bool too_long, no_memory;
};

static size_t on_head(char *line, size_t one, size_t size, void *arg)
{
    (void)one;
    struct answer *a = arg;
    http_head_line(&a->head, line, size);
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    (void)one;
    struct answer *a = arg;
    if (a->head.status / 100 != 2)
        return size; // what a refusal says is not needed
    a->too_long = size > a->most - a->size;
    if (a->too_long)
        return 0;
    if (a->size + size + 1 > a->capacity) {
        size_t capacity = 2 * (a->size + size + 1);
        char *grown = realloc(a->text, capacity);
        a->no_memory = !grown;
        if (!grown)
            return 0;
        a->text = grown;
        a->capacity = capacity;
    }
    memcpy(a->text + a->size, data, size);
    a->size += size;
    a->text[a->size] = 0;
    return size;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const struct answer *answer = arg;
    return answer->how->stop && answer->how->stop(answer->how->arg);
}

static int stopped(struct err *e)
{
    return err_set(e, ERR_FAILED, "interrupted");
}

// Waits; false: asked to stop.
static bool wait_ms(const struct request_how *how, int64_t ms)
{
    for (int64_t end = clock_ms() + ms, now; (now = clock_ms()) < end;) {
        if (how->stop && how->stop(how->arg))
            return false;
        poll(NULL, 0, (int)(end - now < STEP_MS ? end - now : STEP_MS));
    }
    return true;
}

// One try at one address. 0 and an answer with a status, or an error; *again: another try may help.
static int text_once(struct answer *a, CURL *c, const char *url, bool *again, struct err *e)
{
    struct curl_slist *headers = NULL;
    a->size = 0;
    http_head_init(&a->head);
    curl_easy_reset(c);
    int rc = request_set_up(c, a->how, url, &headers, e);
    if (!rc) {
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, a);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        CURLcode code = curl_easy_perform(c);
        if (a->too_long)
            rc = err_set(e, ERR_FAILED, "the server's list of files is longer than %zu MiB",
                         a->most >> 20);
        else if (a->no_memory)
            rc = err_set(e, ERR_NO_MEMORY, "no memory for the server's list of files");
        else if (code == CURLE_ABORTED_BY_CALLBACK)
            rc = stopped(e);
        else if (code) {
            *again = request_failed_again(code);
            rc = request_failed(url, code, e);
        }
    }
    curl_slist_free_all(headers);
    return rc;
}

// Follows redirects and judges the status.
static int text_try(struct answer *a, CURL *c, const char *url, bool *again, struct err *e)
{
    char *at = strdup(url);
    int rc = at ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for a request");
    *again = false;
    for (int hops = 0; !rc; hops++) {
        rc = text_once(a, c, at, again, e);
        if (rc || a->head.status / 100 == 2)
            break;
        if (a->head.status / 100 != 3) {
            *again = request_again(a->head.status);
            rc = request_refused(a->how, at, &a->head, e);
            break;
        }
        char *next = request_redirect(at, &a->head, hops, e);
        free(at);
        at = next;
        rc = at ? 0 : e->code;
    }
    free(at);
    return rc;
}

int request_text(const struct request_how *how, const char *url, size_t most, char **out,
                 size_t *out_size, char *next, struct err *e)
{
    struct answer a = {.how = how, .most = most};
    struct err why = {0};
    CURL *c = curl_easy_init();
    int rc = c ? 0 : err_set(&why, ERR_NO_MEMORY, "no memory for a request");
    for (int tries = 0; c; tries++) {
        bool again;
        why = (struct err){0};
        rc = text_try(&a, c, url, &again, &why);
        int64_t wait = rc && again ? request_wait_ms(how, &a.head, tries) : -1;
        if (!rc || wait < 0 || tries + 1 == REQUEST_FIRST_TRIES)
            break;
        log_info("%s; trying again in %.1f s", why.text, (double)wait * 1e-3);
        if (!wait_ms(how, wait)) {
            why = (struct err){0};
            rc = stopped(&why);
            break;
        }
    }
    curl_easy_cleanup(c);
    if (rc) {
        free(a.text);
        return err_set(e, rc, "%s", why.text);
    }
    *out = a.text ? a.text : calloc(1, 1);
    *out_size = a.size;
    memcpy(next, a.head.next, HEAD_URL_BYTES);
    return *out ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the server's list of files");
}
