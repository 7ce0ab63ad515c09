// Values as text: str() and repr() as Python writes them, and json.dumps.
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void jinja_write(struct jinja_run *r, struct jinja_output *o, const char *bytes,
                 const uint8_t *marks, size_t n)
{
    if (n > o->capacity - o->n) {
        if (n > JINJA_MAX_OUTPUT || o->n > JINJA_MAX_OUTPUT - n)
            jinja_fail(r, "it writes more than %d MiB", JINJA_MAX_OUTPUT >> 20);
        size_t capacity = 2 * o->capacity > o->n + n ? 2 * o->capacity : o->n + n + 64;
        char *text = jinja_alloc(r, capacity);
        uint8_t *all = jinja_alloc(r, capacity);
        if (o->n) {
            memcpy(text, o->text, o->n);
            memcpy(all, o->marks, o->n);
        }
        o->text = text;
        o->marks = all;
        o->capacity = capacity;
    }
    jinja_step(r, 1 + n / 64);
    if (!n)
        return;
    memcpy(o->text + o->n, bytes, n);
    if (marks)
        memcpy(o->marks + o->n, marks, n);
    else
        memset(o->marks + o->n, 0, n);
    o->n += n;
}

void jinja_write_text(struct jinja_run *r, struct jinja_output *o, const char *text)
{
    jinja_write(r, o, text, NULL, strlen(text));
}

struct jinja_value jinja_output_value(struct jinja_run *r, const struct jinja_output *o)
{
    bool marked = o->n && memchr(o->marks, 1, o->n);
    return jinja_string_value(r, o->n ? o->text : "", marked ? o->marks : NULL, o->n);
}

// The shortest digits that give the number back, in Python's form.
static void print_float(struct jinja_run *r, struct jinja_output *o, double d, bool json)
{
    char text[64], digits[32];
    int precision = 1;
    if (isnan(d) || isinf(d)) {
        const char *name = isnan(d) ? (json ? "NaN" : "nan")
                           : d > 0  ? (json ? "Infinity" : "inf")
                                    : (json ? "-Infinity" : "-inf");
        jinja_write_text(r, o, name);
        return;
    }
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, d);
    while (strtod(text, NULL) != d && precision++ < 17);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10), n = 0;
    for (const char *c = text; *c != 'e'; c++)
        if (*c >= '0' && *c <= '9')
            digits[n++] = *c;
    digits[n] = 0;
    if (d < 0 || (d == 0 && signbit(d)))
        jinja_write_text(r, o, "-");
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, sizeof text, "%c%s%se%c%02d", digits[0], n > 1 ? "." : "", digits + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        snprintf(text, sizeof text, "0.%.*s%s", -exponent - 1, "000", digits);
    } else if (n <= exponent + 1) {
        snprintf(text, sizeof text, "%s%.*s.0", digits, exponent + 1 - n, "0000000000000000");
    } else {
        snprintf(text, sizeof text, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
    jinja_write_text(r, o, text);
}

static void print_number(struct jinja_run *r, struct jinja_output *o, struct jinja_value v,
                         bool json)
{
    char text[32];
    if (v.kind == JINJA_FLOAT) {
        print_float(r, o, v.number, json);
        return;
    }
    snprintf(text, sizeof text, "%lld", (long long)v.integer);
    jinja_write_text(r, o, text);
}

// ---- repr --------------------------------------------------------------------------------------

static void repr_string(struct jinja_run *r, struct jinja_output *o, const struct jinja_string *s)
{
    bool single = s->n && memchr(s->bytes, '\'', s->n), twice = s->n && memchr(s->bytes, '"', s->n);
    char quote = single && !twice ? '"' : '\'';
    jinja_write(r, o, &quote, NULL, 1);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->bytes[i];
        const uint8_t *mark = s->marks ? s->marks + i : NULL;
        uint8_t both[4] = {mark && *mark, mark && *mark, mark && *mark, mark && *mark};
        char text[8];
        if (c == (unsigned char)quote || c == '\\')
            snprintf(text, sizeof text, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || c == 0x7f)
            snprintf(text, sizeof text, "\\x%02x", c);
        else
            snprintf(text, sizeof text, "%c", c);
        jinja_write(r, o, text, both, strlen(text));
    }
    jinja_write(r, o, &quote, NULL, 1);
}

static void repr_dict(struct jinja_run *r, struct jinja_output *o, const struct jinja_dict *d)
{
    jinja_write_text(r, o, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_write_text(r, o, ", ");
        jinja_print_repr(r, o, d->keys[i]);
        jinja_write_text(r, o, ": ");
        jinja_print_repr(r, o, d->values[i]);
    }
    jinja_write_text(r, o, "}");
}

static void repr_list(struct jinja_run *r, struct jinja_output *o, struct jinja_value v)
{
    const struct jinja_list *l = v.list;
    jinja_write_text(r, o, v.kind == JINJA_TUPLE ? "(" : "[");
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            jinja_write_text(r, o, ", ");
        jinja_print_repr(r, o, l->items[i]);
    }
    if (v.kind == JINJA_TUPLE)
        jinja_write_text(r, o, l->n == 1 ? ",)" : ")");
    else
        jinja_write_text(r, o, "]");
}

void jinja_print_repr(struct jinja_run *r, struct jinja_output *o, struct jinja_value v)
{
    jinja_enter(r);
    jinja_step(r, 1);
    switch (v.kind) {
    case JINJA_UNDEFINED:
        jinja_write_text(r, o, "Undefined");
        break;
    case JINJA_NONE:
        jinja_write_text(r, o, "None");
        break;
    case JINJA_BOOL:
        jinja_write_text(r, o, v.boolean ? "True" : "False");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        print_number(r, o, v, false);
        break;
    case JINJA_STRING:
        repr_string(r, o, v.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        repr_list(r, o, v);
        break;
    case JINJA_DICT:
    case JINJA_NAMESPACE:
        repr_dict(r, o, v.dict);
        break;
    default:
        jinja_write_text(r, o, "<");
        jinja_write_text(r, o, jinja_type_name(v));
        jinja_write_text(r, o, ">");
    }
    jinja_leave(r);
}

void jinja_print(struct jinja_run *r, struct jinja_output *o, struct jinja_value v)
{
    if (v.kind == JINJA_STRING)
        jinja_write(r, o, v.string->bytes, v.string->marks, v.string->n);
    else if (v.kind != JINJA_UNDEFINED)
        jinja_print_repr(r, o, v);
}

struct jinja_value jinja_str(struct jinja_run *r, struct jinja_value v)
{
    struct jinja_output o = {0};
    if (v.kind == JINJA_STRING)
        return v;
    jinja_print(r, &o, v);
    return jinja_output_value(r, &o);
}

struct jinja_value jinja_escape(struct jinja_run *r, struct jinja_value v)
{
    static const struct {
        char c;
        const char *text;
    } escapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}};
    const struct jinja_string *s = jinja_str(r, v).string;
    struct jinja_output o = {0};
    if (s->safe)
        return v;
    for (size_t i = 0; i < s->n; i++) {
        const char *text = NULL;
        uint8_t marks[8];
        for (size_t k = 0; k < sizeof escapes / sizeof *escapes; k++)
            if (escapes[k].c == s->bytes[i])
                text = escapes[k].text;
        memset(marks, s->marks && s->marks[i], sizeof marks);
        jinja_write(r, &o, text ? text : s->bytes + i, marks, text ? strlen(text) : 1);
    }
    return jinja_safe(r, jinja_output_value(r, &o));
}

struct jinja_value jinja_safe(struct jinja_run *r, struct jinja_value v)
{
    struct jinja_string *s = jinja_alloc(r, sizeof *s);
    *s = *jinja_str(r, v).string;
    s->safe = true;
    return (struct jinja_value){.kind = JINJA_STRING, .string = s};
}

// ---- JSON --------------------------------------------------------------------------------------

static void json_escape(char out[16], const char *text, int n, bool ascii)
{
    unsigned char c = (unsigned char)*text;
    static const char plain[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    const char *at = c ? strchr(plain, c) : NULL;
    if (at)
        snprintf(out, 16, "\\%c", letters[at - plain]);
    else if (c < 0x20)
        snprintf(out, 16, "\\u%04x", c);
    else if (ascii && n > 1) {
        uint32_t code = utf8_code(text, n);
        if (code < 0x10000)
            snprintf(out, 16, "\\u%04x", (unsigned)code);
        else
            snprintf(out, 16, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)),
                     (unsigned)(0xdc00 + ((code - 0x10000) & 0x3ff)));
    } else
        snprintf(out, 16, "%.*s", n, text);
}

static void json_string_text(struct jinja_run *r, struct jinja_output *o, struct jinja_string s,
                             const struct jinja_json_style *style)
{
    jinja_write_text(r, o, "\"");
    for (size_t i = 0; i < s.n;) {
        int n = utf8_length(s.bytes + i, s.n - i);
        n = n > 0 ? n : 1;
        char text[16];
        uint8_t marks[16];
        memset(marks, s.marks && s.marks[i], sizeof marks);
        json_escape(text, s.bytes + i, n, style->ascii);
        jinja_write(r, o, text, marks, s.bytes[i] ? strlen(text) : 6);
        i += (size_t)n;
    }
    jinja_write_text(r, o, "\"");
}

static void json_break(struct jinja_run *r, struct jinja_output *o,
                       const struct jinja_json_style *style, int level)
{
    if (style->indent < 0)
        return;
    jinja_write_text(r, o, "\n");
    for (int i = 0; i < style->indent * level; i++)
        jinja_write_text(r, o, " ");
}

static void json_value(struct jinja_run *r, struct jinja_output *o, struct jinja_value v,
                       const struct jinja_json_style *style, int level);

static void json_key(struct jinja_run *r, struct jinja_output *o, struct jinja_value key,
                     const struct jinja_json_style *style)
{
    struct jinja_output text = {0};
    if (key.kind == JINJA_TUPLE)
        jinja_fail(r, "a tuple is no key of JSON");
    if (key.kind == JINJA_STRING) {
        json_string_text(r, o, *key.string, style);
        return;
    }
    json_value(r, &text, key, style, 0);
    json_string_text(r, o, *jinja_output_value(r, &text).string, style);
}

// The i-th key in the order wanted.
static size_t json_next_key(struct jinja_run *r, const struct jinja_dict *d, bool sorted, size_t i,
                            size_t last)
{
    if (!sorted)
        return i;
    size_t best = d->n;
    for (size_t k = 0; k < d->n; k++) {
        if (i && jinja_compare(r, d->keys[k], d->keys[last]) <= 0)
            continue;
        if (best == d->n || jinja_compare(r, d->keys[k], d->keys[best]) < 0)
            best = k;
    }
    return best;
}

static void json_dict(struct jinja_run *r, struct jinja_output *o, const struct jinja_dict *d,
                      const struct jinja_json_style *style, int level)
{
    jinja_write_text(r, o, "{");
    for (size_t i = 0, k = 0; i < d->n; i++) {
        k = json_next_key(r, d, style->sorted, i, k);
        if (i)
            jinja_write_text(r, o, style->item);
        json_break(r, o, style, level + 1);
        json_key(r, o, d->keys[k], style);
        jinja_write_text(r, o, style->key);
        json_value(r, o, d->values[k], style, level + 1);
    }
    if (d->n)
        json_break(r, o, style, level);
    jinja_write_text(r, o, "}");
}

static void json_list(struct jinja_run *r, struct jinja_output *o, const struct jinja_list *l,
                      const struct jinja_json_style *style, int level)
{
    jinja_write_text(r, o, "[");
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            jinja_write_text(r, o, style->item);
        json_break(r, o, style, level + 1);
        json_value(r, o, l->items[i], style, level + 1);
    }
    if (l->n)
        json_break(r, o, style, level);
    jinja_write_text(r, o, "]");
}

static void json_value(struct jinja_run *r, struct jinja_output *o, struct jinja_value v,
                       const struct jinja_json_style *style, int level)
{
    jinja_enter(r);
    jinja_step(r, 1);
    switch (v.kind) {
    case JINJA_NONE:
        jinja_write_text(r, o, "null");
        break;
    case JINJA_BOOL:
        jinja_write_text(r, o, v.boolean ? "true" : "false");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        print_number(r, o, v, true);
        break;
    case JINJA_STRING:
        json_string_text(r, o, *v.string, style);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        json_list(r, o, v.list, style, level);
        break;
    case JINJA_DICT:
        json_dict(r, o, v.dict, style, level);
        break;
    case JINJA_UNDEFINED:
        jinja_fail(r, "%s and cannot be written as JSON", v.missing);
    default:
        jinja_fail(r, "a %s cannot be written as JSON", jinja_type_name(v));
    }
    jinja_leave(r);
}

void jinja_print_json(struct jinja_run *r, struct jinja_output *o, struct jinja_value v,
                      const struct jinja_json_style *style)
{
    json_value(r, o, v, style, 0);
}
