// Values of templates: memory, making, looking, comparing.
#include "text/jinja_value.h"

#include "base/check.h"
#include "text/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- memory ------------------------------------------------------------------------------------

struct jinja_chunk {
    struct jinja_chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

enum { CHUNK = 64 << 10 };

static bool region_grow(struct jinja_region *region, size_t size)
{
    size_t room = size > CHUNK ? size : CHUNK;
    struct jinja_chunk *c = malloc(sizeof *c + room);
    if (!c)
        return false;
    *c = (struct jinja_chunk){.next = region->chunks, .size = room};
    region->chunks = c;
    region->taken += room;
    return true;
}

void *jinja_alloc(struct jinja_run *r, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct jinja_chunk *c = r->region.chunks;
    if (!c || c->size - c->used < size) {
        if (size > JINJA_MAX_MEMORY || r->region.taken > JINJA_MAX_MEMORY - size)
            jinja_fail(r, "it needs more than %d MiB", JINJA_MAX_MEMORY >> 20);
        if (!region_grow(&r->region, size))
            jinja_fail(r, "no memory");
        c = r->region.chunks;
    }
    void *p = c->bytes + c->used;
    c->used += size;
    return memset(p, 0, size);
}

void jinja_region_fini(struct jinja_region *region)
{
    while (region->chunks) {
        struct jinja_chunk *c = region->chunks;
        region->chunks = c->next;
        free(c);
    }
}

// ---- failing and limits ------------------------------------------------------------------------

_Noreturn void jinja_fail(struct jinja_run *r, const char *format, ...)
{
    char text[300];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (r->line)
        err_set(r->e, ERR_FAILED, "the chat template, line %d: %s", r->line, text);
    else
        err_set(r->e, ERR_FAILED, "the chat template: %s", text);
    longjmp(r->out, 1);
}

void jinja_step(struct jinja_run *r, uint64_t n)
{
    r->steps += n;
    if (r->steps > JINJA_MAX_STEPS)
        jinja_fail(r, "it does not come to an end within %d steps", JINJA_MAX_STEPS);
}

void jinja_enter(struct jinja_run *r)
{
    if (++r->depth > JINJA_MAX_DEPTH)
        jinja_fail(r, "more than %d things are nested in each other", JINJA_MAX_DEPTH);
}

void jinja_leave(struct jinja_run *r)
{
    r->depth--;
}

// ---- making ------------------------------------------------------------------------------------

struct jinja_value jinja_undefined(struct jinja_run *r, const char *format, ...)
{
    char text[160];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    CHECK(n >= 0);
    char *copy = jinja_alloc(r, strlen(text) + 1);
    strcpy(copy, text);
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .missing = copy};
}

struct jinja_value jinja_string_value(struct jinja_run *r, const char *bytes, const uint8_t *marks,
                                      size_t n)
{
    struct jinja_string *s = jinja_alloc(r, sizeof *s);
    *s = (struct jinja_string){.bytes = bytes, .marks = marks, .n = n};
    return (struct jinja_value){.kind = JINJA_STRING, .string = s};
}

struct jinja_value jinja_text_value(struct jinja_run *r, const char *text)
{
    size_t n = strlen(text);
    char *copy = jinja_alloc(r, n + 1);
    memcpy(copy, text, n);
    return jinja_string_value(r, copy, NULL, n);
}

struct jinja_value jinja_list_new(struct jinja_run *r, enum jinja_kind kind)
{
    struct jinja_list *list = jinja_alloc(r, sizeof *list);
    return (struct jinja_value){.kind = kind, .list = list};
}

void jinja_push(struct jinja_run *r, struct jinja_value list, struct jinja_value item)
{
    struct jinja_list *l = list.list;
    jinja_step(r, 1);
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 8;
        struct jinja_value *items = jinja_alloc(r, capacity * sizeof *items);
        if (l->n)
            memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->n++] = item;
}

struct jinja_value jinja_dict_new(struct jinja_run *r, enum jinja_kind kind)
{
    struct jinja_dict *dict = jinja_alloc(r, sizeof *dict);
    return (struct jinja_value){.kind = kind, .dict = dict};
}

// A key that is not there yet.
static void append(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                   struct jinja_value value)
{
    if (d->n == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 8;
        struct jinja_value *keys = jinja_alloc(r, 2 * capacity * sizeof *keys);
        if (d->n) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(keys + capacity, d->values, d->n * sizeof *keys);
        }
        d->keys = keys;
        d->values = keys + capacity;
        d->capacity = capacity;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = value;
}

void jinja_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
               struct jinja_value value)
{
    if (key.kind >= JINJA_LIST && key.kind != JINJA_TUPLE)
        jinja_fail(r, "a %s cannot be a key", jinja_type_name(key));
    struct jinja_value *there = jinja_get(r, d, key);
    if (there)
        *there = value;
    else
        append(r, d, key, value);
}

struct jinja_value jinja_function_value(struct jinja_run *r,
                                        struct jinja_value (*call)(struct jinja_run *,
                                                                   const struct jinja_value *,
                                                                   const struct jinja_args *),
                                        struct jinja_value self)
{
    struct jinja_function *f = jinja_alloc(r, sizeof *f);
    *f = (struct jinja_function){call, self};
    return (struct jinja_value){.kind = JINJA_FUNCTION, .function = f};
}

static struct jinja_value marked_string(struct jinja_run *r, const char *text, size_t n,
                                        bool marked)
{
    uint8_t *marks = NULL;
    if (marked && n) {
        marks = jinja_alloc(r, n);
        memset(marks, 1, n);
    }
    return jinja_string_value(r, text, marks, n);
}

struct jinja_value jinja_from_json(struct jinja_run *r, const json_t *j, bool marked)
{
    struct jinja_value v = jinja_none();
    jinja_enter(r);
    jinja_step(r, 1);
    switch (json_typeof(j)) {
    case JSON_OBJECT: {
        const char *name;
        json_t *item;
        v = jinja_dict_new(r, JINJA_DICT);
        json_object_foreach((json_t *)j, name, item)
            append(r, v.dict, marked_string(r, name, strlen(name), marked),
                   jinja_from_json(r, item, marked));
        break;
    }
    case JSON_ARRAY:
        v = jinja_list_new(r, JINJA_LIST);
        for (size_t i = 0; i < json_array_size(j); i++)
            jinja_push(r, v, jinja_from_json(r, json_array_get(j, i), marked));
        break;
    case JSON_STRING:
        v = marked_string(r, json_string_value(j), json_string_length(j), marked);
        break;
    case JSON_INTEGER:
        v = jinja_int(json_integer_value(j));
        break;
    case JSON_REAL:
        v = jinja_float(json_real_value(j));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v = jinja_bool(json_is_true(j));
        break;
    case JSON_NULL:
        break;
    }
    jinja_leave(r);
    return v;
}

// ---- looking -----------------------------------------------------------------------------------

const char *jinja_type_name(struct jinja_value v)
{
    static const char *const names[] = {
        [JINJA_UNDEFINED] = "Undefined", [JINJA_NONE] = "NoneType",
        [JINJA_BOOL] = "bool",           [JINJA_INT] = "int",
        [JINJA_FLOAT] = "float",         [JINJA_STRING] = "str",
        [JINJA_LIST] = "list",           [JINJA_TUPLE] = "tuple",
        [JINJA_ITERATOR] = "generator",  [JINJA_VIEW] = "dict view",
        [JINJA_DICT] = "dict",           [JINJA_NAMESPACE] = "Namespace",
        [JINJA_MACRO] = "Macro",         [JINJA_FUNCTION] = "function",
        [JINJA_LOOP] = "LoopContext",
    };
    return names[v.kind];
}

double jinja_number(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.number : (double)jinja_integer(v);
}

bool jinja_true(struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.boolean;
    case JINJA_INT:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.number != 0;
    case JINJA_STRING:
        return v.string->n > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return v.list->n > 0;
    case JINJA_DICT:
        return v.dict->n > 0;
    case JINJA_ITERATOR:
    case JINJA_NAMESPACE:
    case JINJA_MACRO:
    case JINJA_FUNCTION:
    case JINJA_LOOP:
        break;
    }
    return true;
}

static bool same_string(const struct jinja_string *a, const struct jinja_string *b)
{
    return a->n == b->n && (!a->n || !memcmp(a->bytes, b->bytes, a->n));
}

static bool equal_dicts(struct jinja_run *r, const struct jinja_dict *a, const struct jinja_dict *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; i < a->n && equal; i++) {
        struct jinja_value *other = jinja_get(r, b, a->keys[i]);
        equal = other && jinja_equal(r, a->values[i], *other);
    }
    return equal;
}

static bool equal_lists(struct jinja_run *r, const struct jinja_list *a, const struct jinja_list *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; i < a->n && equal; i++)
        equal = jinja_equal(r, a->items[i], b->items[i]);
    return equal;
}

bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    bool equal;
    jinja_step(r, 1);
    if (jinja_is_integer(a) && jinja_is_integer(b))
        return jinja_integer(a) == jinja_integer(b);
    if (jinja_is_number(a) && jinja_is_number(b))
        return jinja_number(a) == jinja_number(b);
    if (a.kind != b.kind)
        return false;
    jinja_enter(r);
    switch (a.kind) {
    case JINJA_STRING:
        equal = same_string(a.string, b.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        equal = equal_lists(r, a.list, b.list);
        break;
    case JINJA_DICT:
        equal = equal_dicts(r, a.dict, b.dict);
        break;
    default:
        equal = a.kind == JINJA_UNDEFINED || a.kind == JINJA_NONE || a.list == b.list;
    }
    jinja_leave(r);
    return equal;
}

int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    jinja_step(r, 1);
    if (jinja_is_integer(a) && jinja_is_integer(b)) {
        int64_t x = jinja_integer(a), y = jinja_integer(b);
        return (x > y) - (x < y);
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        double x = jinja_number(a), y = jinja_number(b);
        return (x > y) - (x < y);
    }
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        size_t n = a.string->n < b.string->n ? a.string->n : b.string->n;
        int order = n ? memcmp(a.string->bytes, b.string->bytes, n) : 0;
        return order ? order : (a.string->n > b.string->n) - (a.string->n < b.string->n);
    }
    if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        const struct jinja_list *x = a.list, *y = b.list;
        for (size_t i = 0; i < x->n && i < y->n; i++)
            if (!jinja_equal(r, x->items[i], y->items[i]))
                return jinja_compare(r, x->items[i], y->items[i]);
        return (x->n > y->n) - (x->n < y->n);
    }
    jinja_fail(r, "a %s and a %s have no order", jinja_type_name(a), jinja_type_name(b));
}

struct jinja_value *jinja_get(struct jinja_run *r, const struct jinja_dict *d,
                              struct jinja_value key)
{
    jinja_step(r, d->n / 16); // a large one is searched as long as it is
    for (size_t i = 0; i < d->n; i++)
        if (jinja_equal(r, d->keys[i], key))
            return &d->values[i];
    return NULL;
}

bool jinja_is(struct jinja_value v, const char *text)
{
    return v.kind == JINJA_STRING && v.string->n == strlen(text) &&
           !memcmp(v.string->bytes, text, v.string->n);
}

struct jinja_value *jinja_get_name(const struct jinja_dict *d, const char *name)
{
    for (size_t i = 0; i < d->n; i++)
        if (jinja_is(d->keys[i], name))
            return &d->values[i];
    return NULL;
}

// ---- strings as characters ---------------------------------------------------------------------

// Bytes of the character at `at`; what is no UTF-8 counts byte by byte.
static size_t character_bytes(struct jinja_string s, size_t at)
{
    int n = utf8_length(s.bytes + at, s.n - at);
    return n > 0 ? (size_t)n : 1;
}

size_t jinja_characters(struct jinja_string s)
{
    size_t n = 0;
    for (size_t at = 0; at < s.n; at += character_bytes(s, at))
        n++;
    return n;
}

size_t jinja_character_at(struct jinja_string s, size_t character)
{
    size_t at = 0;
    while (at < s.n && character--)
        at += character_bytes(s, at);
    return at;
}

static struct jinja_list *characters_of(struct jinja_run *r, struct jinja_string s)
{
    struct jinja_value list = jinja_list_new(r, JINJA_LIST);
    for (size_t at = 0, n; at < s.n; at += n) {
        n = character_bytes(s, at);
        jinja_push(r, list, jinja_string_value(r, s.bytes + at, s.marks ? s.marks + at : NULL, n));
    }
    return list.list;
}

struct jinja_list *jinja_items(struct jinja_run *r, struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
        return jinja_list_new(r, JINJA_LIST).list;
    case JINJA_STRING:
        return characters_of(r, *v.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return v.list;
    case JINJA_ITERATOR: {
        struct jinja_value taken = jinja_list_new(r, JINJA_LIST);
        *taken.list = *v.list;
        *v.list = (struct jinja_list){0};
        return taken.list;
    }
    case JINJA_DICT: {
        struct jinja_value keys = jinja_list_new(r, JINJA_LIST);
        for (size_t i = 0; i < v.dict->n; i++)
            jinja_push(r, keys, v.dict->keys[i]);
        return keys.list;
    }
    default:
        jinja_fail(r, "a %s cannot be gone over", jinja_type_name(v));
    }
}

size_t jinja_length(struct jinja_run *r, struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
        return 0;
    case JINJA_STRING:
        return jinja_characters(*v.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return v.list->n;
    case JINJA_DICT:
        return v.dict->n;
    case JINJA_LOOP:
        return v.loop->items->n;
    default:
        jinja_fail(r, "a %s has no length", jinja_type_name(v));
    }
}

// ---- arguments ---------------------------------------------------------------------------------

const struct jinja_value *jinja_arg(const struct jinja_args *a, size_t at, const char *name)
{
    if (at < a->n && !a->names[at])
        return &a->values[at];
    for (size_t i = 0; i < a->n; i++)
        if (a->names[i] && name && !strcmp(a->names[i], name))
            return &a->values[i];
    return NULL;
}

struct jinja_string jinja_arg_string(struct jinja_run *r, const struct jinja_args *a, size_t at,
                                     const char *name, const char *otherwise)
{
    const struct jinja_value *v = jinja_arg(a, at, name);
    if (!v && otherwise)
        return (struct jinja_string){.bytes = otherwise, .n = strlen(otherwise)};
    if (!v)
        jinja_fail(r, "an argument is missing: %s", name ? name : "a string");
    if (v->kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v->missing);
    if (v->kind != JINJA_STRING)
        jinja_fail(r, "a string is wanted, not a %s", jinja_type_name(*v));
    return *v->string;
}

int64_t jinja_arg_int(struct jinja_run *r, const struct jinja_args *a, size_t at, const char *name,
                      int64_t otherwise)
{
    const struct jinja_value *v = jinja_arg(a, at, name);
    if (!v || v->kind == JINJA_NONE)
        return otherwise;
    if (!jinja_is_integer(*v))
        jinja_fail(r, "a whole number is wanted, not a %s", jinja_type_name(*v));
    return jinja_integer(*v);
}

bool jinja_arg_bool(const struct jinja_args *a, size_t at, const char *name, bool otherwise)
{
    const struct jinja_value *v = jinja_arg(a, at, name);
    return v ? jinja_true(*v) : otherwise;
}
