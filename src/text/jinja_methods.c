// Methods of strings, lists and dicts, and the global functions. What changes a value (append, pop,
// update) is refused, as Jinja's immutable sandbox does.
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

typedef struct jinja_value method(struct jinja_run *r, const struct jinja_value *self,
                                  const struct jinja_args *args);

static struct jinja_value part(struct jinja_run *r, struct jinja_string s, size_t from, size_t to)
{
    return jinja_string_value(r, s.bytes + from, s.marks ? s.marks + from : NULL, to - from);
}

// ---- cutting -----------------------------------------------------------------------------------

// The character at `at`, its length in *n; bytes that are no UTF-8 count one by one.
static uint32_t character(struct jinja_string s, size_t at, size_t *n)
{
    int length = utf8_length(s.bytes + at, s.n - at);
    *n = length > 0 ? (size_t)length : 1;
    return length > 0 ? utf8_code(s.bytes + at, length) : 0xfffd;
}

static bool is_white(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

// Whether the character at `at` is one of `set`; no set: white space.
static bool strips(struct jinja_string s, size_t at, size_t n, const struct jinja_string *set)
{
    size_t own, length;
    if (!set)
        return is_white(character(s, at, &own));
    for (size_t i = 0; i < set->n; i += length) {
        character(*set, i, &length);
        if (length == n && !memcmp(set->bytes + i, s.bytes + at, n))
            return true;
    }
    return false;
}

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };

static struct jinja_value strip(struct jinja_run *r, const struct jinja_value *self,
                                const struct jinja_args *args, int sides)
{
    struct jinja_string s = *self->string, given;
    const struct jinja_value *arg = jinja_arg(args, 0, "chars");
    const struct jinja_string *set = NULL;
    size_t from = 0, to = s.n, n;
    if (arg && arg->kind != JINJA_NONE) {
        given = jinja_arg_string(r, args, 0, "chars", NULL);
        set = &given;
    }
    jinja_step(r, 1 + s.n / 16);
    while (sides & STRIP_LEFT && from < to) {
        character(s, from, &n);
        if (!strips(s, from, n, set))
            break;
        from += n;
    }
    while (sides & STRIP_RIGHT && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s.bytes[at] & 0xc0) == 0x80)
            at--;
        if (!strips(s, at, to - at, set))
            break;
        to = at;
    }
    return part(r, s, from, to);
}

static struct jinja_value string_strip(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    return strip(r, self, args, STRIP_LEFT | STRIP_RIGHT);
}

static struct jinja_value string_lstrip(struct jinja_run *r, const struct jinja_value *self,
                                        const struct jinja_args *args)
{
    return strip(r, self, args, STRIP_LEFT);
}

static struct jinja_value string_rstrip(struct jinja_run *r, const struct jinja_value *self,
                                        const struct jinja_args *args)
{
    return strip(r, self, args, STRIP_RIGHT);
}

static const char *find(struct jinja_string in, size_t from, struct jinja_string what)
{
    return from > in.n ? NULL
           : !what.n   ? in.bytes + from
                       : memmem(in.bytes + from, in.n - from, what.bytes, what.n);
}

static struct jinja_value split_white(struct jinja_run *r, struct jinja_string s, int64_t most)
{
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    size_t at = 0, n;
    for (;;) {
        while (at < s.n && is_white(character(s, at, &n)))
            at += n;
        if (at >= s.n)
            return out;
        size_t from = at;
        if (most >= 0 && (int64_t)out.list->n == most) {
            jinja_push(r, out, part(r, s, from, s.n));
            return out;
        }
        while (at < s.n && !is_white(character(s, at, &n)))
            at += n;
        jinja_push(r, out, part(r, s, from, at));
    }
}

static struct jinja_value string_split(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    struct jinja_string s = *self->string;
    const struct jinja_value *by = jinja_arg(args, 0, "sep");
    int64_t most = jinja_arg_int(r, args, 1, "maxsplit", -1);
    jinja_step(r, 1 + s.n / 16);
    if (!by || by->kind == JINJA_NONE)
        return split_white(r, s, most);
    struct jinja_string separator = jinja_arg_string(r, args, 0, "sep", NULL);
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    size_t from = 0;
    if (!separator.n)
        jinja_fail(r, "split by an empty string");
    for (const char *at;
         (most < 0 || (int64_t)out.list->n < most) && (at = find(s, from, separator));) {
        jinja_push(r, out, part(r, s, from, (size_t)(at - s.bytes)));
        from = (size_t)(at - s.bytes) + separator.n;
    }
    jinja_push(r, out, part(r, s, from, s.n));
    return out;
}

static struct jinja_value string_rsplit(struct jinja_run *r, const struct jinja_value *self,
                                        const struct jinja_args *args)
{
    struct jinja_string s = *self->string, separator = jinja_arg_string(r, args, 0, "sep", NULL);
    int64_t most = jinja_arg_int(r, args, 1, "maxsplit", -1);
    struct jinja_args by = {.values = args->values, .names = args->names, .n = args->n ? 1 : 0};
    struct jinja_value all = string_split(r, self, &by), out = jinja_list_new(r, JINJA_LIST);
    size_t n = all.list->n, joined = most >= 0 && (int64_t)n - 1 > most ? n - (size_t)most : 1;
    struct jinja_value *items = all.list->items;
    const struct jinja_string *last = items[joined - 1].string;
    size_t end = (size_t)(last->bytes - s.bytes) + last->n;
    jinja_push(r, out, part(r, s, 0, end));
    for (size_t i = joined; i < n; i++)
        jinja_push(r, out, items[i]);
    (void)separator;
    return out;
}

static struct jinja_value string_splitlines(struct jinja_run *r, const struct jinja_value *self,
                                            const struct jinja_args *args)
{
    struct jinja_string s = *self->string;
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    bool keep = jinja_arg_bool(args, 0, "keepends", false);
    for (size_t from = 0; from < s.n;) {
        size_t end = from, next;
        while (end < s.n && s.bytes[end] != '\n' && s.bytes[end] != '\r')
            end++;
        next = end < s.n ? end + 1 : end;
        if (next < s.n && s.bytes[end] == '\r' && s.bytes[next] == '\n')
            next++;
        jinja_push(r, out, part(r, s, from, keep ? next : end));
        from = next;
    }
    return out;
}

// ---- changing ----------------------------------------------------------------------------------

// What stands in for somebody's bytes is somebody's: a template that takes a marker out of a
// message and puts it back in must not make it its own.
static struct jinja_string in_place_of(struct jinja_run *r, struct jinja_string new,
                                       struct jinja_string s, size_t at, size_t n)
{
    size_t first = n || !at ? at : at - 1, length = n ? n : (at < s.n) + (at - first);
    if (!s.marks || !new.n || !memchr(s.marks + first, 1, length))
        return new;
    uint8_t *marks = jinja_alloc(r, new.n);
    memset(marks, 1, new.n);
    new.marks = marks;
    return new;
}

static struct jinja_value string_replace(struct jinja_run *r, const struct jinja_value *self,
                                         const struct jinja_args *args)
{
    struct jinja_string s = *self->string, old = jinja_arg_string(r, args, 0, "old", NULL);
    struct jinja_string new = jinja_arg_string(r, args, 1, "new", NULL);
    int64_t most = jinja_arg_int(r, args, 2, "count", -1);
    struct jinja_output o = {0};
    size_t from = 0, n;
    const char *at;
    for (; most && from <= s.n && (at = find(s, from, old)); most--) {
        size_t to = (size_t)(at - s.bytes);
        jinja_write(r, &o, s.bytes + from, s.marks ? s.marks + from : NULL, to - from);
        struct jinja_string put = in_place_of(r, new, s, to, old.n);
        jinja_write(r, &o, put.bytes, put.marks, put.n);
        from = to + old.n;
        if (!old.n) { // between all characters
            if (from >= s.n) {
                from = s.n + 1;
                break;
            }
            character(s, from, &n);
            jinja_write(r, &o, s.bytes + from, s.marks ? s.marks + from : NULL, n);
            from += n;
        }
    }
    if (from < s.n)
        jinja_write(r, &o, s.bytes + from, s.marks ? s.marks + from : NULL, s.n - from);
    return jinja_output_value(r, &o);
}

enum letters { UPPER, LOWER, TITLE, CAPITALIZE };

// A letter of the result: `first`: it begins a word (title) or the string (capitalize).
static utf8proc_int32_t convert(uint32_t c, enum letters to, bool first)
{
    utf8proc_int32_t code = (utf8proc_int32_t)c;
    if (to == UPPER || (to != LOWER && first))
        return to == UPPER ? utf8proc_toupper(code) : utf8proc_totitle(code);
    return utf8proc_tolower(code);
}

static bool is_letter(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT;
}

static struct jinja_value change_case(struct jinja_run *r, struct jinja_string s, enum letters to)
{
    struct jinja_output o = {0};
    bool first = true;
    size_t n;
    for (size_t at = 0; at < s.n; at += n) {
        uint32_t c = character(s, at, &n);
        utf8proc_uint8_t out[4];
        uint8_t marks[4];
        memset(marks, s.marks && s.marks[at], sizeof marks);
        bool valid = n > 1 || (unsigned char)s.bytes[at] < 0x80;
        utf8proc_ssize_t length = valid ? utf8proc_encode_char(convert(c, to, first), out) : 0;
        if (length > 0)
            jinja_write(r, &o, (const char *)out, marks, (size_t)length);
        else
            jinja_write(r, &o, s.bytes + at, marks, n);
        first = to == TITLE && !is_letter(c);
    }
    return jinja_output_value(r, &o);
}

#define CASE_METHOD(name, to)                                                                    \
    static struct jinja_value string_##name(struct jinja_run *r, const struct jinja_value *self, \
                                            const struct jinja_args *args)                       \
    {                                                                                            \
        (void)args;                                                                              \
        return change_case(r, *self->string, to);                                                \
    }
CASE_METHOD(upper, UPPER)
CASE_METHOD(lower, LOWER)
CASE_METHOD(title, TITLE)
CASE_METHOD(capitalize, CAPITALIZE)

static struct jinja_value string_join(struct jinja_run *r, const struct jinja_value *self,
                                      const struct jinja_args *args)
{
    const struct jinja_value *of = jinja_arg(args, 0, NULL);
    struct jinja_output o = {0};
    if (!of)
        jinja_fail(r, "join wants what to join");
    const struct jinja_list *items = jinja_items(r, *of);
    for (size_t i = 0; i < items->n; i++) {
        if (items->items[i].kind != JINJA_STRING)
            jinja_fail(r, "join wants strings, not a %s", jinja_type_name(items->items[i]));
        if (i)
            jinja_print(r, &o, *self);
        jinja_print(r, &o, items->items[i]);
    }
    return jinja_output_value(r, &o);
}

// ---- asking ------------------------------------------------------------------------------------

static bool affix(struct jinja_string s, struct jinja_string what, bool at_end)
{
    return what.n <= s.n &&
           (!what.n || !memcmp(at_end ? s.bytes + s.n - what.n : s.bytes, what.bytes, what.n));
}

static struct jinja_value has_affix(struct jinja_run *r, const struct jinja_value *self,
                                    const struct jinja_args *args, bool at_end)
{
    const struct jinja_value *any = jinja_arg(args, 0, NULL);
    if (!any || any->kind != JINJA_TUPLE)
        return jinja_bool(affix(*self->string, jinja_arg_string(r, args, 0, NULL, NULL), at_end));
    for (size_t i = 0; i < any->list->n; i++) {
        if (any->list->items[i].kind != JINJA_STRING)
            jinja_fail(r, "a string is wanted, not a %s", jinja_type_name(any->list->items[i]));
        if (affix(*self->string, *any->list->items[i].string, at_end))
            return jinja_bool(true);
    }
    return jinja_bool(false);
}

static struct jinja_value string_startswith(struct jinja_run *r, const struct jinja_value *self,
                                            const struct jinja_args *args)
{
    return has_affix(r, self, args, false);
}

static struct jinja_value string_endswith(struct jinja_run *r, const struct jinja_value *self,
                                          const struct jinja_args *args)
{
    return has_affix(r, self, args, true);
}

static int64_t index_of(struct jinja_run *r, struct jinja_string s, struct jinja_string what,
                        bool last)
{
    const char *at = NULL;
    jinja_step(r, 1 + s.n / 16);
    for (const char *next = find(s, 0, what); next;
         next = last ? find(s, (size_t)(next - s.bytes) + 1, what) : NULL)
        at = next;
    return at ? (int64_t)jinja_characters(
                    (struct jinja_string){.bytes = s.bytes, .n = (size_t)(at - s.bytes)})
              : -1;
}

static struct jinja_value string_find(struct jinja_run *r, const struct jinja_value *self,
                                      const struct jinja_args *args)
{
    return jinja_int(index_of(r, *self->string, jinja_arg_string(r, args, 0, NULL, NULL), false));
}

static struct jinja_value string_rfind(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    return jinja_int(index_of(r, *self->string, jinja_arg_string(r, args, 0, NULL, NULL), true));
}

static struct jinja_value string_index(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    struct jinja_value at = string_find(r, self, args);
    if (at.integer < 0)
        jinja_fail(r, "the string looked for by index() is not there");
    return at;
}

static struct jinja_value string_count(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    struct jinja_string s = *self->string, what = jinja_arg_string(r, args, 0, NULL, NULL);
    int64_t n = 0;
    if (!what.n)
        return jinja_int((int64_t)jinja_characters(s) + 1);
    for (const char *at = find(s, 0, what); at; n++)
        at = find(s, (size_t)(at - s.bytes) + what.n, what);
    return jinja_int(n);
}

// Whether all characters, at least one, are of a kind.
static bool all_are(struct jinja_string s, bool (*is)(uint32_t c))
{
    size_t n;
    for (size_t at = 0; at < s.n; at += n)
        if (!is(character(s, at, &n)))
            return false;
    return s.n > 0;
}

static bool is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return is_alpha(c) || (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

#define IS_METHOD(name, is)                                                                      \
    static struct jinja_value string_##name(struct jinja_run *r, const struct jinja_value *self, \
                                            const struct jinja_args *args)                       \
    {                                                                                            \
        (void)r, (void)args;                                                                     \
        return jinja_bool(all_are(*self->string, is));                                           \
    }
IS_METHOD(isdigit, is_digit)
IS_METHOD(isalpha, is_alpha)
IS_METHOD(isalnum, is_alnum)
IS_METHOD(isspace, is_white)

// ---- lists and dicts ---------------------------------------------------------------------------

static struct jinja_value list_index(struct jinja_run *r, const struct jinja_value *self,
                                     const struct jinja_args *args)
{
    for (size_t i = 0; args->n && i < self->list->n; i++)
        if (jinja_equal(r, self->list->items[i], args->values[0]))
            return jinja_int((int64_t)i);
    jinja_fail(r, "what index() looks for is not in the list");
}

static struct jinja_value list_count(struct jinja_run *r, const struct jinja_value *self,
                                     const struct jinja_args *args)
{
    int64_t n = 0;
    for (size_t i = 0; args->n && i < self->list->n; i++)
        n += jinja_equal(r, self->list->items[i], args->values[0]);
    return jinja_int(n);
}

static struct jinja_value dict_get(struct jinja_run *r, const struct jinja_value *self,
                                   const struct jinja_args *args)
{
    const struct jinja_value *key = jinja_arg(args, 0, NULL), *other = jinja_arg(args, 1, NULL);
    if (!key)
        jinja_fail(r, "get wants a key");
    const struct jinja_value *there = jinja_get(r, self->dict, *key);
    return there ? *there : other ? *other : jinja_none();
}

static struct jinja_value dict_items(struct jinja_run *r, const struct jinja_value *self,
                                     const struct jinja_args *args)
{
    struct jinja_value out = jinja_list_new(r, JINJA_VIEW);
    (void)args;
    for (size_t i = 0; i < self->dict->n; i++) {
        struct jinja_value pair = jinja_list_new(r, JINJA_TUPLE);
        jinja_push(r, pair, self->dict->keys[i]);
        jinja_push(r, pair, self->dict->values[i]);
        jinja_push(r, out, pair);
    }
    return out;
}

static struct jinja_value dict_keys(struct jinja_run *r, const struct jinja_value *self,
                                    const struct jinja_args *args)
{
    struct jinja_value out = jinja_list_new(r, JINJA_VIEW);
    (void)args;
    for (size_t i = 0; i < self->dict->n; i++)
        jinja_push(r, out, self->dict->keys[i]);
    return out;
}

static struct jinja_value dict_values(struct jinja_run *r, const struct jinja_value *self,
                                      const struct jinja_args *args)
{
    struct jinja_value out = jinja_list_new(r, JINJA_VIEW);
    (void)args;
    for (size_t i = 0; i < self->dict->n; i++)
        jinja_push(r, out, self->dict->values[i]);
    return out;
}

static struct jinja_value copy(struct jinja_run *r, const struct jinja_value *self,
                               const struct jinja_args *args)
{
    (void)r, (void)args;
    return *self; // nothing can change it
}

static struct jinja_value refused(struct jinja_run *r, const struct jinja_value *self,
                                  const struct jinja_args *args)
{
    (void)args;
    jinja_fail(r, "a template may not change a %s", jinja_type_name(*self));
}

// ---- by name -----------------------------------------------------------------------------------

struct named_method {
    const char *name;
    method *call;
};

static const struct named_method string_methods[] = {
    {"strip", string_strip},
    {"lstrip", string_lstrip},
    {"rstrip", string_rstrip},
    {"split", string_split},
    {"rsplit", string_rsplit},
    {"splitlines", string_splitlines},
    {"replace", string_replace},
    {"upper", string_upper},
    {"lower", string_lower},
    {"title", string_title},
    {"capitalize", string_capitalize},
    {"join", string_join},
    {"startswith", string_startswith},
    {"endswith", string_endswith},
    {"find", string_find},
    {"rfind", string_rfind},
    {"index", string_index},
    {"count", string_count},
    {"isdigit", string_isdigit},
    {"isnumeric", string_isdigit},
    {"isdecimal", string_isdigit},
    {"isalpha", string_isalpha},
    {"isalnum", string_isalnum},
    {"isspace", string_isspace},
    {NULL, NULL},
};
static const struct named_method list_methods[] = {
    {"index", list_index}, {"count", list_count}, {"copy", copy},     {"append", refused},
    {"extend", refused},   {"insert", refused},   {"pop", refused},   {"remove", refused},
    {"reverse", refused},  {"sort", refused},     {"clear", refused}, {NULL, NULL},
};
static const struct named_method tuple_methods[] = {
    {"index", list_index}, {"count", list_count}, {NULL, NULL}};
static const struct named_method dict_methods[] = {
    {"get", dict_get},       {"items", dict_items}, {"keys", dict_keys}, {"values", dict_values},
    {"copy", copy},          {"pop", refused},      {"update", refused}, {"clear", refused},
    {"setdefault", refused}, {"popitem", refused},  {NULL, NULL},
};

bool jinja_method(struct jinja_run *r, struct jinja_value self, const char *name,
                  struct jinja_value *out)
{
    const struct named_method *m = self.kind == JINJA_STRING  ? string_methods
                                   : self.kind == JINJA_LIST  ? list_methods
                                   : self.kind == JINJA_TUPLE ? tuple_methods
                                   : self.kind == JINJA_DICT  ? dict_methods
                                                              : NULL;
    for (; m && m->name; m++)
        if (!strcmp(m->name, name)) {
            *out = jinja_function_value(r, m->call, self);
            return true;
        }
    return false;
}

// ---- globals -----------------------------------------------------------------------------------

static struct jinja_value global_namespace(struct jinja_run *r, const struct jinja_value *self,
                                           const struct jinja_args *args)
{
    struct jinja_value out = jinja_dict_new(r, self->kind);
    for (size_t i = 0; i < args->n; i++) {
        if (args->names[i]) {
            jinja_put(r, out.dict, jinja_text_value(r, args->names[i]), args->values[i]);
            continue;
        }
        if (args->values[i].kind != JINJA_DICT)
            jinja_fail(r, "a dict is wanted, not a %s", jinja_type_name(args->values[i]));
        for (size_t k = 0; k < args->values[i].dict->n; k++)
            jinja_put(r, out.dict, args->values[i].dict->keys[k], args->values[i].dict->values[k]);
    }
    return out;
}

static struct jinja_value global_raise(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    (void)self;
    struct jinja_value text = args->n ? jinja_str(r, args->values[0]) : jinja_none();
    char quoted[200];
    if (text.kind != JINJA_STRING)
        jinja_fail(r, "it refuses this conversation");
    jinja_fail(r, "it refuses this conversation: %s",
               err_quote(quoted, sizeof quoted, text.string->bytes, (int)text.string->n));
}

static struct jinja_value global_range(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    (void)self;
    int64_t first = jinja_arg_int(r, args, 0, NULL, 0), from = args->n > 1 ? first : 0;
    int64_t to = args->n > 1 ? jinja_arg_int(r, args, 1, NULL, 0) : first;
    int64_t step = jinja_arg_int(r, args, 2, NULL, 1);
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    if (!step || !args->n)
        jinja_fail(r, "range goes from a number to a number by a step that is not 0");
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        jinja_push(r, out, jinja_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return out;
}

static struct jinja_value global_strftime_now(struct jinja_run *r, const struct jinja_value *self,
                                              const struct jinja_args *args)
{
    struct jinja_string format = jinja_arg_string(r, args, 0, NULL, NULL);
    char pattern[128], text[256];
    (void)self;
    if (format.n >= sizeof pattern)
        jinja_fail(r, "the format of a date is longer than %zu bytes", sizeof pattern - 1);
    memcpy(pattern, format.bytes, format.n);
    pattern[format.n] = 0;
    size_t n = strftime(text, sizeof text, pattern, &r->input->now);
    text[n] = 0;
    return jinja_text_value(r, text);
}

bool jinja_global(struct jinja_run *r, const char *name, struct jinja_value *out)
{
    static const struct named_method globals[] = {{"namespace", global_namespace},
                                                  {"dict", global_namespace},
                                                  {"raise_exception", global_raise},
                                                  {"range", global_range},
                                                  {"strftime_now", global_strftime_now}};
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (!strcmp(globals[i].name, name)) {
            // The kind of self says what namespace() and dict() make.
            struct jinja_value self = {.kind = i ? JINJA_DICT : JINJA_NAMESPACE};
            *out = jinja_function_value(r, globals[i].call, self);
            return true;
        }
    return false;
}
