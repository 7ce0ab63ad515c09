// Strict reading of JSON that people write: every field is one that is known, of the right type and
// within its range, or one sentence says which file, which field, and what is wrong with it.
//
//     struct fields root = {.file = "home.json", .json = j, .e = e};
//     struct fields cpu = fields_in(&root, "cpu");   // {} where there is none
//     double us = fields_number(&cpu, "layer_us", 0, 1e9);
//
// The first error is kept in `e`, which must be there; whoever reads goes on with zeros and looks
// at e->code in the end. A node points to the one above: it lives no longer.
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { FIELDS_TEXT = 1 << 20 }; // bytes of a file that are read

struct fields {
    const char *file;
    const json_t *json; // NULL: not there
    struct err *e;
    const struct fields *up;
    const char *name; // NULL: of a list
    size_t index;
};

// The JSON in a text. ERR_FAILED: it is none, and the sentence has the line.
int fields_parse(json_t **out, const char *text, size_t size, const char *file, struct err *e);

// Sets the error: "home.json: machines[1].cpu: <sentence>". Returns its code.
int fields_refuse(const struct fields *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// It must be an object with no other fields than these, NULL-terminated, and "comment".
bool fields_object(const struct fields *f, const char *const *names);
// It must be a list; how many there are, at most `most`. Not there: 0.
size_t fields_list(const struct fields *f, size_t most);

struct fields fields_in(const struct fields *f, const char *name);
struct fields fields_at(const struct fields *f, size_t i);

// Of an object's field; 0 or NULL where it is not there, which fields_need refuses.
double fields_number(const struct fields *f, const char *name, double min, double max);
int fields_int(const struct fields *f, const char *name, int min, int max);
// A number, or as people write it: "512M", "1.5G", in powers of 1024.
uint64_t fields_bytes(const struct fields *f, const char *name);
// Printable ASCII of 1 to max - 1 characters.
const char *fields_text(const struct fields *f, const char *name, size_t max);
bool fields_need(const struct fields *f, const char *name);

// Nine digits of a number, as an integer where it is one.
json_t *fields_make_number(double x);
