// Statements of templates, macros, and the entry points: compiling and rendering.
//
// Scopes. A loop's body, a macro and a call block each have a scope of their own, a new one each
// time round; conditions have none. Assigning writes into the innermost scope; only attributes of a
// namespace reach out of it.
#include "text/jinja_ast.h"

#include <stdlib.h>
#include <string.h>

// ---- scopes and assignment ---------------------------------------------------------------------

static struct jinja_scope *scope_new(struct jinja_run *r, struct jinja_scope *parent)
{
    struct jinja_scope *s = jinja_alloc(r, sizeof *s);
    s->parent = parent;
    return s;
}

static void define(struct jinja_run *r, struct jinja_scope *s, const char *name,
                   struct jinja_value v)
{
    struct jinja_value *there = jinja_get_name(&s->names, name);
    if (there)
        *there = v;
    else
        jinja_put(r, &s->names, jinja_string_value(r, name, NULL, strlen(name)), v);
}

static void assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_value v)
{
    if (target->kind == NODE_NAME) {
        define(r, r->scope, target->name, v);
    } else if (target->kind == NODE_ATTRIBUTE) {
        struct jinja_value of = jinja_eval(r, target->a);
        if (of.kind != JINJA_NAMESPACE)
            jinja_fail(r, "only a namespace takes attributes, not a %s", jinja_type_name(of));
        jinja_put(r, of.dict, jinja_string_value(r, target->name, NULL, strlen(target->name)), v);
    } else {
        if (v.kind == JINJA_UNDEFINED)
            jinja_fail(r, "%s", v.missing);
        const struct jinja_list *items = jinja_items(r, v);
        size_t i = 0;
        for (const struct jinja_node *t = target->list; t; t = t->next, i++)
            if (i < items->n)
                assign(r, t, items->items[i]);
        if (i != items->n)
            jinja_fail(r, "%zu values do not go into %zu names", items->n, i);
    }
}

// ---- blocks ------------------------------------------------------------------------------------

// What the statements write, as a string. `flow` as jinja_exec gives it.
static struct jinja_value capture(struct jinja_run *r, const struct jinja_node *list,
                                  enum jinja_flow *flow)
{
    struct jinja_output o = {0}, *outer = r->output;
    r->output = &o;
    *flow = jinja_exec(r, list);
    r->output = outer;
    return jinja_output_value(r, &o);
}

// The filters of a block, innermost first, over its text.
static struct jinja_value filter_block(struct jinja_run *r, const struct jinja_node *filter,
                                       struct jinja_value text)
{
    struct jinja_node literal = {.kind = NODE_LITERAL, .line = r->line, .value = text};
    if (!filter)
        return text;
    if (filter->a)
        literal.value = filter_block(r, filter->a, text);
    struct jinja_node copy = *filter;
    copy.a = &literal;
    return jinja_eval(r, &copy);
}

static enum jinja_flow exec_for_items(struct jinja_run *r, const struct jinja_node *n,
                                      struct jinja_loop *loop)
{
    struct jinja_scope *outer = r->scope;
    enum jinja_flow flow = FLOW_ON;
    for (loop->index = 0; loop->index < loop->items->n && flow != FLOW_BREAK; loop->index++) {
        jinja_step(r, 1);
        r->scope = scope_new(r, outer);
        assign(r, n->a, loop->items->items[loop->index]);
        define(r, r->scope, "loop", (struct jinja_value){.kind = JINJA_LOOP, .loop = loop});
        flow = jinja_exec(r, n->list);
        r->scope = outer;
    }
    if (!loop->items->n && n->c)
        return jinja_exec(r, n->c);
    return FLOW_ON;
}

// Those items for which the loop's condition holds.
static struct jinja_list *matching(struct jinja_run *r, const struct jinja_node *n,
                                   const struct jinja_list *items)
{
    struct jinja_value kept = jinja_list_new(r, JINJA_LIST);
    struct jinja_scope *outer = r->scope;
    for (size_t i = 0; i < items->n; i++) {
        r->scope = scope_new(r, outer);
        assign(r, n->a, items->items[i]);
        if (jinja_true(jinja_eval(r, n->d)))
            jinja_push(r, kept, items->items[i]);
        r->scope = outer;
    }
    return kept.list;
}

static enum jinja_flow exec_for(struct jinja_run *r, const struct jinja_node *n,
                                struct jinja_value over, int depth)
{
    struct jinja_loop *loop = jinja_alloc(r, sizeof *loop);
    struct jinja_list *items = jinja_items(r, over);
    *loop = (struct jinja_loop){.items = n->d ? matching(r, n, items) : items,
                                .depth = depth,
                                .node = n->op ? n : NULL,
                                .scope = r->scope};
    return exec_for_items(r, n, loop);
}

struct jinja_value jinja_loop_again(struct jinja_run *r, const struct jinja_loop *loop,
                                    struct jinja_value items)
{
    struct jinja_output o = {0}, *outer = r->output;
    struct jinja_scope *scope = r->scope;
    if (!loop->node)
        jinja_fail(r, "only a loop that says 'recursive' can be called");
    r->output = &o;
    r->scope = loop->scope;
    exec_for(r, loop->node, items, loop->depth + 1);
    r->scope = scope;
    r->output = outer;
    return jinja_output_value(r, &o);
}

// ---- macros ------------------------------------------------------------------------------------

static const struct jinja_value *named(const struct jinja_args *args, const char *name)
{
    for (size_t i = 0; i < args->n; i++)
        if (args->names[i] && !strcmp(args->names[i], name))
            return &args->values[i];
    return NULL;
}

static void bind_parameters(struct jinja_run *r, const struct jinja_macro *m,
                            const struct jinja_args *args)
{
    size_t at = 0;
    for (const struct jinja_node *p = m->node->a; p; p = p->next, at++) {
        const struct jinja_value *given = named(args, p->name);
        if (at < args->n && !args->names[at])
            given = &args->values[at];
        define(r, r->scope, p->name,
               given  ? *given
               : p->a ? jinja_eval(r, p->a)
                      : jinja_undefined(r, "parameter '%s' was not provided", p->name));
    }
    const struct jinja_value *caller = named(args, "caller");
    if (caller)
        define(r, r->scope, "caller", *caller);
    for (size_t i = 0; i < args->n; i++) {
        if (!args->names[i] && i >= at)
            jinja_fail(r, "macro '%s' takes not more than %zu arguments", m->node->name, at);
        bool known = !args->names[i] || !strcmp(args->names[i], "caller");
        for (const struct jinja_node *p = m->node->a; p && !known; p = p->next)
            known = !strcmp(p->name, args->names[i]);
        if (!known)
            jinja_fail(r, "macro '%s' takes no argument '%s'", m->node->name, args->names[i]);
    }
}

struct jinja_value jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                                    const struct jinja_args *args)
{
    struct jinja_scope *outer = r->scope;
    enum jinja_flow flow;
    jinja_enter(r);
    r->scope = scope_new(r, m->scope);
    bind_parameters(r, m, args);
    struct jinja_value text = capture(r, m->node->list, &flow);
    r->scope = outer;
    jinja_leave(r);
    return text;
}

static struct jinja_value macro_value(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_macro *m = jinja_alloc(r, sizeof *m);
    *m = (struct jinja_macro){n, r->scope};
    return (struct jinja_value){.kind = JINJA_MACRO, .macro = m};
}

// The call of a macro that may ask for the block by caller().
static void exec_call_block(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_node caller = {.kind = NODE_LITERAL, .line = n->line, .value = macro_value(r, n)};
    struct jinja_node argument = {
        .kind = NODE_ARGUMENT, .line = n->line, .name = "caller", .a = &caller};
    struct jinja_node call = *n->b;
    // The call's own arguments come first; they are copied, for the tree is read-only.
    struct jinja_node **tail = &call.list;
    for (const struct jinja_node *a = n->b->list; a; a = a->next) {
        struct jinja_node *copy = jinja_alloc(r, sizeof *copy);
        *copy = *a;
        *tail = copy;
        tail = &copy->next;
    }
    *tail = &argument;
    jinja_print(r, r->output, jinja_eval(r, &call));
}

// ---- statements --------------------------------------------------------------------------------

static enum jinja_flow exec_one(struct jinja_run *r, const struct jinja_node *n)
{
    enum jinja_flow flow = FLOW_ON;
    struct jinja_value v;
    switch (n->kind) {
    case NODE_TEXT:
        jinja_print(r, r->output, n->value);
        break;
    case NODE_PRINT:
        jinja_print(r, r->output, jinja_eval(r, n->a));
        break;
    case NODE_IF:
        if (jinja_true(jinja_eval(r, n->a)))
            return jinja_exec(r, n->list);
        return n->c ? jinja_exec(r, n->c) : FLOW_ON;
    case NODE_FOR:
        return exec_for(r, n, jinja_eval(r, n->b), 1);
    case NODE_SET:
        assign(r, n->a, jinja_eval(r, n->b));
        break;
    case NODE_SET_BLOCK:
        v = capture(r, n->list, &flow);
        assign(r, n->a, filter_block(r, n->b, v));
        break;
    case NODE_MACRO:
        define(r, r->scope, n->name, macro_value(r, n));
        break;
    case NODE_CALL_BLOCK:
        exec_call_block(r, n);
        break;
    case NODE_FILTER_BLOCK:
        v = capture(r, n->list, &flow);
        jinja_print(r, r->output, filter_block(r, n->b, v));
        break;
    case NODE_BLOCK:
        return jinja_exec(r, n->list);
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        jinja_fail(r, "a value stands where a statement is wanted");
    }
    return flow;
}

enum jinja_flow jinja_exec(struct jinja_run *r, const struct jinja_node *first)
{
    enum jinja_flow flow = FLOW_ON;
    jinja_enter(r);
    for (const struct jinja_node *n = first; n && flow == FLOW_ON; n = n->next) {
        jinja_step(r, 1);
        r->line = n->line;
        flow = exec_one(r, n);
    }
    jinja_leave(r);
    return flow;
}

// ---- entry points ------------------------------------------------------------------------------

int jinja_new(struct jinja **out, const char *source, size_t n, const struct jinja_options *o,
              struct err *e)
{
    static const struct jinja_options usual = {true, true};
    struct jinja_run r = {.e = e};
    struct jinja *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NO_MEMORY, "no memory for the chat template");
    if (setjmp(r.out)) {
        jinja_region_fini(&r.region);
        free(t);
        return ERR_FAILED;
    }
    t->body = jinja_parse(&r, jinja_lex(&r, source, n, o ? o : &usual));
    t->region = r.region;
    *out = t;
    return 0;
}

void jinja_free(struct jinja *t)
{
    if (!t)
        return;
    jinja_region_fini(&t->region);
    free(t);
}

static bool is_trusted(const struct jinja_input *in, const char *name)
{
    for (const char *const *t = in->trusted; t && *t; t++)
        if (!strcmp(*t, name))
            return true;
    return false;
}

static void define_variables(struct jinja_run *r)
{
    const char *name;
    json_t *value;
    r->scope = scope_new(r, NULL);
    json_object_foreach(r->input->variables, name, value)
        define(r, r->scope, name, jinja_from_json(r, value, !is_trusted(r->input, name)));
    r->scope = scope_new(r, r->scope);
}

static int copy_text(const struct jinja_output *o, struct jinja_text *out, struct err *e)
{
    *out = (struct jinja_text){malloc(o->n + 1), malloc(o->n + 1), o->n};
    if (!out->text || !out->marks) {
        jinja_text_free(out);
        return err_set(e, ERR_NO_MEMORY, "no memory for the rendered chat");
    }
    if (o->n) {
        memcpy(out->text, o->text, o->n);
        memcpy(out->marks, o->marks, o->n);
    }
    out->text[o->n] = 0;
    return 0;
}

int jinja_render(const struct jinja *t, const struct jinja_input *in, struct jinja_text *out,
                 struct err *e)
{
    struct jinja_output output = {0};
    struct jinja_run r = {.e = e, .input = in, .output = &output};
    *out = (struct jinja_text){0};
    if (setjmp(r.out)) {
        jinja_region_fini(&r.region);
        return ERR_FAILED;
    }
    define_variables(&r);
    jinja_exec(&r, t->body);
    int rc = copy_text(&output, out, e);
    jinja_region_fini(&r.region);
    return rc;
}

void jinja_text_free(struct jinja_text *t)
{
    free(t->text);
    free(t->marks);
    *t = (struct jinja_text){0};
}
