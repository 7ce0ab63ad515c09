// What a head has measured between its nodes, remembered for a day: ways to and fro, and what
// nodes on one disk get together. A start with the same nodes measures none of it again.
//
// The file (findings.json in the state folder) is of this user alone. One that is damaged, or of
// another release, is as good as none; that it cannot be written is no error.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FINDINGS_MAX = 1024, // the oldest make room
    FINDINGS_KEY = 16,
    FINDINGS_VALID_S = 24 * 3600,
};

struct findings {
    int n;
    bool changed; // since it was read
    struct finding {
        uint8_t key[FINDINGS_KEY];
        double a, b;
        int64_t at_s; // when it was found
    } list[FINDINGS_MAX];
};

// The beginning of the digest of these bytes.
void findings_key(uint8_t out[FINDINGS_KEY], const void *data, size_t size);

// NULL: it is not known, or too old.
const struct finding *findings_find(const struct findings *f, const uint8_t key[FINDINGS_KEY],
                                    int64_t now_s);
void findings_put(struct findings *f, const uint8_t key[FINDINGS_KEY], double a, double b,
                  int64_t now_s);

int findings_parse(struct findings *f, const char *text, size_t size, struct err *e);
void findings_load(struct findings *f, const char *folder);  // absent or damaged: empty
void findings_store(struct findings *f, const char *folder); // when it has changed
