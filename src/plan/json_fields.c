// Strict reading of JSON: see json_fields.h.
#include "plan/json_fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACE_TEXT = 160, QUOTED = 48 };

// ---- sentences ---------------------------------------------------------------------------------

// "machines[1].cpu", from the root down.
static void say_place(const struct fields *f, char *out, size_t size)
{
    size_t used;
    if (!f->up) {
        *out = 0;
        return;
    }
    say_place(f->up, out, size);
    used = strlen(out);
    if (f->name)
        snprintf(out + used, size - used, "%s%s", used ? "." : "", f->name);
    else
        snprintf(out + used, size - used, "[%zu]", f->index);
}

int fields_refuse(const struct fields *f, const char *format, ...)
{
    char place[PLACE_TEXT], what[320], safe[PLACE_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    say_place(f, place, sizeof place);
    err_quote(safe, sizeof safe, place, (int)strlen(place));
    return err_set(f->e, ERR_USAGE, "%s: %s%s%s", f->file, safe, *safe ? ": " : "", what);
}

int fields_parse(json_t **out, const char *text, size_t size, const char *file, struct err *e)
{
    json_error_t error;
    char what[sizeof error.text];
    if (size > FIELDS_TEXT)
        return err_set(e, ERR_FAILED,
                       "%s: is larger than %d KiB, and no description that is read "
                       "here is",
                       file, FIELDS_TEXT >> 10);
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (*out)
        return 0;
    err_quote(what, sizeof what, error.text, (int)strnlen(error.text, sizeof error.text));
    return err_set(e, ERR_FAILED, "%s: is no JSON: line %d, column %d: %s", file, error.line,
                   error.column, what);
}

// ---- where we are ------------------------------------------------------------------------------

struct fields fields_in(const struct fields *f, const char *name)
{
    return (struct fields){.file = f->file,
                           .json = f->json ? json_object_get(f->json, name) : NULL,
                           .e = f->e,
                           .up = f,
                           .name = name};
}

struct fields fields_at(const struct fields *f, size_t i)
{
    return (struct fields){.file = f->file,
                           .json = f->json ? json_array_get(f->json, i) : NULL,
                           .e = f->e,
                           .up = f,
                           .index = i};
}

static void list_names(const char *const *names, char *out, size_t size)
{
    size_t used = 0;
    *out = 0;
    for (int i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", names[i]);
}

bool fields_object(const struct fields *f, const char *const *names)
{
    const char *key;
    json_t *value;
    if (!json_is_object(f->json)) {
        fields_refuse(f, f->json ? "must be an object, in braces" : "is missing");
        return false;
    }
    json_object_foreach((json_t *)f->json, key, value)
    {
        bool known = !strcmp(key, "comment");
        for (int i = 0; names[i] && !known; i++)
            known = !strcmp(key, names[i]);
        if (known)
            continue;
        char quoted[QUOTED], all[240];
        err_quote(quoted, sizeof quoted, key, (int)strlen(key));
        list_names(names, all, sizeof all);
        fields_refuse(f, "'%s' is not known here; there can be %s", quoted, all);
        return false;
    }
    return true;
}

size_t fields_list(const struct fields *f, size_t most)
{
    if (!f->json)
        return 0;
    if (!json_is_array(f->json)) {
        fields_refuse(f, "must be a list, in brackets");
        return 0;
    }
    if (json_array_size(f->json) > most) {
        fields_refuse(f, "has %zu entries; there can be %zu", json_array_size(f->json), most);
        return 0;
    }
    return json_array_size(f->json);
}

// ---- values ------------------------------------------------------------------------------------

bool fields_need(const struct fields *f, const char *name)
{
    struct fields v = fields_in(f, name);
    if (!v.json)
        fields_refuse(&v, "is missing");
    return v.json != NULL;
}

double fields_number(const struct fields *f, const char *name, double min, double max)
{
    struct fields v = fields_in(f, name);
    if (!v.json)
        return 0;
    double x = json_number_value(v.json);
    if (json_is_number(v.json) && isfinite(x) && x >= min && x <= max)
        return x;
    fields_refuse(&v, "must be a number from %g to %g", min, max);
    return 0;
}

int fields_int(const struct fields *f, const char *name, int min, int max)
{
    struct fields v = fields_in(f, name);
    if (!v.json)
        return 0;
    json_int_t x = json_integer_value(v.json);
    if (json_is_integer(v.json) && x >= min && x <= max)
        return (int)x;
    fields_refuse(&v, "must be a whole number from %d to %d", min, max);
    return 0;
}

// "1.5G"; below 0: it is none.
static double read_size(const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    double x = *text >= '0' && *text <= '9' ? strtod(text, &end) : -1;
    if (x < 0 || !*end)
        return x;
    const char *unit = strchr(units, *end);
    return unit && !end[1] ? ldexp(x, 10 * (int)(unit - units + 1)) : -1;
}

uint64_t fields_bytes(const struct fields *f, const char *name)
{
    const double most = 1ull << 50;
    struct fields v = fields_in(f, name);
    if (!v.json)
        return 0;
    double x = json_is_string(v.json)   ? read_size(json_string_value(v.json))
               : json_is_number(v.json) ? json_number_value(v.json)
                                        : -1;
    if (x >= 0 && x <= most)
        return (uint64_t)x;
    fields_refuse(&v, "must be bytes, as 6442450944 or \"6G\", and at most 1024T");
    return 0;
}

const char *fields_text(const struct fields *f, const char *name, size_t max)
{
    struct fields v = fields_in(f, name);
    if (!v.json)
        return NULL;
    const char *text = json_string_value(v.json);
    bool good = text && *text && strlen(text) < max;
    for (const char *p = text; good && *p; p++)
        good = *p >= ' ' && *p < 127;
    if (good)
        return text;
    fields_refuse(&v, "must be a text of 1 to %zu printable ASCII characters", max - 1);
    return NULL;
}

json_t *fields_make_number(double x)
{
    char text[40];
    if (!isfinite(x))
        return json_null();
    snprintf(text, sizeof text, "%.9g", x);
    double y = strtod(text, NULL);
    if (y == floor(y) && fabs(y) < 9e15)
        return json_integer((json_int_t)y);
    return json_real(y);
}
