// A chat laid open, for the files that it is made of: chat.c (opening, rendering, tokens),
// chat_builtin.c (templates of our own), chat_probe.c (what a template takes), chat_messages.c
// (messages put the way it takes them) and chat_format.c (how answers look).
#pragma once

#include "text/chat.h"
#include "text/chat_format.h"
#include "text/jinja.h"

enum chat_emptiness { // how a message that is calls alone says that it has no content
    EMPTY_EITHER,
    EMPTY_TEXT, // ""
    EMPTY_NULL,
};

struct chat_takes {
    bool system, developer;
    bool tools;        // their descriptions
    bool system_tools; // the same, as text in a member of the system message (Phi 4 mini)
    bool calls;        // in messages of the assistant
    bool text_calls;   // arguments as text; else as an object
    bool parts;        // content as an array of parts only
    bool short_ids;    // ids of calls are nine letters and digits
    bool thinking;     // reasoning is called that
    bool reasoning;    // or that, beside reasoning_content
    bool joint;        // reasoning and content of a call are one
    enum chat_emptiness empty;
};

struct chat_template {
    struct jinja *jinja;
    struct chat_takes takes;
    const struct chat_format *format;
    const struct chat_thinking *thinking; // NULL: none
};

struct chat {
    const struct vocab *vocab;
    struct chat_template template;  // has a jinja
    struct chat_template for_tools; // where tools are given; jinja NULL: the other one
    const char *builtin;            // its name, or NULL
};

static inline const struct chat_template *chat_template_for(const struct chat *c, bool tools)
{
    return tools && c->for_tools.jinja ? &c->for_tools : &c->template;
}

// ---- chat.c
// Renders messages as they are. `variables`, `tools` may be NULL.
int chat_render(const struct vocab *v, const struct jinja *jinja, const struct chat_request *r,
                struct jinja_text *out, struct err *e);

// ---- chat_probe.c
void chat_probe(struct chat_template *t, struct gguf_string source, const struct vocab *v);

// ---- chat_messages.c
// The messages of a request as the template takes them: a new array.
int chat_messages(json_t **out, const struct chat_template *t, const struct chat_request *r,
                  struct chat_notes *notes, struct err *e);

// ---- chat_builtin.c
// The name of the built-in template of the family that the vocabulary's tokens tell, or NULL.
const char *chat_builtin_for(const struct vocab *v);
