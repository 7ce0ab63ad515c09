// rondo pull: from a name to a file on this machine. What other programs have already downloaded is
// used where it lies, after it was compared with what the hub lists; else the files are fetched
// into Rondo's own folder.
#pragma once

#include "hub/fetch.h"
#include "hub/model_name.h"
#include "hub/stores.h"

#define DOWNLOAD_HUB "https://huggingface.co"

struct download {
    const char *mirror;   // --mirror; NULL: none
    const char *endpoint; // HF_ENDPOINT; NULL: the hub
    const char *token;    // HF_TOKEN; NULL: none. For the hub or its endpoint, not for a mirror
    int n_connections, stall_s;
    // As in struct fetch; of all files together.
    bool (*told)(void *arg, enum fetch_phase phase, uint64_t done, uint64_t total);
    void (*say)(void *arg, const char *sentence); // what a user should know before the end
    void *arg;
};

struct downloaded {
    char path[STORE_PATH_BYTES]; // of a split model its first part
    uint64_t size, moved;        // of all files; what came now
    int n_files;
    bool verified;    // each file by its SHA-256
    bool here;        // it was on this machine already,
    enum store store; // there
};

int download_model(const struct download *d, const struct model_name *n, struct downloaded *out,
                   struct err *e);
