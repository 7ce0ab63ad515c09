// One answer: a prompt's tokens in, text out as it comes, and everything that was seen on the way.
#pragma once

#include "app/loaded.h"
#include "base/digest.h"
#include "engine/sampler.h"

struct answer_request {
    const struct ids *prompt;
    size_t max_tokens;
    struct sampler_options sampler;
    bool keep_space; // the answer continues a text: the space in front of its first word belongs to
                     // it
    bool hash;       // digest of the logits
    // New text, whole UTF-8 characters, not NUL-terminated; false: nobody listens any more.
    bool (*text)(void *arg, const char *text, size_t size);
    void *arg;
};

enum answer_stop {
    ANSWER_END,         // the model ended it
    ANSWER_LENGTH,      // max_tokens
    ANSWER_CONTEXT,     // the context is full
    ANSWER_INTERRUPTED, // Ctrl-C, or nobody listens
};
extern const char *const answer_stop_names[];

struct answer {
    struct ids tokens; // without the one that ended it
    enum answer_stop stop;
    int64_t prompt_ns;    // prompt computed, since the start
    int64_t ttft_ns;      // first token known
    int64_t tpot_ns;      // mean time of a further token; 0: there was none
    struct digest logits; // of all positions that a token was drawn from, in order
};

// Fails with what went wrong on the way; `a` then has what was there until then.
int answer_make(struct answer *a, struct loaded *l, const struct answer_request *r, struct err *e);
void answer_free(struct answer *a);
