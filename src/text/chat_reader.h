// An answer as it comes, told apart: content, reasoning, calls of tools.
//
// The reader is fed with tokens and the text that the detokenizer made of them, cut anywhere. Text
// that may still become a marker is held back (never more than a marker's length and some white
// space); a call is held until it is whole, at most CHAT_MAX_CALL_BYTES, and comes out as content
// when it turns out to be none. The events do not depend on how the answer was cut; they hold whole
// UTF-8 characters. White space around sections is not part of them; nothing else is lost.
//
// A marker that is a control token of the vocabulary is one only as this token: the same text,
// written by the model, is text.
#pragma once

#include "text/chat.h"

enum {
    CHAT_MAX_CALL_BYTES = 1 << 20,
    CHAT_ID_BYTES = 64, // of a call's id, with the NUL
};

enum chat_event_kind { CHAT_CONTENT, CHAT_REASONING, CHAT_CALL };

struct chat_event {
    enum chat_event_kind kind;
    const char
        *text; // the next of content or reasoning; a call's arguments, a JSON object as text.
    size_t n;  // NUL-terminated too, for the length of the call
    // a call
    int index;        // 0, 1 ... within the answer
    const char *name; // NUL-terminated
    const char *id;   // the model's own, where it gave one, else nine letters and digits
};

struct chat_reader_options {
    json_t *tools;     // of the request, or NULL: calls are content then; borrowed until freed
    bool in_reasoning; // chat_notes.in_reasoning
    uint64_t seed;     // of the ids of calls
    void (*take)(void *arg, const struct chat_event *event);
    void *arg;
};

struct chat_reader;

// `c` must outlive the reader. A reader belongs to one thread.
int chat_reader_new(struct chat_reader **out, const struct chat *c,
                    const struct chat_reader_options *o, struct err *e);
void chat_reader_free(struct chat_reader *r);

// The next token and its text, as detokenize gives it (a control token has none). id -1: text
// without a token.
void chat_read(struct chat_reader *r, int32_t id, const char *text, size_t n);
// The answer is over: what was held comes out. Nothing may be read after it.
void chat_read_end(struct chat_reader *r);

// The answer as one message of the assistant (role, content, reasoning_content, tool_calls), to be
// put behind the conversation. NULL: no memory.
json_t *chat_reader_message(const struct chat_reader *r);
