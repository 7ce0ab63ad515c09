// Filters and tests of templates.
#include "text/jinja_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct jinja_value filter(struct jinja_run *r, struct jinja_value of,
                                  const struct jinja_args *args); // args[0] is `of`

// A method of the string that `of` is written as.
static struct jinja_value as_method(struct jinja_run *r, struct jinja_value of, const char *name,
                                    const struct jinja_args *args)
{
    struct jinja_value callee;
    struct jinja_args rest = {0};
    if (args->n > 1)
        rest = (struct jinja_args){args->values + 1, args->names + 1, args->n - 1};
    jinja_method(r, jinja_str(r, of), name, &callee);
    return jinja_call(r, callee, &rest);
}

static void must_be_there(struct jinja_run *r, struct jinja_value v)
{
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v.missing);
}

// ---- strings -----------------------------------------------------------------------------------

static struct jinja_value filter_string(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    (void)args;
    return jinja_str(r, of);
}

static struct jinja_value filter_trim(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    return as_method(r, of, "strip", args);
}

#define METHOD_FILTER(name)                                                             \
    static struct jinja_value filter_##name(struct jinja_run *r, struct jinja_value of, \
                                            const struct jinja_args *args)              \
    {                                                                                   \
        return as_method(r, of, #name, args);                                           \
    }
METHOD_FILTER(upper)
METHOD_FILTER(lower)
METHOD_FILTER(title)
METHOD_FILTER(capitalize)

static struct jinja_value filter_replace(struct jinja_run *r, struct jinja_value of,
                                         const struct jinja_args *args)
{
    struct jinja_value *values = jinja_alloc(r, (args->n + 1) * sizeof *values);
    struct jinja_args text = {values, args->names, args->n};
    for (size_t i = 0; i < args->n; i++)
        values[i] = i == 1 || i == 2 ? jinja_str(r, args->values[i]) : args->values[i];
    return as_method(r, of, "replace", &text);
}

static struct jinja_value filter_indent(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    const struct jinja_value *width = jinja_arg(args, 1, "width");
    bool first = jinja_arg_bool(args, 2, "first", false);
    bool blank = jinja_arg_bool(args, 3, "blank", false);
    struct jinja_string s = *jinja_str(r, of).string, pad = {.bytes = ""};
    struct jinja_output o = {0}, spaces = {0};
    if (width && width->kind == JINJA_STRING) {
        pad = *width->string;
    } else {
        for (int64_t i = jinja_arg_int(r, args, 1, "width", 4); i > 0; i--)
            jinja_write_text(r, &spaces, " ");
        pad = *jinja_output_value(r, &spaces).string;
    }
    for (size_t from = 0, line = 0; from < s.n || !line; line++) {
        const char *newline = s.n > from ? memchr(s.bytes + from, '\n', s.n - from) : NULL;
        size_t end = newline ? (size_t)(newline - s.bytes) + 1 : s.n;
        bool empty = end - from == (newline ? 1 : 0);
        if (line ? !empty || blank : first)
            jinja_write(r, &o, pad.bytes, pad.marks, pad.n);
        jinja_write(r, &o, s.bytes + from, s.marks ? s.marks + from : NULL, end - from);
        from = end;
    }
    if (blank && s.n && s.bytes[s.n - 1] == '\n')
        jinja_write(r, &o, pad.bytes, pad.marks, pad.n);
    return jinja_output_value(r, &o);
}

static struct jinja_value filter_join(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    struct jinja_string between = jinja_arg_string(r, args, 1, "d", "");
    const struct jinja_value *attribute = jinja_arg(args, 2, "attribute");
    const struct jinja_list *items = jinja_items(r, of);
    struct jinja_output o = {0};
    for (size_t i = 0; i < items->n; i++) {
        if (i)
            jinja_write(r, &o, between.bytes, between.marks, between.n);
        jinja_print(r, &o,
                    attribute ? jinja_subscript(r, items->items[i], *attribute) : items->items[i]);
    }
    return jinja_output_value(r, &o);
}

static struct jinja_value filter_escape(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    (void)args;
    return jinja_escape(r, of);
}

static struct jinja_value filter_safe(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    (void)args;
    return jinja_safe(r, of);
}

static struct jinja_value filter_tojson(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    const struct jinja_value *separators = jinja_arg(args, 3, "separators");
    struct jinja_json_style style = {
        .ascii = jinja_arg_bool(args, 1, "ensure_ascii", false),
        .sorted = jinja_arg_bool(args, 4, "sort_keys", false),
        .indent = (int)jinja_arg_int(r, args, 2, "indent", -1),
        .key = ": ",
    };
    const struct jinja_value *first = jinja_arg(args, 1, NULL);
    if (first && first->kind == JINJA_INT) { // tojson(4): Jinja's own filter has indent first
        style.indent = (int)first->integer;
        style.ascii = false;
    }
    if (style.indent > 64)
        jinja_fail(r, "tojson indents by 64 at most");
    style.item = style.indent < 0 ? ", " : ",";
    if (separators && separators->kind >= JINJA_LIST && separators->kind <= JINJA_TUPLE &&
        separators->list->n == 2) {
        struct jinja_args two = {separators->list->items, jinja_alloc(r, 2 * sizeof(char *)), 2};
        struct jinja_string item = jinja_arg_string(r, &two, 0, NULL, NULL);
        struct jinja_string key = jinja_arg_string(r, &two, 1, NULL, NULL);
        char *texts = jinja_alloc(r, item.n + key.n + 2);
        memcpy(texts, item.bytes, item.n);
        memcpy(texts + item.n + 1, key.bytes, key.n);
        style.item = texts;
        style.key = texts + item.n + 1;
    }
    struct jinja_output o = {0};
    jinja_print_json(r, &o, of, &style);
    return jinja_output_value(r, &o);
}

// ---- numbers -----------------------------------------------------------------------------------

static struct jinja_value filter_int(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    struct jinja_value other = jinja_int(jinja_arg_int(r, args, 1, "default", 0));
    char digits[64], *end;
    if (jinja_is_integer(of))
        return jinja_int(jinja_integer(of));
    double d = of.kind == JINJA_FLOAT ? of.number : 0;
    if (of.kind == JINJA_STRING) {
        struct jinja_string s = *as_method(r, of, "strip", &(struct jinja_args){.n = 1}).string;
        if (!s.n || s.n >= sizeof digits)
            return other;
        memcpy(digits, s.bytes, s.n);
        digits[s.n] = 0;
        long long whole = strtoll(digits, &end, 10);
        if (!*end)
            return jinja_int(whole);
        d = strtod(digits, &end);
        if (*end || digits[strspn(digits, "+-0123456789.eE")])
            return other;
    } else if (of.kind != JINJA_FLOAT) {
        return other;
    }
    return fabs(d) < 9e18 ? jinja_int((int64_t)d) : other;
}

static struct jinja_value filter_float(struct jinja_run *r, struct jinja_value of,
                                       const struct jinja_args *args)
{
    const struct jinja_value *given = jinja_arg(args, 1, "default");
    struct jinja_value other = given ? *given : jinja_float(0);
    char digits[64], *end;
    if (jinja_is_number(of))
        return jinja_float(jinja_number(of));
    if (of.kind != JINJA_STRING || !of.string->n || of.string->n >= sizeof digits)
        return other;
    memcpy(digits, of.string->bytes, of.string->n);
    digits[of.string->n] = 0;
    double d = strtod(digits, &end);
    jinja_step(r, 1);
    return *end ? other : jinja_float(d);
}

static struct jinja_value filter_abs(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    (void)args;
    must_be_there(r, of);
    if (!jinja_is_number(of))
        jinja_fail(r, "abs wants a number, not a %s", jinja_type_name(of));
    if (of.kind == JINJA_FLOAT)
        return jinja_float(fabs(of.number));
    int64_t i = jinja_integer(of);
    return jinja_int(i < 0 && i > INT64_MIN ? -i : i);
}

static struct jinja_value filter_round(struct jinja_run *r, struct jinja_value of,
                                       const struct jinja_args *args)
{
    int64_t digits = jinja_arg_int(r, args, 1, "precision", 0);
    struct jinja_string how = jinja_arg_string(r, args, 2, "method", "common");
    must_be_there(r, of);
    if (!jinja_is_number(of) || digits < -30 || digits > 30)
        jinja_fail(r, "round wants a number, not a %s", jinja_type_name(of));
    double scale = pow(10, (double)digits), d = jinja_number(of) * scale;
    d = how.n == 4 ? ceil(d) : how.n == 5 ? floor(d) : rint(d); // ceil, floor, common
    return jinja_float(d / scale);
}

// ---- lists -------------------------------------------------------------------------------------

static struct jinja_value filter_length(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    (void)args;
    return jinja_int((int64_t)jinja_length(r, of));
}

static struct jinja_value filter_list(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    const struct jinja_list *items = jinja_items(r, of);
    (void)args;
    for (size_t i = 0; i < items->n; i++)
        jinja_push(r, out, items->items[i]);
    return out;
}

static struct jinja_value filter_first(struct jinja_run *r, struct jinja_value of,
                                       const struct jinja_args *args)
{
    const struct jinja_list *items = jinja_items(r, of);
    (void)args;
    return items->n ? items->items[0] : jinja_undefined(r, "an empty list has no first item");
}

static struct jinja_value filter_last(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    (void)args;
    if (of.kind == JINJA_ITERATOR)
        jinja_fail(r, "a generator cannot be gone over from its end");
    const struct jinja_list *items = jinja_items(r, of);
    return items->n ? items->items[items->n - 1]
                    : jinja_undefined(r, "an empty list has no last item");
}

static struct jinja_value filter_reverse(struct jinja_run *r, struct jinja_value of,
                                         const struct jinja_args *args)
{
    const struct jinja_list *items = jinja_items(r, of);
    struct jinja_value out = jinja_list_new(r, JINJA_ITERATOR);
    (void)args;
    for (size_t i = items->n; i > 0; i--)
        jinja_push(r, out, items->items[i - 1]);
    if (of.kind != JINJA_STRING)
        return out;
    struct jinja_output o = {0};
    for (size_t i = 0; i < out.list->n; i++)
        jinja_print(r, &o, out.list->items[i]);
    return jinja_output_value(r, &o);
}

static struct jinja_value filter_items(struct jinja_run *r, struct jinja_value of,
                                       const struct jinja_args *args)
{
    struct jinja_value callee, out = jinja_list_new(r, JINJA_ITERATOR);
    (void)args;
    if (of.kind == JINJA_UNDEFINED)
        return out;
    if (of.kind != JINJA_DICT)
        jinja_fail(r, "items wants a dict, not a %s", jinja_type_name(of));
    jinja_method(r, of, "items", &callee);
    *out.list = *jinja_call(r, callee, &(struct jinja_args){0}).list;
    return out;
}

// attribute "a.b.0" of an item.
static struct jinja_value attribute_path(struct jinja_run *r, struct jinja_value v,
                                         struct jinja_value path)
{
    if (path.kind != JINJA_STRING)
        return jinja_subscript(r, v, path);
    struct jinja_string s = *path.string;
    for (size_t from = 0; from <= s.n;) {
        const char *dot = s.n > from ? memchr(s.bytes + from, '.', s.n - from) : NULL;
        size_t n = (dot ? (size_t)(dot - s.bytes) : s.n) - from;
        struct jinja_value key = jinja_string_value(r, s.bytes + from, NULL, n);
        bool digits = n > 0 && n < 10;
        int64_t index = 0;
        for (size_t i = 0; i < n && digits; i++) {
            digits = s.bytes[from + i] >= '0' && s.bytes[from + i] <= '9';
            index = index * 10 + (s.bytes[from + i] - '0');
        }
        v = jinja_subscript(r, v, digits ? jinja_int(index) : key);
        from += n + 1;
    }
    return v;
}

// Strings compare without regard to case unless asked.
static struct jinja_value sort_key(struct jinja_run *r, struct jinja_value v, bool exact)
{
    return v.kind == JINJA_STRING && !exact ? as_method(r, v, "lower", &(struct jinja_args){.n = 1})
                                            : v;
}

// A stable merge sort of indices by keys.
static void sort_indices(struct jinja_run *r, size_t *index, size_t *scratch, size_t n,
                         const struct jinja_value *keys, bool reverse)
{
    if (n < 2)
        return;
    size_t half = n / 2, a = 0, b = half, at = 0;
    sort_indices(r, index, scratch, half, keys, reverse);
    sort_indices(r, index + half, scratch, n - half, keys, reverse);
    while (a < half || b < n) {
        bool second = a == half;
        if (a < half && b < n) {
            int order = jinja_compare(r, keys[index[a]], keys[index[b]]);
            second = reverse ? order < 0 : order > 0;
        }
        scratch[at++] = second ? index[b++] : index[a++];
    }
    memcpy(index, scratch, n * sizeof *index);
}

static struct jinja_value sorted(struct jinja_run *r, const struct jinja_list *items,
                                 const struct jinja_value *keys, bool reverse)
{
    struct jinja_value out = jinja_list_new(r, JINJA_LIST);
    size_t *index = jinja_alloc(r, 2 * (items->n + 1) * sizeof *index);
    for (size_t i = 0; i < items->n; i++)
        index[i] = i;
    sort_indices(r, index, index + items->n, items->n, keys, reverse);
    for (size_t i = 0; i < items->n; i++)
        jinja_push(r, out, items->items[index[i]]);
    return out;
}

// What to order by: the items, or attributes of theirs ("a,b": by a, then b).
static struct jinja_value key_of(struct jinja_run *r, struct jinja_value item,
                                 const struct jinja_value *attribute, bool exact)
{
    if (!attribute || attribute->kind == JINJA_NONE)
        return sort_key(r, item, exact);
    if (attribute->kind != JINJA_STRING ||
        !memchr(attribute->string->bytes, ',', attribute->string->n))
        return sort_key(r, attribute_path(r, item, *attribute), exact);
    struct jinja_value comma = jinja_text_value(r, ","), callee;
    const char *names[1] = {NULL};
    jinja_method(r, *attribute, "split", &callee);
    struct jinja_value paths = jinja_call(r, callee, &(struct jinja_args){&comma, names, 1});
    struct jinja_value key = jinja_list_new(r, JINJA_TUPLE);
    for (size_t i = 0; i < paths.list->n; i++)
        jinja_push(r, key, sort_key(r, attribute_path(r, item, paths.list->items[i]), exact));
    return key;
}

static struct jinja_value filter_sort(struct jinja_run *r, struct jinja_value of,
                                      const struct jinja_args *args)
{
    bool reverse = jinja_arg_bool(args, 1, "reverse", false);
    bool exact = jinja_arg_bool(args, 2, "case_sensitive", false);
    const struct jinja_list *items = jinja_items(r, of);
    struct jinja_value *keys = jinja_alloc(r, (items->n + 1) * sizeof *keys);
    for (size_t i = 0; i < items->n; i++)
        keys[i] = key_of(r, items->items[i], jinja_arg(args, 3, "attribute"), exact);
    return sorted(r, items, keys, reverse);
}

static struct jinja_value filter_dictsort(struct jinja_run *r, struct jinja_value of,
                                          const struct jinja_args *args)
{
    bool exact = jinja_arg_bool(args, 1, "case_sensitive", false);
    struct jinja_string by = jinja_arg_string(r, args, 2, "by", "key");
    bool reverse = jinja_arg_bool(args, 3, "reverse", false);
    must_be_there(r, of);
    const struct jinja_list *items = filter_items(r, of, args).list;
    struct jinja_value *keys = jinja_alloc(r, (items->n + 1) * sizeof *keys);
    for (size_t i = 0; i < items->n; i++)
        keys[i] = sort_key(r, items->items[i].list->items[by.n == 5], exact); // "value"
    return sorted(r, items, keys, reverse);
}

static struct jinja_value filter_unique(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    bool exact = jinja_arg_bool(args, 1, "case_sensitive", false);
    const struct jinja_list *items = jinja_items(r, of);
    struct jinja_value out = jinja_list_new(r, JINJA_ITERATOR);
    struct jinja_value seen = jinja_list_new(r, JINJA_LIST);
    for (size_t i = 0; i < items->n; i++) {
        struct jinja_value key = key_of(r, items->items[i], jinja_arg(args, 2, "attribute"), exact);
        if (jinja_contains(r, seen, key))
            continue;
        jinja_push(r, seen, key);
        jinja_push(r, out, items->items[i]);
    }
    return out;
}

static struct jinja_value extreme(struct jinja_run *r, struct jinja_value of,
                                  const struct jinja_args *args, int sign)
{
    bool exact = jinja_arg_bool(args, 1, "case_sensitive", false);
    const struct jinja_list *items = jinja_items(r, of);
    size_t best = 0;
    if (!items->n)
        return jinja_undefined(r, "an empty list has no least or greatest item");
    struct jinja_value key = key_of(r, items->items[0], jinja_arg(args, 2, "attribute"), exact);
    for (size_t i = 1; i < items->n; i++) {
        struct jinja_value other =
            key_of(r, items->items[i], jinja_arg(args, 2, "attribute"), exact);
        if (sign * jinja_compare(r, other, key) > 0) {
            best = i;
            key = other;
        }
    }
    return items->items[best];
}

static struct jinja_value filter_max(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    return extreme(r, of, args, 1);
}

static struct jinja_value filter_min(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    return extreme(r, of, args, -1);
}

static struct jinja_value filter_sum(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    const struct jinja_value *attribute = jinja_arg(args, 1, "attribute");
    const struct jinja_value *start = jinja_arg(args, 2, "start");
    const struct jinja_list *items = jinja_items(r, of);
    struct jinja_value sum = start ? *start : jinja_int(0);
    for (size_t i = 0; i < items->n; i++)
        sum = jinja_binary(r, '+', sum,
                           attribute ? attribute_path(r, items->items[i], *attribute)
                                     : items->items[i]);
    return sum;
}

static struct jinja_value filter_default(struct jinja_run *r, struct jinja_value of,
                                         const struct jinja_args *args)
{
    const struct jinja_value *other = jinja_arg(args, 1, "default_value");
    bool also_false = jinja_arg_bool(args, 2, "boolean", false);
    if (of.kind != JINJA_UNDEFINED && (!also_false || jinja_true(of)))
        return of;
    return other ? *other : jinja_text_value(r, "");
}

// ---- map and select ----------------------------------------------------------------------------

// args[first] is a filter's or test's name, what follows are its arguments behind `item`.
static struct jinja_args shifted(struct jinja_run *r, const struct jinja_args *args, size_t first,
                                 struct jinja_value item)
{
    size_t n = args->n > first ? args->n - first : 1;
    struct jinja_args out = {jinja_alloc(r, n * sizeof *out.values),
                             jinja_alloc(r, n * sizeof *out.names), n};
    out.values[0] = item;
    for (size_t i = 1; i < n; i++) {
        out.values[i] = args->values[first + i];
        out.names[i] = args->names[first + i];
    }
    return out;
}

static const char *name_of(struct jinja_run *r, const struct jinja_args *args, size_t at)
{
    struct jinja_string s = jinja_arg_string(r, args, at, NULL, NULL);
    char *name = jinja_alloc(r, s.n + 1);
    memcpy(name, s.bytes, s.n);
    return name;
}

static struct jinja_value filter_map(struct jinja_run *r, struct jinja_value of,
                                     const struct jinja_args *args)
{
    const struct jinja_value *attribute = jinja_arg(args, args->n, "attribute");
    const struct jinja_value *other = jinja_arg(args, args->n, "default");
    struct jinja_value out = jinja_list_new(r, JINJA_ITERATOR);
    if (!jinja_true(of))
        return out;
    const struct jinja_list *items = jinja_items(r, of);
    for (size_t i = 0; i < items->n; i++) {
        struct jinja_value v;
        if (attribute) {
            v = attribute_path(r, items->items[i], *attribute);
            v = v.kind == JINJA_UNDEFINED && other ? *other : v;
        } else {
            struct jinja_args inner = shifted(r, args, 1, items->items[i]);
            const char *name = name_of(r, args, 1);
            if (!jinja_filter(r, name, &inner, &v))
                jinja_fail(r, "no filter named '%.60s'", name);
        }
        jinja_push(r, out, v);
    }
    return out;
}

static struct jinja_value choose(struct jinja_run *r, struct jinja_value of,
                                 const struct jinja_args *args, bool by_attribute, bool keep)
{
    struct jinja_value out = jinja_list_new(r, JINJA_ITERATOR);
    size_t at = by_attribute ? 2 : 1;
    if (!jinja_true(of))
        return out; // none, too
    const struct jinja_list *items = jinja_items(r, of);
    if (by_attribute && args->n < 2)
        jinja_fail(r, "the name of an attribute is missing");
    for (size_t i = 0; i < items->n; i++) {
        struct jinja_value v = items->items[i];
        if (by_attribute)
            v = attribute_path(r, v, args->values[1]);
        bool yes = jinja_true(v);
        if (args->n > at) {
            struct jinja_args inner = shifted(r, args, at, v);
            const char *name = name_of(r, args, at);
            if (!jinja_test(r, name, &inner, &yes))
                jinja_fail(r, "no test named '%.60s'", name);
        }
        if (yes == keep)
            jinja_push(r, out, items->items[i]);
    }
    return out;
}

static struct jinja_value filter_select(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    return choose(r, of, args, false, true);
}

static struct jinja_value filter_reject(struct jinja_run *r, struct jinja_value of,
                                        const struct jinja_args *args)
{
    return choose(r, of, args, false, false);
}

static struct jinja_value filter_selectattr(struct jinja_run *r, struct jinja_value of,
                                            const struct jinja_args *args)
{
    return choose(r, of, args, true, true);
}

static struct jinja_value filter_rejectattr(struct jinja_run *r, struct jinja_value of,
                                            const struct jinja_args *args)
{
    return choose(r, of, args, true, false);
}

// ---- by name -----------------------------------------------------------------------------------

bool jinja_filter(struct jinja_run *r, const char *name, const struct jinja_args *args,
                  struct jinja_value *out)
{
    static const struct {
        const char *name;
        filter *call;
    } filters[] = {
        {"abs", filter_abs},
        {"capitalize", filter_capitalize},
        {"count", filter_length},
        {"d", filter_default},
        {"default", filter_default},
        {"dictsort", filter_dictsort},
        {"e", filter_escape},
        {"escape", filter_escape},
        {"first", filter_first},
        {"float", filter_float},
        {"indent", filter_indent},
        {"int", filter_int},
        {"items", filter_items},
        {"join", filter_join},
        {"last", filter_last},
        {"length", filter_length},
        {"list", filter_list},
        {"lower", filter_lower},
        {"map", filter_map},
        {"max", filter_max},
        {"min", filter_min},
        {"reject", filter_reject},
        {"rejectattr", filter_rejectattr},
        {"replace", filter_replace},
        {"reverse", filter_reverse},
        {"round", filter_round},
        {"safe", filter_safe},
        {"select", filter_select},
        {"selectattr", filter_selectattr},
        {"sort", filter_sort},
        {"string", filter_string},
        {"sum", filter_sum},
        {"title", filter_title},
        {"tojson", filter_tojson},
        {"trim", filter_trim},
        {"unique", filter_unique},
        {"upper", filter_upper},
    };
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (!strcmp(filters[i].name, name)) {
            jinja_enter(r);
            *out = filters[i].call(r, args->values[0], args);
            jinja_leave(r);
            return true;
        }
    return false;
}

static bool is_kind(struct jinja_value v, const char *name)
{
    static const struct {
        const char *name;
        uint32_t kinds;
    } kinds[] = {
        {"defined", ~(1u << JINJA_UNDEFINED)},
        {"undefined", 1u << JINJA_UNDEFINED},
        {"none", 1u << JINJA_NONE},
        {"boolean", 1u << JINJA_BOOL},
        {"integer", 1u << JINJA_INT},
        {"float", 1u << JINJA_FLOAT},
        {"number", 1u << JINJA_BOOL | 1u << JINJA_INT | 1u << JINJA_FLOAT},
        {"string", 1u << JINJA_STRING},
        {"mapping", 1u << JINJA_DICT},
        {"sequence", 1u << JINJA_UNDEFINED | 1u << JINJA_STRING | 1u << JINJA_LIST |
                         1u << JINJA_TUPLE | 1u << JINJA_DICT},
        {"iterable", 1u << JINJA_UNDEFINED | 1u << JINJA_STRING | 1u << JINJA_LIST |
                         1u << JINJA_TUPLE | 1u << JINJA_DICT | 1u << JINJA_ITERATOR |
                         1u << JINJA_VIEW | 1u << JINJA_LOOP},
        {"callable", 1u << JINJA_FUNCTION | 1u << JINJA_MACRO | 1u << JINJA_LOOP},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name))
            return kinds[i].kinds >> v.kind & 1;
    return false;
}

static bool is_kind_name(const char *name)
{
    static const char *const names[] = {"defined", "undefined", "none",     "boolean",
                                        "integer", "float",     "number",   "string",
                                        "mapping", "sequence",  "iterable", "callable"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

// Tests against an argument.
static bool test_pair(struct jinja_run *r, const char *name, struct jinja_value a,
                      struct jinja_value b, bool *out)
{
    static const struct {
        const char *name;
        int order[2]; // of jinja_compare: which hold
    } orders[] = {{"lt", {-1, -1}},        {"lessthan", {-1, -1}}, {"<", {-1, -1}},
                  {"le", {-1, 0}},         {"<=", {-1, 0}},        {"gt", {1, 1}},
                  {"greaterthan", {1, 1}}, {">", {1, 1}},          {"ge", {0, 1}},
                  {">=", {0, 1}}};
    if (!strcmp(name, "eq") || !strcmp(name, "equalto") || !strcmp(name, "==")) {
        *out = jinja_equal(r, a, b);
        return true;
    }
    if (!strcmp(name, "ne") || !strcmp(name, "!=")) {
        *out = !jinja_equal(r, a, b);
        return true;
    }
    if (!strcmp(name, "sameas")) {
        *out = a.kind == b.kind && jinja_equal(r, a, b);
        return true;
    }
    if (!strcmp(name, "in")) {
        *out = jinja_contains(r, b, a);
        return true;
    }
    if (!strcmp(name, "divisibleby")) {
        *out = jinja_number(jinja_binary(r, '%', a, b)) == 0;
        return true;
    }
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (!strcmp(orders[i].name, name)) {
            int order = jinja_compare(r, a, b);
            order = (order > 0) - (order < 0);
            *out = order == orders[i].order[0] || order == orders[i].order[1];
            return true;
        }
    return false;
}

// Whether changing the case of a string's letters to `method` would leave it as it is.
static bool unchanged(struct jinja_run *r, struct jinja_value v, const char *method)
{
    const char *other = *method == 'u' ? "lower" : "upper";
    struct jinja_args none = {.n = 1};
    struct jinja_value text = jinja_str(r, v);
    return jinja_equal(r, as_method(r, text, method, &none), text) &&
           !jinja_equal(r, as_method(r, text, other, &none), text);
}

bool jinja_test(struct jinja_run *r, const char *name, const struct jinja_args *args, bool *out)
{
    struct jinja_value v = args->values[0];
    if (is_kind_name(name)) {
        *out = is_kind(v, name);
    } else if (!strcmp(name, "true") || !strcmp(name, "false")) {
        *out = v.kind == JINJA_BOOL && v.boolean == (*name == 't');
    } else if (!strcmp(name, "odd") || !strcmp(name, "even")) {
        struct jinja_value rest = jinja_binary(r, '%', v, jinja_int(2));
        *out = jinja_number(rest) == (*name == 'o');
    } else if (!strcmp(name, "upper") || !strcmp(name, "lower")) {
        *out = unchanged(r, v, name);
    } else if (!strcmp(name, "escaped")) {
        *out = false;
    } else if (args->n > 1) {
        return test_pair(r, name, v, args->values[1], out);
    } else {
        return false;
    }
    return true;
}
