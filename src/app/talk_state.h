// A conversation at the terminal, for talk.c and its commands in talk_commands.c.
#pragma once

#include "app/conversation.h"
#include "app/line_editor.h"
#include "app/options.h"
#include "app/saved_session.h"
#include "app/screen.h"

enum { TALK_VALUE_BYTES = 64 };

struct talk {
    struct conversation *c;
    struct loaded *loaded;
    struct options options; // as they stand now
    struct line_editor *editor;
    struct screen screen;
    bool timings, over;
    char name[SAVED_PATH_BYTES]; // of the session that this is; empty: none yet
};

// One sentence or more, and a newline.
void talk_say(struct talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A question that Enter answers with `by_default`.
bool talk_ask(struct talk *t, const char *question, bool by_default);

// Carries out a line that begins with a slash.
void talk_command(struct talk *t, const char *line);
