// Expressions of templates, and the operators.
#include "text/jinja_ast.h"

#include <math.h>
#include <string.h>

// ---- operators ---------------------------------------------------------------------------------

_Noreturn static void no_operator(struct jinja_run *r, const char *op, struct jinja_value a,
                                  struct jinja_value b)
{
    const struct jinja_value *missing = a.kind == JINJA_UNDEFINED   ? &a
                                        : b.kind == JINJA_UNDEFINED ? &b
                                                                    : NULL;
    if (missing)
        jinja_fail(r, "%s", missing->missing);
    jinja_fail(r, "%s does not go between a %s and a %s", op, jinja_type_name(a),
               jinja_type_name(b));
}

static bool is_safe(struct jinja_value v)
{
    return v.kind == JINJA_STRING && v.string->safe;
}

// a ~ b.
static struct jinja_value concat(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    struct jinja_output o = {0};
    jinja_print(r, &o, a);
    jinja_print(r, &o, b);
    return jinja_output_value(r, &o);
}

// a + b of strings.
static struct jinja_value add_strings(struct jinja_run *r, struct jinja_value a,
                                      struct jinja_value b)
{
    if (!is_safe(a) && !is_safe(b))
        return concat(r, a, b);
    return jinja_safe(r, concat(r, jinja_escape(r, a), jinja_escape(r, b)));
}

static struct jinja_value add_lists(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value sum = jinja_list_new(r, a.kind);
    for (size_t i = 0; i < a.list->n; i++)
        jinja_push(r, sum, a.list->items[i]);
    for (size_t i = 0; i < b.list->n; i++)
        jinja_push(r, sum, b.list->items[i]);
    return sum;
}

static struct jinja_value repeat(struct jinja_run *r, struct jinja_value v, int64_t times)
{
    if (v.kind == JINJA_STRING) {
        struct jinja_output o = {0};
        for (int64_t i = 0; i < times; i++)
            jinja_print(r, &o, v);
        return jinja_output_value(r, &o);
    }
    struct jinja_value all = jinja_list_new(r, v.kind);
    for (int64_t i = 0; i < times; i++)
        for (size_t k = 0; k < v.list->n; k++)
            jinja_push(r, all, v.list->items[k]);
    return all;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int64_t power_of(struct jinja_run *r, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    for (int64_t i = 0; i < exponent; i++) {
        jinja_step(r, 1);
        if (__builtin_mul_overflow(result, base, &result))
            jinja_fail(r, "a number became too large");
        if (result == 0 || (result == 1 && base == 1))
            break;
    }
    return result;
}

static struct jinja_value integers(struct jinja_run *r, int op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool over = false;
    if ((op == '/' || op == '%' || op == TOKEN_FLOOR) && !b)
        jinja_fail(r, "division by zero");
    if (b == -1 && op != '+' && op != '-' && op != '*' && a == INT64_MIN)
        jinja_fail(r, "a number became too large");
    switch (op) {
    case '+':
        over = __builtin_add_overflow(a, b, &result);
        break;
    case '-':
        over = __builtin_sub_overflow(a, b, &result);
        break;
    case '*':
        over = __builtin_mul_overflow(a, b, &result);
        break;
    case '/':
        return jinja_float((double)a / (double)b);
    case TOKEN_FLOOR:
        result = floor_divide(a, b);
        break;
    case '%':
        result = a - b * floor_divide(a, b);
        break;
    default:
        if (b < 0)
            return jinja_float(pow((double)a, (double)b));
        result = power_of(r, a, b);
    }
    if (over)
        jinja_fail(r, "a number became too large");
    return jinja_int(result);
}

static struct jinja_value floats(struct jinja_run *r, int op, double a, double b)
{
    if ((op == '/' || op == '%' || op == TOKEN_FLOOR) && b == 0)
        jinja_fail(r, "division by zero");
    switch (op) {
    case '+':
        return jinja_float(a + b);
    case '-':
        return jinja_float(a - b);
    case '*':
        return jinja_float(a * b);
    case '/':
        return jinja_float(a / b);
    case TOKEN_FLOOR:
        return jinja_float(floor(a / b));
    case '%':
        return jinja_float(a - b * floor(a / b));
    default:
        return jinja_float(pow(a, b));
    }
}

static bool is_sequence(struct jinja_value v)
{
    return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

struct jinja_value jinja_binary(struct jinja_run *r, int op, struct jinja_value a,
                                struct jinja_value b)
{
    char name[3] = {(char)op, 0, 0};
    jinja_step(r, 1);
    if (op == '~')
        return concat(r, a, b);
    if (op == '+' && a.kind == JINJA_STRING && b.kind == JINJA_STRING)
        return add_strings(r, a, b);
    if (op == '+' && is_sequence(a) && a.kind == b.kind)
        return add_lists(r, a, b);
    if (op == '*' && (a.kind == JINJA_STRING || is_sequence(a)) && jinja_is_integer(b))
        return repeat(r, a, jinja_integer(b));
    if (op == '*' && (b.kind == JINJA_STRING || is_sequence(b)) && jinja_is_integer(a))
        return repeat(r, b, jinja_integer(a));
    if (jinja_is_integer(a) && jinja_is_integer(b))
        return integers(r, op, jinja_integer(a), jinja_integer(b));
    if (jinja_is_number(a) && jinja_is_number(b))
        return floats(r, op, jinja_number(a), jinja_number(b));
    if (op == TOKEN_FLOOR || op == TOKEN_POWER)
        memcpy(name, op == TOKEN_FLOOR ? "//" : "**", 2);
    no_operator(r, name, a, b);
}

bool jinja_contains(struct jinja_run *r, struct jinja_value container, struct jinja_value item)
{
    if (container.kind == JINJA_DICT)
        return jinja_get(r, container.dict, item);
    if (container.kind == JINJA_STRING) {
        if (item.kind == JINJA_UNDEFINED)
            jinja_fail(r, "%s", item.missing);
        if (item.kind != JINJA_STRING)
            jinja_fail(r, "a %s cannot be in a string", jinja_type_name(item));
        jinja_step(r, 1 + container.string->n / 16);
        return !item.string->n || memmem(container.string->bytes, container.string->n,
                                         item.string->bytes, item.string->n);
    }
    const struct jinja_list *items = jinja_items(r, container);
    for (size_t i = 0; i < items->n; i++)
        if (jinja_equal(r, items->items[i], item))
            return true;
    return false;
}

static bool compare(struct jinja_run *r, int op, struct jinja_value a, struct jinja_value b)
{
    if (op == TOKEN_EQ || op == TOKEN_NE)
        return jinja_equal(r, a, b) == (op == TOKEN_EQ);
    if (op == OP_IN || op == OP_NOT_IN)
        return jinja_contains(r, b, a) == (op == OP_IN);
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
        no_operator(r, "a comparison", a, b);
    int order = jinja_compare(r, a, b);
    return op == '<' ? order < 0 : op == '>' ? order > 0 : op == TOKEN_LE ? order <= 0 : order >= 0;
}

// ---- parts of things ---------------------------------------------------------------------------

static struct jinja_value loop_attribute(struct jinja_run *r, struct jinja_value v,
                                         const char *name);

static bool has_item(struct jinja_value v)
{
    return v.kind == JINJA_STRING || is_sequence(v);
}

// v[index] of a list or string; NULL list items beyond the end.
static bool item_at(struct jinja_run *r, struct jinja_value v, int64_t index,
                    struct jinja_value *out)
{
    int64_t n = (int64_t)jinja_length(r, v);
    if (index < 0)
        index += n;
    if (index < 0 || index >= n)
        return false;
    if (v.kind != JINJA_STRING) {
        *out = v.list->items[index];
        return true;
    }
    struct jinja_string s = *v.string;
    size_t from = jinja_character_at(s, (size_t)index);
    size_t to = jinja_character_at(s, (size_t)index + 1);
    jinja_step(r, 1 + s.n / 16);
    *out = jinja_string_value(r, s.bytes + from, s.marks ? s.marks + from : NULL, to - from);
    return true;
}

struct jinja_value jinja_attribute(struct jinja_run *r, struct jinja_value v, const char *name)
{
    struct jinja_value out, *there;
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v.missing);
    if (v.kind == JINJA_LOOP)
        return loop_attribute(r, v, name);
    if (v.kind != JINJA_NAMESPACE && jinja_method(r, v, name, &out))
        return out;
    if (v.kind == JINJA_MACRO && !strcmp(name, "name"))
        return jinja_text_value(r, v.macro->node->name);
    if ((v.kind == JINJA_DICT || v.kind == JINJA_NAMESPACE) &&
        (there = jinja_get_name(v.dict, name)))
        return *there;
    return jinja_undefined(r, "a %s has no attribute '%s'", jinja_type_name(v), name);
}

struct jinja_value jinja_subscript(struct jinja_run *r, struct jinja_value v,
                                   struct jinja_value key)
{
    struct jinja_value out, *there;
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v.missing);
    if (v.kind == JINJA_DICT && (there = jinja_get(r, v.dict, key)))
        return *there;
    if (has_item(v) && jinja_is_integer(key)) {
        if (item_at(r, v, jinja_integer(key), &out))
            return out;
        return jinja_undefined(r, "a %s has no item %lld", jinja_type_name(v),
                               (long long)jinja_integer(key));
    }
    if (key.kind == JINJA_STRING) {
        char *name = jinja_alloc(r, key.string->n + 1);
        if (key.string->n)
            memcpy(name, key.string->bytes, key.string->n);
        return jinja_attribute(r, v, name);
    }
    return jinja_undefined(r, "a %s has no such item", jinja_type_name(v));
}

static bool slice_bound(struct jinja_run *r, const struct jinja_node *n, int64_t *out)
{
    if (!n)
        return false;
    struct jinja_value v = jinja_eval(r, n);
    if (v.kind == JINJA_NONE)
        return false;
    if (!jinja_is_integer(v))
        jinja_fail(r, "a slice goes from a whole number to a whole number, not to a %s",
                   jinja_type_name(v));
    *out = jinja_integer(v);
    return true;
}

static int64_t clamp(int64_t at, int64_t lo, int64_t hi)
{
    return at < lo ? lo : at > hi ? hi : at;
}

static struct jinja_value eval_slice(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(r, n->a);
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v.missing);
    if (!has_item(v))
        jinja_fail(r, "a %s cannot be sliced", jinja_type_name(v));
    int64_t length = (int64_t)jinja_length(r, v), step = 1, from, to;
    bool has_from, has_to;
    has_from = slice_bound(r, n->b, &from);
    has_to = slice_bound(r, n->c, &to);
    slice_bound(r, n->d, &step);
    if (!step)
        jinja_fail(r, "a slice cannot have the step 0");
    int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? length : length - 1;
    from = !has_from ? (step > 0 ? lo : hi) : clamp(from < 0 ? from + length : from, lo, hi);
    to = !has_to ? (step > 0 ? hi : lo) : clamp(to < 0 ? to + length : to, lo, hi);
    if (v.kind == JINJA_STRING && step == 1) {
        struct jinja_string s = *v.string;
        size_t a = jinja_character_at(s, (size_t)from);
        size_t b = to > from ? jinja_character_at(s, (size_t)to) : a;
        jinja_step(r, 1 + s.n / 16);
        return jinja_string_value(r, s.bytes + a, s.marks ? s.marks + a : NULL, b - a);
    }
    struct jinja_list *items = jinja_items(r, v);
    struct jinja_value out = jinja_list_new(r, v.kind == JINJA_TUPLE ? JINJA_TUPLE : JINJA_LIST);
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
        jinja_push(r, out, items->items[i]);
        if (step > length || step < -length)
            break;
    }
    if (v.kind != JINJA_STRING)
        return out;
    struct jinja_output text = {0};
    for (size_t i = 0; i < out.list->n; i++)
        jinja_print(r, &text, out.list->items[i]);
    return jinja_output_value(r, &text);
}

// ---- loop --------------------------------------------------------------------------------------

static struct jinja_value loop_cycle(struct jinja_run *r, const struct jinja_value *self,
                                     const struct jinja_args *args)
{
    if (!args->n)
        jinja_fail(r, "loop.cycle wants something to choose from");
    return args->values[self->loop->index % args->n];
}

static struct jinja_value loop_changed(struct jinja_run *r, const struct jinja_value *self,
                                       const struct jinja_args *args)
{
    struct jinja_loop *loop = self->loop;
    struct jinja_value now = jinja_list_new(r, JINJA_TUPLE);
    for (size_t i = 0; i < args->n; i++)
        jinja_push(r, now, args->values[i]);
    bool changed = !loop->has_changed || !jinja_equal(r, now, loop->changed);
    loop->changed = now;
    loop->has_changed = true;
    return jinja_bool(changed);
}

static struct jinja_value loop_attribute(struct jinja_run *r, struct jinja_value v,
                                         const char *name)
{
    const struct jinja_loop *loop = v.loop;
    int64_t index = (int64_t)loop->index, n = (int64_t)loop->items->n;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"index", index + 1},         {"index0", index}, {"revindex", n - index},
                   {"revindex0", n - index - 1}, {"length", n},     {"depth", loop->depth},
                   {"depth0", loop->depth - 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(name, numbers[i].name))
            return jinja_int(numbers[i].value);
    if (!strcmp(name, "first"))
        return jinja_bool(index == 0);
    if (!strcmp(name, "last"))
        return jinja_bool(index == n - 1);
    if (!strcmp(name, "previtem"))
        return index ? loop->items->items[index - 1]
                     : jinja_undefined(r, "there is no previous item");
    if (!strcmp(name, "nextitem"))
        return index + 1 < n ? loop->items->items[index + 1]
                             : jinja_undefined(r, "there is no next item");
    if (!strcmp(name, "cycle"))
        return jinja_function_value(r, loop_cycle, v);
    if (!strcmp(name, "changed"))
        return jinja_function_value(r, loop_changed, v);
    return jinja_undefined(r, "loop has no attribute '%s'", name);
}

// ---- calls -------------------------------------------------------------------------------------

static void add_argument(struct jinja_run *r, struct jinja_args *args, const char *name,
                         struct jinja_value v)
{
    if (args->n % 8 == 0) {
        struct jinja_value *values = jinja_alloc(r, (args->n + 8) * sizeof *values);
        const char **names = jinja_alloc(r, (args->n + 8) * sizeof *names);
        if (args->n) {
            memcpy(values, args->values, args->n * sizeof *values);
            memcpy(names, args->names, args->n * sizeof *names);
        }
        args->values = values;
        args->names = names;
    }
    args->names[args->n] = name;
    args->values[args->n++] = v;
}

// f(*list) and f(**dict).
static void spread_argument(struct jinja_run *r, struct jinja_args *args, int op,
                            struct jinja_value v)
{
    if (op == '*') {
        const struct jinja_list *items = jinja_items(r, v);
        for (size_t i = 0; i < items->n; i++)
            add_argument(r, args, NULL, items->items[i]);
        return;
    }
    if (v.kind != JINJA_DICT)
        jinja_fail(r, "named arguments are a dict, not a %s", jinja_type_name(v));
    for (size_t i = 0; i < v.dict->n; i++) {
        const struct jinja_string *key = jinja_str(r, v.dict->keys[i]).string;
        char *name = jinja_alloc(r, key->n + 1);
        if (key->n)
            memcpy(name, key->bytes, key->n);
        add_argument(r, args, name, v.dict->values[i]);
    }
}

static struct jinja_args eval_arguments(struct jinja_run *r, const struct jinja_node *list,
                                        const struct jinja_value *first)
{
    struct jinja_args args = {0};
    if (first)
        add_argument(r, &args, NULL, *first);
    for (const struct jinja_node *a = list; a; a = a->next) {
        struct jinja_value v = jinja_eval(r, a->a);
        if (a->op)
            spread_argument(r, &args, a->op, v);
        else
            add_argument(r, &args, a->name, v);
    }
    return args;
}

struct jinja_value jinja_call(struct jinja_run *r, struct jinja_value callee,
                              const struct jinja_args *args)
{
    jinja_step(r, 1);
    switch (callee.kind) {
    case JINJA_FUNCTION:
        return callee.function->call(r, &callee.function->self, args);
    case JINJA_MACRO:
        return jinja_call_macro(r, callee.macro, args);
    case JINJA_LOOP:
        if (args->n == 1)
            return jinja_loop_again(r, callee.loop, args->values[0]);
        jinja_fail(r, "loop(..) wants what to go over");
    case JINJA_UNDEFINED:
        jinja_fail(r, "%s", callee.missing);
    default:
        jinja_fail(r, "a %s cannot be called", jinja_type_name(callee));
    }
}

// Strings of the block as the first argument of the innermost filter.
static struct jinja_value eval_filter(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value of = jinja_eval(r, n->a), out;
    struct jinja_args args = eval_arguments(r, n->list, &of);
    r->line = n->line;
    if (!jinja_filter(r, n->name, &args, &out))
        jinja_fail(r, "no filter named '%.60s'", n->name);
    return out;
}

static bool eval_test(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value of = jinja_eval(r, n->a);
    struct jinja_args args = eval_arguments(r, n->list, &of);
    bool out;
    r->line = n->line;
    if (!jinja_test(r, n->name, &args, &out))
        jinja_fail(r, "no test named '%.60s'", n->name);
    return out;
}

// ---- expressions -------------------------------------------------------------------------------

static struct jinja_value eval_name(struct jinja_run *r, const char *name)
{
    struct jinja_value out;
    for (const struct jinja_scope *s = r->scope; s; s = s->parent) {
        jinja_step(r, 1 + s->names.n / 8);
        const struct jinja_value *there = jinja_get_name(&s->names, name);
        if (there)
            return *there;
    }
    if (jinja_global(r, name, &out))
        return out;
    return jinja_undefined(r, "'%s' is undefined", name);
}

static struct jinja_value eval_compare(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value left = jinja_eval(r, n->a);
    for (const struct jinja_node *c = n->list; c; c = c->next) {
        struct jinja_value right = jinja_eval(r, c->a);
        if (!compare(r, c->op, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static struct jinja_value eval_list(struct jinja_run *r, const struct jinja_node *n,
                                    enum jinja_kind kind)
{
    struct jinja_value list = jinja_list_new(r, kind);
    for (const struct jinja_node *item = n->list; item; item = item->next)
        jinja_push(r, list, jinja_eval(r, item));
    return list;
}

static struct jinja_value eval_dict(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value dict = jinja_dict_new(r, JINJA_DICT);
    for (const struct jinja_node *key = n->list; key; key = key->next->next) {
        struct jinja_value k = jinja_eval(r, key);
        jinja_put(r, dict.dict, k, jinja_eval(r, key->next));
    }
    return dict;
}

static struct jinja_value eval_sign(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(r, n->a);
    if (v.kind == JINJA_UNDEFINED)
        jinja_fail(r, "%s", v.missing);
    if (!jinja_is_number(v))
        jinja_fail(r, "a %s has no sign", jinja_type_name(v));
    if (v.kind == JINJA_FLOAT)
        return jinja_float(n->kind == NODE_NEGATIVE ? -v.number : v.number);
    return n->kind == NODE_NEGATIVE ? integers(r, '-', 0, jinja_integer(v))
                                    : jinja_int(jinja_integer(v));
}

static struct jinja_value eval_call(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value callee = jinja_eval(r, n->a);
    struct jinja_args args = eval_arguments(r, n->list, NULL);
    r->line = n->line;
    return jinja_call(r, callee, &args);
}

static struct jinja_value eval_choice(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value a = jinja_eval(r, n->kind == NODE_CONDITION ? n->b : n->a);
    if (n->kind == NODE_AND)
        return jinja_true(a) ? jinja_eval(r, n->b) : a;
    if (n->kind == NODE_OR)
        return jinja_true(a) ? a : jinja_eval(r, n->b);
    if (jinja_true(a))
        return jinja_eval(r, n->a);
    return n->c ? jinja_eval(r, n->c)
                : jinja_undefined(r, "the condition is false and there is no else");
}

static struct jinja_value eval(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value a;
    switch (n->kind) {
    case NODE_LITERAL:
        return n->value;
    case NODE_NAME:
        return eval_name(r, n->name);
    case NODE_ATTRIBUTE:
        return jinja_attribute(r, jinja_eval(r, n->a), n->name);
    case NODE_SUBSCRIPT:
        a = jinja_eval(r, n->a);
        return jinja_subscript(r, a, jinja_eval(r, n->b));
    case NODE_SLICE:
        return eval_slice(r, n);
    case NODE_CALL:
        return eval_call(r, n);
    case NODE_FILTER:
        return eval_filter(r, n);
    case NODE_TEST:
        return jinja_bool(eval_test(r, n));
    case NODE_NEGATIVE:
    case NODE_POSITIVE:
        return eval_sign(r, n);
    case NODE_NOT:
        return jinja_bool(!jinja_true(jinja_eval(r, n->a)));
    case NODE_AND:
    case NODE_OR:
    case NODE_CONDITION:
        return eval_choice(r, n);
    case NODE_BINARY:
        a = jinja_eval(r, n->a);
        return jinja_binary(r, n->op, a, jinja_eval(r, n->b));
    case NODE_COMPARE:
        return eval_compare(r, n);
    case NODE_LIST:
        return eval_list(r, n, JINJA_LIST);
    case NODE_TUPLE:
        return eval_list(r, n, JINJA_TUPLE);
    case NODE_DICT:
        return eval_dict(r, n);
    default:
        jinja_fail(r, "a statement stands where a value is wanted");
    }
}

struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n)
{
    jinja_enter(r);
    jinja_step(r, 1);
    r->line = n->line;
    struct jinja_value v = eval(r, n);
    jinja_leave(r);
    return v;
}
