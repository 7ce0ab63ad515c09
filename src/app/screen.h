// Standard output as a person sees it: text of a model is shown so that it cannot steer the
// terminal, and what is beside the point is dimmed where the terminal can.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct screen {
    bool terminal; // what is not one gets the bytes as they are
    bool dims;     // it knows how, and NO_COLOR is not set
    bool dimmed, thinks;
    char last; // byte written; 0: none
};

void screen_init(struct screen *s);
// Whole UTF-8 characters. Control characters but newline and tab become '?' on a terminal. False
// when nobody can receive it any more.
bool screen_text(struct screen *s, const char *text, size_t size);
// From here on text is what a model thinks, or no longer: dimmed, or else said, on lines of its
// own.
void screen_think(struct screen *s, bool think);
// From here on text is beside the point, or no longer. Where that cannot be seen, nothing happens.
void screen_dim(struct screen *s, bool dim);
// Ends the line, unless nothing is in it.
void screen_end_line(struct screen *s);
