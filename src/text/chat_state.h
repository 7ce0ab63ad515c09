// A chat laid open, for the files that it is made of.
#pragma once

#include "text/chat.h"
#include "text/chat_format.h"
#include "text/jinja.h"

struct chat {
    const struct vocab *vocab;
    struct jinja *template;
    const struct chat_format *format;
    const struct chat_thinking *thinking; // NULL: none
};
