// A conversation with a model: what was said, and a session that has it as tokens.
//
// With a model that converses, what was said is messages, which its template makes text of; with
// one that does not, and with --raw, it is one growing text that the model continues. Each turn
// computes only what is new: tokens that spell what the template says now are kept as they were
// drawn, though the tokenizer would have cut them otherwise.
//
// When the context is full the oldest turns can be forgotten, in the text and so in the tokens,
// until a quarter of the context is free; the system's message stays. A turn of which nothing was
// answered, because it was interrupted or refused, has not happened.
//
// Threads: that of its pipeline.
#pragma once

#include "app/answer.h"
#include "app/loaded.h"

#include <jansson.h>

struct conversation;

struct conversation_options {
    bool raw;                  // continue plain text in any case
    const char *chat_template; // a built-in one or a file; NULL: the model's own
    enum kv_type kv_type;      // of the pipeline's cache
};

// `l` outlives it.
int conversation_new(struct conversation **out, struct loaded *l,
                     const struct conversation_options *o, struct err *e);
void conversation_free(struct conversation *c);

bool conversation_chats(const struct conversation *c); // false: it continues plain text
size_t conversation_turns(const struct conversation *c);
size_t conversation_tokens(const struct conversation *c); // of what was said, as last computed
size_t conversation_room(const struct conversation *c);   // tokens of context
// NULL: none. ERR_USAGE where the model does not converse.
const char *conversation_system(const struct conversation *c);
int conversation_set_system(struct conversation *c, const char *text, struct err *e);

enum think { // enable_thinking and reasoning_effort of templates that look at them
    THINK_AUTO,
    THINK_ON,
    THINK_OFF,
    THINK_LOW,
    THINK_MEDIUM,
    THINK_HIGH,
    THINK_COUNT,
};
int conversation_set_think(struct conversation *c, enum think think, struct err *e);

// Forgets what was said; the system's message stays.
void conversation_clear(struct conversation *c);

enum conversation_part { CONVERSATION_CONTENT, CONVERSATION_REASONING };

struct conversation_turn {
    const char *text; // of the user; of plain text, what follows
    size_t length;
    size_t max_tokens;
    struct sampler_options sampler; // the seed counts up from answer to answer
    bool hash;                      // digest of the logits
    // New text of the answer, whole UTF-8 characters; false: nobody listens any more.
    bool (*take)(void *arg, enum conversation_part part, const char *text, size_t size);
    // The context is full: whether the oldest turns may be forgotten. NULL: they may not.
    bool (*full)(void *arg);
    void (*forgot)(void *arg, size_t n_turns, size_t n_free); // after it; tokens. NULL: untold
    void *arg;                                                // of all these
};

// The tokens of the text as the next turn, without saying it: what would be computed, and whether
// that fits. Appends to `out`.
int conversation_encode(const struct conversation *c, const char *text, size_t length,
                        struct ids *out, struct err *e);
// Says the text and answers. ERR_NO_MEMORY: the turn does not fit, and nothing was to be forgotten.
// `a` is zeroed first; free it with answer_free.
int conversation_say(struct conversation *c, const struct conversation_turn *t, struct answer *a,
                     struct err *e);

// ---- Keeping it (app/saved_session.h).
int conversation_save(struct conversation *c, const char *path, struct err *e);

struct conversation_found {
    bool other_model; // only the text is of use
    size_t n_tokens;  // of it that need not be computed again
    char note[512];   // why they must be; empty: they need not
};
// Becomes what the file has. 1: there is no such file. When it fails nothing has changed.
int conversation_load(struct conversation *c, const char *path, struct conversation_found *found,
                      struct err *e);
