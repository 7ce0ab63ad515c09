// The head of an HTTP answer, as far as downloads need it: a parser of single lines that takes
// memory and believes nothing. A status line begins a new head, so that of a chain of answers the
// last one is left.
#pragma once

#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_TAG_BYTES = 256, HEAD_URL_BYTES = 4096, HEAD_DATE_BYTES = 64 };

#define HEAD_UNKNOWN UINT64_MAX

struct http_head {
    int status;                  // 0: no status line yet
    uint64_t length;             // Content-Length; HEAD_UNKNOWN: not told
    uint64_t first, last, total; // Content-Range: bytes first-last/total; total may be unknown
    bool ranged;                 // has a Content-Range that makes sense; of a 416 only total does
    bool broken;                 // a line of these contradicts itself or another
    uint64_t linked_size;        // X-Linked-Size; HEAD_UNKNOWN
    int64_t retry_s;             // Retry-After in seconds; -1: not told
    int64_t retry_at;            // Retry-After as a date, seconds since 1970; -1
    bool html, encoded;          // Content-Type is a page; Content-Encoding is not identity
    char etag[HEAD_TAG_BYTES];   // with its quotes and W/; "": none
    char linked_etag[HEAD_TAG_BYTES];
    char modified[HEAD_DATE_BYTES]; // Last-Modified
    char location[HEAD_URL_BYTES];  // "": none; one that does not fit makes the head broken
    char next[HEAD_URL_BYTES];      // of Link: <...>; rel="next"
};

void http_head_init(struct http_head *h);
// One line, with or without its line feed.
void http_head_line(struct http_head *h, const char *line, size_t size);

// The SHA-256 that an entity tag is when it has 64 hexadecimal digits: "..." or without quotes.
bool http_head_digest(const char *etag, struct digest *out);
// 64 hexadecimal digits.
bool http_head_hex(const char *text, size_t length, struct digest *out);
