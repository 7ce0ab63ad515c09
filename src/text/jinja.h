// Chat templates: the part of the Jinja language that templates of real models use, interpreted in
// a sandbox. Behaviour is that of Jinja2 3.1 in its immutable sandbox, the way Hugging Face's
// libraries set it up: tojson prints as Python's json.dumps does, without escaping for HTML;
// `generation` blocks are transparent; break and continue are there.
//
// Marks. Every byte of a string knows whether it came from a message: text of a user must never
// become a control token, whatever a template does with it. Slicing, joining, stripping and
// replacing keep the marks, and the result says for each byte whether it is the template's or
// somebody's.
//
// A template reaches nothing outside: no files, no imports, no attributes of anything but its own
// values. A render has limits on steps, depth, memory and output; beyond one it fails with a
// sentence. A compiled template is read-only: any number of threads may render it.
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct jinja;

struct jinja_options {
    bool trim_blocks;   // the first newline after a block tag goes
    bool lstrip_blocks; // blanks between the start of a line and a block tag go
};

// NULL options: both, as chat templates are written. `source` is not kept.
int jinja_new(struct jinja **out, const char *source, size_t n, const struct jinja_options *o,
              struct err *e);
void jinja_free(struct jinja *t);

struct jinja_input {
    json_t *variables;          // an object; borrowed during the render
    const char *const *trusted; // names of variables whose strings are not marked; NULL ends it
    struct tm now;              // for strftime_now
};

// Rendered text, malloc'd: release with jinja_text_free. marks[i] is 1 where text[i] is somebody's.
struct jinja_text {
    char *text; // NUL-terminated
    uint8_t *marks;
    size_t n;
};

int jinja_render(const struct jinja *t, const struct jinja_input *in, struct jinja_text *out,
                 struct err *e);
void jinja_text_free(struct jinja_text *t);
