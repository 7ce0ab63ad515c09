// What templates compute with: values, and the region of memory that holds everything of one
// compilation or one render and goes as a whole.
//
// Failing. The interpreter is one deep recursion, so failures jump out of it: jinja_fail notes the
// sentence and returns to where the run was entered. Nothing but the region is held meanwhile.
#pragma once

#include "base/err.h"
#include "text/jinja.h"

#include <setjmp.h>

enum {
    JINJA_MAX_MEMORY = 256 << 20, // of a render
    JINJA_MAX_STEPS = 20000000,
    JINJA_MAX_DEPTH = 150, // of nested expressions, blocks and macro calls
    JINJA_MAX_OUTPUT = 32 << 20,
    JINJA_MAX_SOURCE = 4 << 20,
};

// ---- memory ------------------------------------------------------------------------------------

struct jinja_chunk;
struct jinja_region {
    struct jinja_chunk *chunks;
    size_t taken;
};

// ---- values ------------------------------------------------------------------------------------

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_ITERATOR, // what map, select and items leave: may be gone over once
    JINJA_VIEW,     // items(), keys(), values() of a dict: has a length, no index
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_FUNCTION, // built in, a method with its object, or one of `loop`
    JINJA_LOOP,
};

struct jinja_string {
    const char *bytes;    // UTF-8; not NUL-terminated
    const uint8_t *marks; // (n) or NULL: none marked
    size_t n;
    bool safe; // through the filter `safe`: what is added to it is escaped for HTML, as in Jinja
};

struct jinja_value {
    enum jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const struct jinja_string *string;
        struct jinja_list *list; // lists, tuples, iterators, views
        struct jinja_dict *dict; // dicts and namespaces
        const struct jinja_macro *macro;
        const struct jinja_function *function;
        struct jinja_loop *loop;
        const char *missing; // of an undefined value: what is not there, for the sentence
    };
};

struct jinja_list {
    struct jinja_value *items;
    size_t n, capacity;
};

struct jinja_dict { // in the order of insertion
    struct jinja_value *keys, *values;
    size_t n, capacity;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_dict names;
};

struct jinja_macro {
    const struct jinja_node *node; // NODE_MACRO or NODE_CALL_BLOCK
    struct jinja_scope *scope;     // where it was defined
};

struct jinja_loop {
    const struct jinja_list *items;
    size_t index;
    int depth;
    const struct jinja_node *node; // of a recursive loop, else NULL
    struct jinja_value changed;    // what loop.changed saw last
    bool has_changed;
    struct jinja_scope *scope;
};

struct jinja_output {
    char *text;
    uint8_t *marks;
    size_t n, capacity;
};

// ---- a compilation or a render -----------------------------------------------------------------

struct jinja_run {
    struct jinja_region region;
    struct err *e;
    jmp_buf out;
    const struct jinja_input *input;
    struct jinja_scope *scope;
    struct jinja_output *output;
    uint64_t steps;
    int depth, line;
};

// Arguments of a call.
struct jinja_args {
    struct jinja_value *values;
    const char **names; // NULL: by position; those come first
    size_t n;
};

struct jinja_function {
    struct jinja_value (*call)(struct jinja_run *r, const struct jinja_value *self,
                               const struct jinja_args *args);
    struct jinja_value self;
};

_Noreturn void jinja_fail(struct jinja_run *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *jinja_alloc(struct jinja_run *r, size_t size); // zeroed
void jinja_region_fini(struct jinja_region *region);
void jinja_step(struct jinja_run *r, uint64_t n); // counts work, fails beyond the limit
void jinja_enter(struct jinja_run *r);            // one level deeper
void jinja_leave(struct jinja_run *r);

// ---- making ------------------------------------------------------------------------------------

static inline struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.kind = JINJA_NONE};
}
static inline struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .boolean = b};
}
static inline struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.kind = JINJA_INT, .integer = i};
}
static inline struct jinja_value jinja_float(double d)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .number = d};
}
// "'name' is undefined" and the like, when it is used as if it were there.
struct jinja_value jinja_undefined(struct jinja_run *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct jinja_value jinja_text_value(struct jinja_run *r, const char *text); // copied, unmarked
struct jinja_value jinja_string_value(struct jinja_run *r, const char *bytes, const uint8_t *marks,
                                      size_t n); // not copied
struct jinja_value jinja_list_new(struct jinja_run *r, enum jinja_kind kind);
void jinja_push(struct jinja_run *r, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_dict_new(struct jinja_run *r, enum jinja_kind kind);
void jinja_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
               struct jinja_value value);
struct jinja_value jinja_function_value(struct jinja_run *r,
                                        struct jinja_value (*call)(struct jinja_run *,
                                                                   const struct jinja_value *,
                                                                   const struct jinja_args *),
                                        struct jinja_value self);
struct jinja_value jinja_from_json(struct jinja_run *r, const json_t *j, bool marked);

// ---- looking -----------------------------------------------------------------------------------

bool jinja_true(struct jinja_value v);
bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b);
// Negative, zero or positive; fails where Python has no order.
int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b);
struct jinja_value *jinja_get(struct jinja_run *r, const struct jinja_dict *d,
                              struct jinja_value key); // NULL: not there
struct jinja_value *jinja_get_name(const struct jinja_dict *d, const char *name);
bool jinja_is(struct jinja_value v, const char *text); // a string with these bytes
// The items to go over: of lists and the like themselves, keys of a dict, characters of a string,
// none of an undefined value. An iterator is used up.
struct jinja_list *jinja_items(struct jinja_run *r, struct jinja_value v);
size_t jinja_length(struct jinja_run *r, struct jinja_value v);
size_t jinja_characters(struct jinja_string s);
size_t jinja_character_at(struct jinja_string s, size_t character); // its byte, s.n: beyond
const char *jinja_type_name(struct jinja_value v);                  // as Python says it
double jinja_number(struct jinja_value v); // of a boolean, an integer or a float
static inline bool jinja_is_number(struct jinja_value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}
static inline bool jinja_is_integer(struct jinja_value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT;
}
static inline int64_t jinja_integer(struct jinja_value v)
{
    return v.kind == JINJA_BOOL ? v.boolean : v.integer;
}

// ---- output ------------------------------------------------------------------------------------

void jinja_write(struct jinja_run *r, struct jinja_output *o, const char *bytes,
                 const uint8_t *marks, size_t n);
void jinja_write_text(struct jinja_run *r, struct jinja_output *o, const char *text);
struct jinja_value jinja_output_value(struct jinja_run *r, const struct jinja_output *o);
void jinja_print(struct jinja_run *r, struct jinja_output *o, struct jinja_value v); // str()
void jinja_print_repr(struct jinja_run *r, struct jinja_output *o, struct jinja_value v);
struct jinja_value jinja_str(struct jinja_run *r, struct jinja_value v);
struct jinja_value jinja_escape(struct jinja_run *r, struct jinja_value v); // for HTML; safe
struct jinja_value jinja_safe(struct jinja_run *r, struct jinja_value v);   // str(), safe
// json.dumps; indent < 0: on one line. `item` and `key` separate.
struct jinja_json_style {
    int indent;
    const char *item, *key;
    bool ascii, sorted;
};
void jinja_print_json(struct jinja_run *r, struct jinja_output *o, struct jinja_value v,
                      const struct jinja_json_style *style);

// ---- calls -------------------------------------------------------------------------------------

// Argument `name`, by name or at position `at`; NULL: not given.
const struct jinja_value *jinja_arg(const struct jinja_args *a, size_t at, const char *name);
struct jinja_string jinja_arg_string(struct jinja_run *r, const struct jinja_args *a, size_t at,
                                     const char *name, const char *otherwise);
int64_t jinja_arg_int(struct jinja_run *r, const struct jinja_args *a, size_t at, const char *name,
                      int64_t otherwise);
bool jinja_arg_bool(const struct jinja_args *a, size_t at, const char *name, bool otherwise);

struct jinja_value jinja_call(struct jinja_run *r, struct jinja_value callee,
                              const struct jinja_args *args);
struct jinja_value jinja_attribute(struct jinja_run *r, struct jinja_value v, const char *name);
struct jinja_value jinja_subscript(struct jinja_run *r, struct jinja_value v,
                                   struct jinja_value key);
// a + b and the like; `op` is a token of jinja_ast.h.
struct jinja_value jinja_binary(struct jinja_run *r, int op, struct jinja_value a,
                                struct jinja_value b);
bool jinja_contains(struct jinja_run *r, struct jinja_value container, struct jinja_value item);

// Built-in things by name; false: there is none.
bool jinja_filter(struct jinja_run *r, const char *name, const struct jinja_args *args,
                  struct jinja_value *out); // args[0] is what is filtered
bool jinja_test(struct jinja_run *r, const char *name, const struct jinja_args *args, bool *out);
// The method `name` of a string, list or dict, bound to it.
bool jinja_method(struct jinja_run *r, struct jinja_value self, const char *name,
                  struct jinja_value *out);
bool jinja_global(struct jinja_run *r, const char *name, struct jinja_value *out);
