// Conversations as tokens: the model's own chat template (tokenizer.chat_template), rendered, and
// its text made tokens so that nothing a message says can become a control token. A model without a
// template whose vocabulary has ChatML's markers speaks ChatML.
#pragma once

#include "gguf/gguf.h"
#include "text/vocab.h"

#include <jansson.h>

struct chat;

// `source`: the model's template, its text NULL when it has none; not kept. 0 with *out NULL: this
// model has no way of conversing that is known. `v` must outlive the chat.
int chat_open(struct chat **out, struct gguf_string source, const struct vocab *v, struct err *e);
void chat_free(struct chat *c);

struct chat_request {
    json_t *messages; // an array of objects with role and content; borrowed, as all that follows
    json_t *tools;    // NULL: none
    bool answer;      // leaves the turn of the assistant open
};

// Appends the ids of the conversation; nothing when it fails.
int chat_encode(const struct chat *c, const struct chat_request *r, struct ids *out, struct err *e);
