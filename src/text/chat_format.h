// How a model's answers say what is not content: the formats of tool calls and of reasoning, and
// which of them a template shows.
#pragma once

#include "text/vocab.h"

enum chat_payload { // what stands behind the marker that opens a call
    CALLS_NONE,
    CALLS_JSON,    // objects {name, arguments}, or arrays of them
    CALLS_KEYED,   // the same, written {NAME: arguments}
    CALLS_TAGS,    // <function=NAME><parameter=KEY>VALUE</parameter></function>, or JSON
    CALLS_PAIRS,   // NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>
    CALLS_NAMED,   // NAME<separator>JSON, in a code fence or not; or JSON
    CALLS_HARMONY, // channels: chat_harmony.c
};

enum { CHAT_MAX_OPENS = 2, CHAT_MAX_SILENT = 4 };

struct chat_format {
    const char *name;
    const char *signs[2]; // a template that has both is in this format; the second may be NULL
    enum chat_payload payload;
    const char *open[CHAT_MAX_OPENS];    // each begins a call
    const char *close;                   // ends it, and may be missing; or NULL
    const char *separator;               // CALLS_NAMED
    const char *silent[CHAT_MAX_SILENT]; // around calls: say nothing by themselves
    bool bare;                           // an answer that is a JSON object may be a call
    const char *tag;                     // CALLS_TAGS: what begins a call inside, "<function="
};

struct chat_thinking {
    const char *open, *close;
    const char *silent[2]; // around the content behind it
};

// The format a template shows; payload CALLS_NONE when it shows none.
const struct chat_format *chat_format_of(struct gguf_string source);
// Markers of reasoning that the template shows, or that the vocabulary has as tokens. NULL: none.
const struct chat_thinking *chat_thinking_of(struct gguf_string source, const struct vocab *v);
bool chat_mentions(struct gguf_string source, const char *text);
