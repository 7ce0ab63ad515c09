// Tokens and the tree of a compiled template.
#pragma once

#include "text/jinja_value.h"

// ---- tokens ------------------------------------------------------------------------------------

enum jinja_token {
    TOKEN_END,
    TOKEN_TEXT,        // outside of tags
    TOKEN_BLOCK_BEGIN, // {%
    TOKEN_BLOCK_END,
    TOKEN_PRINT_BEGIN, // {{
    TOKEN_PRINT_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_EQ, // ==
    TOKEN_NE,
    TOKEN_LE,
    TOKEN_GE,
    TOKEN_FLOOR, // //
    TOKEN_POWER, // **
    // Other operators are their character: + - * / % ~ < > = | . , : ( ) [ ] { }
};

struct jinja_lexeme {
    int token;
    int line;
    const char *text; // names, strings and text: NUL-terminated, in the region
    size_t n;
    int64_t integer;
    double number;
};

// All tokens of the source, in the region, TOKEN_END last.
struct jinja_lexeme *jinja_lex(struct jinja_run *r, const char *source, size_t n,
                               const struct jinja_options *o);

// ---- the tree ----------------------------------------------------------------------------------

enum jinja_node_kind {
    // Expressions.
    NODE_LITERAL,   // value
    NODE_NAME,      // name
    NODE_ATTRIBUTE, // a.name
    NODE_SUBSCRIPT, // a[b]
    NODE_SLICE,     // a[b:c:d]
    NODE_CALL,      // a(list)
    NODE_FILTER,    // a | name(list); a NULL in a filter block
    NODE_TEST,      // a is name(list)
    NODE_NEGATIVE,
    NODE_POSITIVE,
    NODE_NOT,
    NODE_AND,
    NODE_OR,
    NODE_BINARY,     // a op b
    NODE_COMPARE,    // a, then list of NODE_COMPARISON
    NODE_COMPARISON, // op a
    NODE_CONDITION,  // a if b else c
    NODE_LIST,       // [list]
    NODE_TUPLE,
    NODE_DICT,     // list of keys and values by turns
    NODE_ARGUMENT, // name = a; name NULL: by position; op * or **: all items of a
    // Statements, chained by `next`.
    NODE_TEXT,         // value
    NODE_PRINT,        // a
    NODE_IF,           // a: list, else c
    NODE_FOR,          // a in b if d: list, else c; op: recursive
    NODE_SET,          // a = b
    NODE_SET_BLOCK,    // a = list through filters b
    NODE_MACRO,        // name(list of NODE_PARAMETER in a): list
    NODE_PARAMETER,    // name = a
    NODE_CALL_BLOCK,   // call b, caller's parameters a: list
    NODE_FILTER_BLOCK, // filters b: list
    NODE_BLOCK,        // list
    NODE_BREAK,
    NODE_CONTINUE,
};

// Operators of NODE_BINARY and NODE_COMPARISON beyond those that are tokens.
enum { OP_IN = 256, OP_NOT_IN };

struct jinja_node {
    enum jinja_node_kind kind;
    int op, line;
    const char *name;
    struct jinja_value value;
    struct jinja_node *a, *b, *c, *d, *list, *next;
};

struct jinja {
    struct jinja_region region;
    struct jinja_node *body;
};

struct jinja_node *jinja_parse(struct jinja_run *r, const struct jinja_lexeme *tokens);

// ---- running -----------------------------------------------------------------------------------

// How a list of statements ended.
enum jinja_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n);
enum jinja_flow jinja_exec(struct jinja_run *r, const struct jinja_node *first);
struct jinja_value jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                                    const struct jinja_args *args);
struct jinja_value jinja_loop_again(struct jinja_run *r, const struct jinja_loop *loop,
                                    struct jinja_value items);
