// How to converse with a model: --chat-template, its own template, or a built-in one.
#pragma once

#include "text/chat.h"

// `name`: a built-in template or a file; NULL: what the model says. *out NULL with 0: no way of
// conversing is known.
int chat_choice_open(struct chat **out, const char *name, const struct gguf *g,
                     const struct vocab *v, struct err *e);
