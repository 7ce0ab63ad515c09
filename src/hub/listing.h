// The GGUF files of a repository, as the hub's HTTP interface lists them.
#pragma once

#include "hub/quant.h"
#include "hub/request.h"

struct hub_file {
    char path[NAME_FILE_BYTES];
    uint64_t size;
    bool has_digest;
    struct digest digest; // SHA-256
};

enum { LISTING_MAX_FILES = 10000, LISTING_MAX_PAGES = 50, LISTING_PAGE_BYTES = 16 << 20 };

struct listing {
    struct hub_file *files; // heap, sorted by path
    size_t n, capacity;
};

// One page, JSON. Files whose names could not be paths below a folder are left out.
int listing_add(struct listing *l, const char *json, size_t size, struct err *e);
// All pages from `endpoint` ("https://huggingface.co").
int listing_fetch(struct listing *l, const struct request_how *how, const char *endpoint,
                  const struct model_name *n, struct err *e);
void listing_free(struct listing *l);

// The files that `n` names: files[first .. first + *n_files) are one model, its parts in order. See
// quant_choose for `why`. Returns first, or a negative error.
int listing_choose(const struct listing *l, const struct model_name *n, int *n_files, char *why,
                   size_t why_size, struct err *e);
