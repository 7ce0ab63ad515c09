// One HTTP request of libcurl, as every request of Rondo is made: http and https only, certificates
// always verified, the usual proxies, redirects followed by hand so that each can be judged, and
// the user's token on requests to the one host that it is for.
//
// This file and fetch.c are the only ones that use libcurl: nothing else in Rondo connects to
// anything but its own nodes.
#pragma once

#include "base/err.h"
#include "hub/http_head.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    REQUEST_MAX_HOPS = 10,
    REQUEST_FIRST_TRIES = 4, // until the server has answered at all
    REQUEST_MAX_TRIES = 7,   // in a row without a byte
    REQUEST_MAX_WAIT_S = 300 // that a server may ask for
};

struct request_how {
    const char *token;     // NULL: none
    const char *token_for; // a URL of the host that it is for: same scheme, host and port
    int stall_s;           // a connection that brings nothing for so long is given up
    int backoff_ms;        // before the second try; doubles
    bool (*stop)(void *arg);
    void *arg;
};

// Sets up `c` for a GET of `url`, with an Authorization where that is due. `*headers` are those of
// the caller (NULL: none); they gain some, and are freed by the caller after the request.
int request_set_up(CURL *c, const struct request_how *how, const char *url,
                   struct curl_slist **headers, struct err *e);

// Where a redirect leads, malloc'd; NULL and a sentence when nobody should follow it there.
char *request_redirect(const char *from, const struct http_head *h, int hops, struct err *e);

// What an answer's status means, when it is neither success nor redirect: an error code and a
// sentence. request_again: whether another try may help.
int request_refused(const struct request_how *how, const char *url, const struct http_head *h,
                    struct err *e);
bool request_again(int status);
// The same of a transfer that failed.
int request_failed(const char *url, CURLcode code, struct err *e);
bool request_failed_again(CURLcode code);

// How long to wait before try number `tries` + 1; -1: longer than REQUEST_MAX_WAIT_S.
int64_t request_wait_ms(const struct request_how *how, const struct http_head *h, int tries);

// Scheme, host and path: what may be shown of a URL.
const char *request_shown(const char *url, char *out, size_t size);

// A whole answer of at most `most` bytes in memory, malloc'd and NUL-terminated, with tries,
// redirects and waiting. *next (HEAD_URL_BYTES): the next page of a list, "" for none.
int request_text(const struct request_how *how, const char *url, size_t most, char **out,
                 size_t *out_size, char *next, struct err *e);
