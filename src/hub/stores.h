// The models that are on this machine already: Rondo's own, and those that other programs have
// downloaded (Hugging Face, llama.cpp, LM Studio, Ollama), which are used where they lie.
//
//     Rondo          $XDG_CACHE_HOME/rondo/models/OWNER/REPO/FILE, .../_url/HOST/PATH
//     Hugging Face   $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub:
//                    models--OWNER--REPO/snapshots/REVISION/FILE, a link to blobs/SHA256
//     llama.cpp      $LLAMA_CACHE, ~/.cache/llama.cpp: OWNER_REPO_FILE
//     LM Studio      ~/.lmstudio/models, ~/.cache/lm-studio/models: OWNER/REPO/FILE
//     Ollama         $OLLAMA_MODELS, ~/.ollama/models, /usr/share/ollama/.ollama/models:
//                    manifests/HOST/OWNER/NAME/TAG, JSON that names blobs/sha256-SHA256
//
// Folders of others are only read, and every name in them is taken as a stranger's.
#pragma once

#include "hub/quant.h"

#include "base/digest.h"

#include <stdint.h>

enum { STORE_PATH_BYTES = 4096, STORE_MAX_ENTRIES = 200000, STORE_MAX_DEPTH = 8 };

enum store {
    STORE_RONDO,
    STORE_HUGGING_FACE,
    STORE_LLAMA_CPP,
    STORE_LM_STUDIO,
    STORE_OLLAMA,
    STORE_COUNT,
};

struct stored {
    enum store store;
    enum name_kind kind;
    char *owner, *repo; // heap; as in struct model_name; "" where the store does not tell
    char *file;         // heap; in the repository; of a URL HOST/PATH; of Ollama TAG.gguf
    char *path;         // heap; absolute; of a split model its first part
    char *name;         // heap; what a user types
    int n_parts;
    bool partial;   // a download that has not ended; only Rondo's own
    uint64_t size;  // of all parts; of a partial one what is there
    uint64_t total; // of a partial one where known, else 0
};

struct stores {
    struct stored *at; // heap; Rondo's own first
    size_t n, capacity;
};

const char *store_name(enum store store); // "Hugging Face"
// Rondo's own folder, without a slash at its end; it need not be there.
int store_folder(char out[STORE_PATH_BYTES], struct err *e);

int stores_scan(struct stores *s, struct err *e);
void stores_free(struct stores *s);

// The model that a name means, by what is on this machine: its index or a negative error, which
// says how to get it. Partial ones do not count. `why` as in quant_choose.
int stores_find(const struct stores *s, const struct model_name *n, char *why, size_t why_size,
                struct err *e);
// The SHA-256 by which a store has named the file at `path`, itself or where it links to.
bool stores_digest(const char *path, struct digest *out);
// The path of part `no` (from 1) of the model whose first part is at `path`: malloc'd.
char *stores_part_path(const char *path, int no);
