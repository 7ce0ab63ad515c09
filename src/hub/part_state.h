// What is known of a file that is being downloaded, and its text in the small file beside it, by
// which a download goes on after a break. The text is JSON; it is read as if a stranger had written
// it.
#pragma once

#include "base/digest.h"
#include "hub/http_head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANGES_MAX = 256, PART_STATE_BYTES = 64 << 10 };

struct range {
    uint64_t lo, hi; // [lo, hi)
};

struct ranges { // sorted, none touches another
    struct range at[RANGES_MAX];
    int n;
};

// Adds [lo, hi). False: there are too many gaps, it was left out.
bool ranges_add(struct ranges *r, uint64_t lo, uint64_t hi);
uint64_t ranges_bytes(const struct ranges *r);
// The first gap of [0, end); false: there is none.
bool ranges_gap(const struct ranges *r, uint64_t end, struct range *out);

struct part_state {
    uint64_t size;             // of the whole file; HEAD_UNKNOWN
    char etag[HEAD_TAG_BYTES]; // or Last-Modified, of the answers so far; "": none
    bool has_digest;
    struct digest digest; // SHA-256 that the server told
    struct ranges done;
};

void part_state_init(struct part_state *s);
bool part_state_parse(struct part_state *s, const char *text, size_t size);
char *part_state_text(const struct part_state *s); // malloc'd; NULL: no memory
