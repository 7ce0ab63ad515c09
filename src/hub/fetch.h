// Fetching one file over HTTP: in several ranges at once, again where a connection breaks or
// stalls, and on from where an earlier try, another day, ended.
//
// A server is believed in nothing: what it says about lengths is compared, with itself and with
// what was known before; a file that changes on the way is fetched anew; one that does not know
// ranges gets one connection. What comes out is the right file under its name, or a sentence.
//
// One thread, the caller's, drives all connections.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "hub/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FETCH_MAX_CONNECTIONS = 16, FETCH_STALL_S = 30, FETCH_BACKOFF_MS = 500 };

enum fetch_phase {
    FETCH_MOVING,
    FETCH_CHECKING, // SHA-256 of what is there
};

struct fetch {
    const char *url, *path;
    uint64_t size; // 0: not known
    bool has_digest;
    struct digest digest; // SHA-256 of the file, from a list of the hub
    int n_connections;    // at most
    uint64_t chunk;       // bytes of a range; 0: as is good
    struct request_how how;
    // Several times a second; total 0: not known. False: stop, and keep what is there.
    bool (*told)(void *arg, enum fetch_phase phase, uint64_t done, uint64_t total);
    void *arg;
};

struct fetched {
    uint64_t size, moved; // bytes of the file; those that came now
    bool verified;        // by SHA-256
};

int fetch_file(const struct fetch *f, struct fetched *out, struct err *e);
