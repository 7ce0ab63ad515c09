// Conversations as tokens, and answers as what they mean.
//
// A model's own chat template (tokenizer.chat_template, and tokenizer.chat_template.tool_use where
// tools are given), or the built-in one of its family, makes tokens of messages. What a message, a
// tool's description or its result says can never become a control token.
//
// Templates differ in what they take: arguments of calls as objects or as text, no content or empty
// content, a system message or none. That is found out once, by rendering small conversations when
// the chat is opened, and messages are put the way the template takes them.
//
// A chat is immutable: any thread may use it. chat_reader.h takes answers apart.
#pragma once

#include "gguf/gguf.h"
#include "text/vocab.h"

#include <jansson.h>

struct chat;

// The model's own template, or the built-in one of its family, also where its own is not understood
// (with a warning). 0 with *out NULL: this model has no
// way of conversing that is known. `v` must outlive the chat, `g` need not, and may be NULL: the
// vocabulary alone decides.
int chat_open(struct chat **out, const struct gguf *g, const struct vocab *v, struct err *e);
// A template given by the user; not kept.
int chat_open_source(struct chat **out, struct gguf_string source, const struct vocab *v,
                     struct err *e);
void chat_free(struct chat *c);

// Built-in templates: the source of one, its text NULL when there is none of that name, and the
// names, NULL behind the last.
struct gguf_string chat_builtin(const char *name);
const char *chat_builtin_name(size_t i);

// What a conversation may have.
struct chat_abilities {
    const char
        *builtin;   // name of the built-in template in use; NULL: the model's own, or a given one
    bool system;    // system messages; without it they are put in front of the first user's
    bool tools;     // tools and their results
    bool reasoning; // answers may begin with reasoning
    const char *format; // how answers call tools: "hermes", "llama3" ..., "none"
};
struct chat_abilities chat_abilities(const struct chat *c);

enum { // limits of a request
    CHAT_MAX_MESSAGES = 1 << 16,
    CHAT_MAX_DEPTH = 100, // of nested values in messages, tools and variables
};

struct chat_request {
    // Messages as in OpenAI's API, an array of objects: role (system, developer, user, assistant,
    // tool), content (text, null, or an array of text parts), and where they belong tool_calls,
    // tool_call_id, name, reasoning_content. Borrowed and unchanged, as all that follows.
    json_t *messages;
    json_t *tools;     // an array of {type: function, function: {..}}, or NULL
    json_t *variables; // an object of further variables of the template (enable_thinking,
                       // reasoning_effort, documents ...), or NULL
    bool answer;       // leaves the turn of the assistant open
};

// What came of a conversation.
struct chat_notes {
    bool in_reasoning; // the answer begins within a section of reasoning, which the template opened
    bool moved_system; // the template has no system messages: it went into the first user's
    bool described_tools; // it has no descriptions of tools: a system message has them
};

// Appends the ids of the conversation; nothing when it fails. `notes` may be NULL.
int chat_encode(const struct chat *c, const struct chat_request *r, struct ids *out,
                struct chat_notes *notes, struct err *e);
