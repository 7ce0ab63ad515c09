// The inside of a conversation, for the files conversation*.c.
#pragma once

#include "app/conversation.h"
#include "text/chat.h"

struct conversation_text { // growable, NUL-terminated when it is not empty
    char *bytes;
    size_t n, size;
};

struct conversation {
    struct loaded *loaded;
    struct chat *chat; // NULL: plain text
    enum kv_type kv_type;
    json_t *messages;              // without the system's
    char *system;                  // NULL: none
    json_t *variables;             // of the template; NULL: none
    struct conversation_text text; // instead of messages
    struct session *session;
    struct ids held; // the tokens of what was said; the session has them, or has lost them
    struct digest model;
    bool has_model; // the digest is known
};

bool conversation_append(struct conversation_text *t, const char *bytes, size_t n);

// The tokens of all that was said, with the answer open. As many of `held` are kept as spell its
// beginning. Appends to `out`. `notes`: what the template says about the answer; may be NULL.
int conversation_ids(const struct conversation *c, struct ids *out, struct chat_notes *notes,
                     struct err *e);
// Forgets the oldest turns, one at least, until the tokens of the rest and `n_spoken` more leave a
// quarter of the context free, or only the last turn is left; `out` gets their tokens. 1: that does
// not fit either, and nothing has changed.
int conversation_forget(struct conversation *c, size_t n_spoken, struct ids *out, size_t *n_turns,
                        struct err *e);
