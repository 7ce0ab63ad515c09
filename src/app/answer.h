// One answer: the prompt computed, then tokens drawn until the model ends it or nothing more fits.
// The text comes out as it arises; the wait for the prompt shows on a terminal.
//
// When the context was full an answer can go on: answer_run again, with a prompt that has the
// tokens drawn so far at its end and leaves out something before them. Dice and text go on where
// they were.
#pragma once

#include "base/digest.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "text/vocab.h"

struct answer_request {
    size_t max_tokens;
    struct sampler_options sampler;
    bool keep_space; // the answer continues a text: the space in front of its first word belongs to
                     // it
    bool hash;       // digest of the logits
    // Each token, and the text that became complete with it: whole UTF-8 characters, perhaps none,
    // NUL-terminated. At the end, without a token (id -1), what was held back. False: nobody
    // listens any more.
    bool (*token)(void *arg, int32_t id, const char *text, size_t size);
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
    size_t n_prompt, n_reused; // tokens of the prompt, and how many of them were in the cache
    int64_t prompt_ns;         // prompt computed, since the start
    int64_t ttft_ns;           // first token known
    int64_t tpot_ns;           // mean time of a further token; 0: there was none
    struct digest logits;      // of all positions that a token was drawn from, in order
};

struct answering; // an answer under way

// `s` and `v` outlive it.
int answer_begin(struct answering **out, struct session *s, const struct vocab *v,
                 const struct answer_request *r, struct err *e);
// Computes `prompt` and draws. Fails with what went wrong on the way; `a` (zeroed before the first
// run) then has what was there until then.
int answer_run(struct answering *m, const struct ids *prompt, struct answer *a, struct err *e);
// Tells the text that was held back, and completes `a`. Frees `m`, which may be NULL.
void answer_end(struct answering *m, struct answer *a);
void answer_free(struct answer *a);
