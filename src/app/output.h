// Standard output of the verbs: checked, and remembered when it fails.
//
// A reader that closed the pipe has had enough: writing stops and nobody is told. A full disk is an
// error of the program, told once at its end.
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// Writes and flushes; false when nobody can receive it any more.
bool output_write(const char *text, size_t size);
// One line of JSON; takes the reference.
int output_json(json_t *json, struct err *e);
// At the end of the program: 0, or ERR_FAILED when something could not be written.
int output_finish(struct err *e);
