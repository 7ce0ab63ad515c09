// The tree of a template out of its tokens: recursive descent, one function per level of binding.
//
//   condition  a if b else c
//   or, and, not
//   compare    == != < <= > >= in, not in; chained as in Python
//   + -
//   ~
//   * / // %
//   - + (signs), then **, then .name [key] (call) | filter, is test
#include "text/jinja_ast.h"

#include <string.h>

struct parser {
    struct jinja_run *r;
    const struct jinja_lexeme *at;
};

static struct jinja_node *parse_expression(struct parser *p);
static struct jinja_node *parse_unary(struct parser *p, bool with_filters);
static struct jinja_node *parse_until(struct parser *p, const char *const *ends);

// ---- small pieces ------------------------------------------------------------------------------

static struct jinja_node *node_new(struct parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *n = jinja_alloc(p->r, sizeof *n);
    n->kind = kind;
    n->line = p->at->line;
    return n;
}

_Noreturn static void unexpected(struct parser *p, const char *wanted)
{
    p->r->line = p->at->line;
    jinja_fail(p->r, "%s is wanted%s%.40s", wanted, p->at->text ? ", not " : "",
               p->at->text ? p->at->text : "");
}

static bool is_token(const struct parser *p, int token)
{
    return p->at->token == token;
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->at->token == TOKEN_NAME && !strcmp(p->at->text, word);
}

static bool take(struct parser *p, int token)
{
    if (!is_token(p, token))
        return false;
    p->at++;
    return true;
}

static bool take_word(struct parser *p, const char *word)
{
    if (!is_word(p, word))
        return false;
    p->at++;
    return true;
}

static void want(struct parser *p, int token, const char *what)
{
    if (!take(p, token))
        unexpected(p, what);
}

static const char *want_name(struct parser *p)
{
    if (!is_token(p, TOKEN_NAME))
        unexpected(p, "a name");
    return p->at++->text;
}

// Appends to a list that ends at *tail.
static void chain(struct jinja_node ***tail, struct jinja_node *n)
{
    **tail = n;
    *tail = &n->next;
}

// ---- atoms -------------------------------------------------------------------------------------

static struct jinja_node *literal(struct parser *p, struct jinja_value v)
{
    struct jinja_node *n = node_new(p, NODE_LITERAL);
    n->value = v;
    return n;
}

// Neighbouring strings are one.
static struct jinja_node *parse_string(struct parser *p)
{
    struct jinja_output text = {0};
    struct jinja_node *n = node_new(p, NODE_LITERAL);
    for (; is_token(p, TOKEN_STRING); p->at++)
        jinja_write(p->r, &text, p->at->text, NULL, p->at->n);
    n->value = jinja_output_value(p->r, &text);
    return n;
}

static struct jinja_node *parse_word(struct parser *p)
{
    static const struct {
        const char *word;
        enum jinja_kind kind;
        bool value;
    } constants[] = {{"true", JINJA_BOOL, true},   {"True", JINJA_BOOL, true},
                     {"false", JINJA_BOOL, false}, {"False", JINJA_BOOL, false},
                     {"none", JINJA_NONE, false},  {"None", JINJA_NONE, false}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (take_word(p, constants[i].word))
            return literal(
                p, (struct jinja_value){.kind = constants[i].kind, .boolean = constants[i].value});
    struct jinja_node *n = node_new(p, NODE_NAME);
    n->name = want_name(p);
    return n;
}

// Expressions between commas up to `close`; whether a comma was there.
static bool parse_items(struct parser *p, struct jinja_node **list, int close, const char *what)
{
    bool comma = false;
    while (!take(p, close)) {
        chain(&list, parse_expression(p));
        if (take(p, ','))
            comma = true;
        else if (!is_token(p, close))
            unexpected(p, what);
    }
    return comma;
}

static struct jinja_node *parse_dict(struct parser *p)
{
    struct jinja_node *n = node_new(p, NODE_DICT), **tail = &n->list;
    while (!take(p, '}')) {
        chain(&tail, parse_expression(p));
        want(p, ':', "a colon behind the key");
        chain(&tail, parse_expression(p));
        if (!take(p, ',') && !is_token(p, '}'))
            unexpected(p, "a comma or }");
    }
    return n;
}

static struct jinja_node *parse_atom(struct parser *p)
{
    struct jinja_node *n;
    switch (p->at->token) {
    case TOKEN_NAME:
        return parse_word(p);
    case TOKEN_STRING:
        return parse_string(p);
    case TOKEN_INT:
        n = literal(p, jinja_int(p->at->integer));
        p->at++;
        return n;
    case TOKEN_FLOAT:
        n = literal(p, jinja_float(p->at->number));
        p->at++;
        return n;
    case '[':
        n = node_new(p, NODE_LIST);
        p->at++;
        parse_items(p, &n->list, ']', "a comma or ]");
        return n;
    case '{':
        p->at++;
        return parse_dict(p);
    case '(':
        n = node_new(p, NODE_TUPLE);
        p->at++;
        bool comma = parse_items(p, &n->list, ')', "a comma or )");
        return n->list && !comma ? n->list : n;
    default:
        unexpected(p, "a value");
    }
}

// ---- what follows an atom ----------------------------------------------------------------------

// Arguments up to the closing parenthesis; the opening one was taken.
static struct jinja_node *parse_arguments(struct parser *p)
{
    struct jinja_node *list = NULL, **tail = &list;
    bool named = false;
    while (!take(p, ')')) {
        struct jinja_node *n = node_new(p, NODE_ARGUMENT);
        if (take(p, '*')) {
            n->op = '*';
        } else if (take(p, TOKEN_POWER)) {
            n->op = TOKEN_POWER;
            named = true;
        } else if (is_token(p, TOKEN_NAME) && p->at[1].token == '=') {
            n->name = p->at->text;
            p->at += 2;
            named = true;
        } else if (named) {
            unexpected(p, "a named argument behind named ones");
        }
        n->a = parse_expression(p);
        chain(&tail, n);
        if (!take(p, ',') && !is_token(p, ')'))
            unexpected(p, "a comma or )");
    }
    return list;
}

static struct jinja_node *parse_subscript(struct parser *p, struct jinja_node *of)
{
    struct jinja_node *n = node_new(p, NODE_SUBSCRIPT);
    n->a = of;
    if (!is_token(p, ':'))
        n->b = parse_expression(p);
    if (take(p, ':')) {
        n->kind = NODE_SLICE;
        if (!is_token(p, ':') && !is_token(p, ']'))
            n->c = parse_expression(p);
        if (take(p, ':') && !is_token(p, ']'))
            n->d = parse_expression(p);
    }
    want(p, ']', "a ]");
    return n;
}

static struct jinja_node *parse_attribute(struct parser *p, struct jinja_node *of)
{
    struct jinja_node *n = node_new(p, NODE_ATTRIBUTE);
    n->a = of;
    if (is_token(p, TOKEN_INT)) {
        n->kind = NODE_SUBSCRIPT;
        n->b = parse_atom(p);
    } else {
        n->name = want_name(p);
    }
    return n;
}

static struct jinja_node *parse_filter(struct parser *p, struct jinja_node *of)
{
    struct jinja_node *n = node_new(p, NODE_FILTER);
    n->a = of;
    n->name = want_name(p);
    if (take(p, '('))
        n->list = parse_arguments(p);
    return n;
}

// Whether an expression can begin here, for tests that take an argument without parentheses.
static bool begins_atom(const struct parser *p)
{
    static const char *const words[] = {"else", "or", "and", "is", "if", "not", "in"};
    if (is_token(p, TOKEN_NAME)) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (is_word(p, words[i]))
                return false;
        return true;
    }
    return is_token(p, TOKEN_STRING) || is_token(p, TOKEN_INT) || is_token(p, TOKEN_FLOAT) ||
           is_token(p, '[') || is_token(p, '{');
}

static struct jinja_node *parse_test(struct parser *p, struct jinja_node *of)
{
    struct jinja_node *n = node_new(p, NODE_TEST), *test = n;
    if (take_word(p, "not")) {
        n->kind = NODE_NOT;
        test = n->a = node_new(p, NODE_TEST);
    }
    test->a = of;
    test->name = want_name(p);
    if (take(p, '(')) {
        test->list = parse_arguments(p);
    } else if (begins_atom(p)) {
        test->list = node_new(p, NODE_ARGUMENT);
        test->list->a = parse_unary(p, false);
    }
    return n;
}

static struct jinja_node *parse_postfix(struct parser *p, struct jinja_node *n)
{
    for (;;) {
        if (take(p, '.')) {
            n = parse_attribute(p, n);
        } else if (take(p, '[')) {
            n = parse_subscript(p, n);
        } else if (take(p, '(')) {
            struct jinja_node *call = node_new(p, NODE_CALL);
            call->a = n;
            call->list = parse_arguments(p);
            n = call;
        } else {
            return n;
        }
    }
}

static struct jinja_node *parse_filters(struct parser *p, struct jinja_node *n)
{
    for (;;) {
        if (take(p, '|'))
            n = parse_filter(p, n);
        else if (take_word(p, "is"))
            n = parse_test(p, n);
        else if (n && take(p, '(')) { // what a filter gave, called
            struct jinja_node *call = node_new(p, NODE_CALL);
            call->a = n;
            call->list = parse_arguments(p);
            n = call;
        } else
            return n;
    }
}

// ---- operators ---------------------------------------------------------------------------------

static struct jinja_node *binary(struct parser *p, enum jinja_node_kind kind, int op,
                                 struct jinja_node *a, struct jinja_node *b)
{
    struct jinja_node *n = node_new(p, kind);
    n->op = op;
    n->a = a;
    n->b = b;
    return n;
}

// Signs bind tighter than ** here, as they do in Jinja.
static struct jinja_node *parse_unary(struct parser *p, bool with_filters)
{
    struct jinja_node *n;
    jinja_enter(p->r);
    if (is_token(p, '-') || is_token(p, '+')) {
        n = node_new(p, is_token(p, '-') ? NODE_NEGATIVE : NODE_POSITIVE);
        p->at++;
        n->a = parse_unary(p, false);
    } else {
        n = parse_atom(p);
    }
    n = parse_postfix(p, n);
    if (with_filters)
        n = parse_filters(p, n);
    jinja_leave(p->r);
    return n;
}

static struct jinja_node *parse_power(struct parser *p)
{
    struct jinja_node *n = parse_unary(p, true);
    while (take(p, TOKEN_POWER))
        n = binary(p, NODE_BINARY, TOKEN_POWER, n, parse_unary(p, true));
    return n;
}

static struct jinja_node *parse_product(struct parser *p)
{
    struct jinja_node *n = parse_power(p);
    for (;;) {
        int op = p->at->token;
        if (op != '*' && op != '/' && op != '%' && op != TOKEN_FLOOR)
            return n;
        p->at++;
        n = binary(p, NODE_BINARY, op, n, parse_power(p));
    }
}

static struct jinja_node *parse_concat(struct parser *p)
{
    struct jinja_node *n = parse_product(p);
    while (take(p, '~'))
        n = binary(p, NODE_BINARY, '~', n, parse_product(p));
    return n;
}

static struct jinja_node *parse_sum(struct parser *p)
{
    struct jinja_node *n = parse_concat(p);
    while (is_token(p, '+') || is_token(p, '-')) {
        int op = p->at++->token;
        n = binary(p, NODE_BINARY, op, n, parse_concat(p));
    }
    return n;
}

static int comparison_op(struct parser *p)
{
    static const int tokens[] = {TOKEN_EQ, TOKEN_NE, TOKEN_LE, TOKEN_GE, '<', '>'};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (take(p, tokens[i]))
            return tokens[i];
    if (take_word(p, "in"))
        return OP_IN;
    if (is_word(p, "not") && p->at[1].token == TOKEN_NAME && !strcmp(p->at[1].text, "in")) {
        p->at += 2;
        return OP_NOT_IN;
    }
    return 0;
}

static struct jinja_node *parse_compare(struct parser *p)
{
    struct jinja_node *first = parse_sum(p), *n = NULL, **tail = NULL;
    for (int op; (op = comparison_op(p));) {
        if (!n) {
            n = node_new(p, NODE_COMPARE);
            n->a = first;
            tail = &n->list;
        }
        chain(&tail, binary(p, NODE_COMPARISON, op, parse_sum(p), NULL));
    }
    return n ? n : first;
}

static struct jinja_node *parse_not(struct parser *p)
{
    if (!take_word(p, "not"))
        return parse_compare(p);
    struct jinja_node *n = node_new(p, NODE_NOT);
    jinja_enter(p->r);
    n->a = parse_not(p);
    jinja_leave(p->r);
    return n;
}

static struct jinja_node *parse_and(struct parser *p)
{
    struct jinja_node *n = parse_not(p);
    while (take_word(p, "and"))
        n = binary(p, NODE_AND, 0, n, parse_not(p));
    return n;
}

static struct jinja_node *parse_or(struct parser *p)
{
    struct jinja_node *n = parse_and(p);
    while (take_word(p, "or"))
        n = binary(p, NODE_OR, 0, n, parse_and(p));
    return n;
}

static struct jinja_node *parse_expression(struct parser *p)
{
    jinja_enter(p->r);
    struct jinja_node *n = parse_or(p);
    while (take_word(p, "if")) {
        struct jinja_node *condition = node_new(p, NODE_CONDITION);
        condition->a = n;
        condition->b = parse_or(p);
        if (take_word(p, "else"))
            condition->c = parse_expression(p);
        n = condition;
    }
    jinja_leave(p->r);
    return n;
}

// A value, or several between commas, which are a tuple.
static struct jinja_node *parse_tuple(struct parser *p, int end)
{
    struct jinja_node *first = parse_expression(p);
    if (!is_token(p, ','))
        return first;
    struct jinja_node *n = node_new(p, NODE_TUPLE), **tail = &n->list;
    chain(&tail, first);
    while (take(p, ',') && !is_token(p, end))
        chain(&tail, parse_expression(p));
    return n;
}

// ---- statements --------------------------------------------------------------------------------

// What is assigned to: a name, name.attribute, or names between commas.
static struct jinja_node *parse_one_target(struct parser *p)
{
    if (take(p, '(')) {
        struct jinja_node *n = node_new(p, NODE_TUPLE), **tail = &n->list;
        while (!take(p, ')')) {
            chain(&tail, parse_one_target(p));
            if (!take(p, ',') && !is_token(p, ')'))
                unexpected(p, "a comma or )");
        }
        return n;
    }
    struct jinja_node *n = node_new(p, NODE_NAME);
    n->name = want_name(p);
    if (take(p, '.')) {
        struct jinja_node *attribute = node_new(p, NODE_ATTRIBUTE);
        attribute->a = n;
        attribute->name = want_name(p);
        return attribute;
    }
    return n;
}

static struct jinja_node *parse_target(struct parser *p)
{
    struct jinja_node *first = parse_one_target(p);
    if (!is_token(p, ','))
        return first;
    struct jinja_node *n = node_new(p, NODE_TUPLE), **tail = &n->list;
    chain(&tail, first);
    while (take(p, ',') && is_token(p, TOKEN_NAME) && !is_word(p, "in"))
        chain(&tail, parse_one_target(p));
    return n;
}

static void end_tag(struct parser *p)
{
    want(p, TOKEN_BLOCK_END, "the end of the tag");
}

static struct jinja_node *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jinja_node *n = node_new(p, NODE_IF);
    jinja_enter(p->r);
    n->a = parse_tuple(p, TOKEN_BLOCK_END);
    end_tag(p);
    n->list = parse_until(p, ends);
    if (take_word(p, "elif")) {
        n->c = parse_if(p);
    } else if (take_word(p, "else")) {
        end_tag(p);
        n->c = parse_until(p, ends + 2);
        p->at++;
        end_tag(p);
    } else {
        p->at++;
        end_tag(p);
    }
    jinja_leave(p->r);
    return n;
}

static struct jinja_node *parse_for(struct parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct jinja_node *n = node_new(p, NODE_FOR);
    n->a = parse_target(p);
    if (!take_word(p, "in"))
        unexpected(p, "'in'");
    n->b = parse_or(p);
    if (is_token(p, ',')) {
        struct jinja_node *tuple = node_new(p, NODE_TUPLE), **tail = &tuple->list;
        chain(&tail, n->b);
        while (take(p, ',') && !is_token(p, TOKEN_BLOCK_END))
            chain(&tail, parse_or(p));
        n->b = tuple;
    }
    if (take_word(p, "if"))
        n->d = parse_expression(p);
    n->op = take_word(p, "recursive");
    end_tag(p);
    n->list = parse_until(p, ends);
    if (take_word(p, "else")) {
        end_tag(p);
        n->c = parse_until(p, ends + 1);
    }
    p->at++;
    end_tag(p);
    return n;
}

// | filter | filter .. behind a block's name.
static struct jinja_node *parse_block_filters(struct parser *p)
{
    struct jinja_node *filters = NULL;
    while (take(p, '|'))
        filters = parse_filter(p, filters);
    return filters;
}

// {% NAME .. %}list{% endNAME %}: the list, and the closing tag.
static struct jinja_node *parse_body(struct parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    end_tag(p);
    struct jinja_node *list = parse_until(p, ends);
    p->at++;
    if (is_token(p, TOKEN_NAME)) // {% endmacro name %}
        p->at++;
    end_tag(p);
    return list;
}

static struct jinja_node *parse_set(struct parser *p)
{
    struct jinja_node *n = node_new(p, NODE_SET);
    n->a = parse_target(p);
    if (take(p, '=')) {
        n->b = parse_tuple(p, TOKEN_BLOCK_END);
        end_tag(p);
        return n;
    }
    n->kind = NODE_SET_BLOCK;
    n->b = parse_block_filters(p);
    n->list = parse_body(p, "endset");
    return n;
}

static struct jinja_node *parse_parameters(struct parser *p)
{
    struct jinja_node *list = NULL, **tail = &list;
    while (!take(p, ')')) {
        struct jinja_node *n = node_new(p, NODE_PARAMETER);
        n->name = want_name(p);
        if (take(p, '='))
            n->a = parse_expression(p);
        chain(&tail, n);
        if (!take(p, ',') && !is_token(p, ')'))
            unexpected(p, "a comma or )");
    }
    return list;
}

static struct jinja_node *parse_macro(struct parser *p)
{
    struct jinja_node *n = node_new(p, NODE_MACRO);
    n->name = want_name(p);
    want(p, '(', "a (");
    n->a = parse_parameters(p);
    n->list = parse_body(p, "endmacro");
    return n;
}

static struct jinja_node *parse_call(struct parser *p)
{
    struct jinja_node *n = node_new(p, NODE_CALL_BLOCK);
    n->name = "caller";
    if (take(p, '('))
        n->a = parse_parameters(p);
    n->b = parse_expression(p);
    if (n->b->kind != NODE_CALL)
        unexpected(p, "the call of a macro");
    n->list = parse_body(p, "endcall");
    return n;
}

static struct jinja_node *parse_filter_block(struct parser *p)
{
    struct jinja_node *n = node_new(p, NODE_FILTER_BLOCK);
    n->b = parse_filter(p, NULL);
    while (take(p, '|'))
        n->b = parse_filter(p, n->b);
    n->list = parse_body(p, "endfilter");
    return n;
}

static struct jinja_node *parse_plain(struct parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *n = node_new(p, kind);
    end_tag(p);
    return n;
}

static struct jinja_node *parse_statement(struct parser *p)
{
    if (take_word(p, "if"))
        return parse_if(p);
    if (take_word(p, "for"))
        return parse_for(p);
    if (take_word(p, "set"))
        return parse_set(p);
    if (take_word(p, "macro"))
        return parse_macro(p);
    if (take_word(p, "call"))
        return parse_call(p);
    if (take_word(p, "filter"))
        return parse_filter_block(p);
    if (take_word(p, "break"))
        return parse_plain(p, NODE_BREAK);
    if (take_word(p, "continue"))
        return parse_plain(p, NODE_CONTINUE);
    if (take_word(p, "generation")) {
        struct jinja_node *n = node_new(p, NODE_BLOCK);
        n->list = parse_body(p, "endgeneration");
        return n;
    }
    unexpected(p, "a statement that chat templates may use (if, for, set, macro, call, filter)");
}

// Statements up to a tag that begins with one of `ends` (NULL: to the end of the template); stops
// at that word.
static struct jinja_node *parse_until(struct parser *p, const char *const *ends)
{
    struct jinja_node *list = NULL, **tail = &list;
    jinja_enter(p->r);
    for (;;) {
        p->r->line = p->at->line;
        if (is_token(p, TOKEN_TEXT)) {
            struct jinja_node *n = node_new(p, NODE_TEXT);
            n->value = jinja_string_value(p->r, p->at->text, NULL, p->at->n);
            p->at++;
            chain(&tail, n);
        } else if (take(p, TOKEN_PRINT_BEGIN)) {
            struct jinja_node *n = node_new(p, NODE_PRINT);
            n->a = parse_tuple(p, TOKEN_PRINT_END);
            want(p, TOKEN_PRINT_END, "}}");
            chain(&tail, n);
        } else if (take(p, TOKEN_BLOCK_BEGIN)) {
            for (const char *const *end = ends; end && *end; end++)
                if (is_word(p, *end)) {
                    jinja_leave(p->r);
                    return list;
                }
            chain(&tail, parse_statement(p));
        } else if (!ends && is_token(p, TOKEN_END)) {
            break;
        } else {
            const char *const *last = ends;
            while (last && last[1])
                last++;
            jinja_fail(p->r, "{%% %s %%} is missing", last ? *last : "a tag");
        }
    }
    jinja_leave(p->r);
    return list;
}

struct jinja_node *jinja_parse(struct jinja_run *r, const struct jinja_lexeme *tokens)
{
    struct parser p = {r, tokens};
    return parse_until(&p, NULL);
}
