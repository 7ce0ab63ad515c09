// Names of models on the command line: what of a hub, at a URL, or of Ollama.
//
//     hf:OWNER/REPO             a repository of GGUF files, in the usual quantization
//     hf:OWNER/REPO:Q8_0        in this one
//     hf:OWNER/REPO/FILE.gguf   this file of it
//     https://HOST/PATH.gguf    or http://
//     ollama:NAME:TAG           what Ollama has on this machine
//
// A name comes from anywhere and becomes a URL and a path, so that it is checked here, hard: parts
// are made of letters, digits, '.', '_' and '-', none is or begins with a dot, none is empty.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { NAME_PART_BYTES = 97, NAME_FILE_BYTES = 400, NAME_URL_BYTES = 2000 };

enum name_kind {
    NAME_HUB,
    NAME_URL,
    NAME_OLLAMA,
};

struct model_name {
    enum name_kind kind;
    char owner[NAME_PART_BYTES], repo[NAME_PART_BYTES]; // NAME_HUB; of Ollama: namespace and name
    char quant[NAME_PART_BYTES];                        // as given, "" not; of Ollama: the tag
    char file[NAME_FILE_BYTES];                         // in the repository; of a URL: HOST/PATH
    char url[NAME_URL_BYTES];                           // NAME_URL, whole
};

// Whether `text` claims to be a name: it begins as one does.
bool model_name_claimed(const char *text);
// OWNER/REPO or OWNER/REPO:QUANT without hf: in front, which could also be a path.
bool model_name_bare(const char *text);
// Parses a name, a bare one included. ERR_USAGE and a sentence, or 0. https://huggingface.co/ URLs
// of a file become names of the hub.
int model_name_parse(struct model_name *n, const char *text, struct err *e);

// A path below a folder, from outside: relative, '/' between parts, each part clean as above.
bool model_name_path_ok(const char *path);
// The name again, as it would be typed; a URL without what follows its path (that may be secret).
void model_name_text(const struct model_name *n, char *out, size_t size);

// "-00002-of-00003.gguf": whether a file is one of several, which (from 1) and of how many. The
// length of the name in front of it is put into *stem.
bool model_name_split(const char *file, size_t *stem, int *no, int *of);
