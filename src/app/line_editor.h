// Lines from a person at a terminal, with editing and history (libedit).
//
// Text that is pasted comes in as it is, newlines and all, where the terminal says that it was
// pasted. Ctrl-C gives up the line; Ctrl-D in an empty one ends. UTF-8 in any locale.
//
// Threads: one at a time. Signals may go to any thread.
#pragma once

#include "base/err.h"

#include <stddef.h>

struct line_editor;

// Standard input and output must be a terminal. `history`: the file of app/line_history.h, NULL:
// none. Takes over Ctrl-C, as interrupt_keep says.
int line_editor_open(struct line_editor **out, const char *history, struct err *e);
void line_editor_close(struct line_editor *l);

enum line_end {
    LINE_WHOLE,
    LINE_GIVEN_UP, // Ctrl-C; or the program is to end: interrupt_ending
    LINE_NO_MORE,  // Ctrl-D, or the terminal is gone
};
// *line is malloc'd, without the newline, and NULL unless it is whole.
enum line_end line_editor_read(struct line_editor *l, const char *prompt, char **line);
// Makes an entry of the history.
void line_editor_remember(struct line_editor *l, const char *entry);
