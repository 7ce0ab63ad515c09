// Conversations as tokens: see chat.h.
#include "text/chat_state.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- opening -----------------------------------------------------------------------------------

static int open_template(struct chat_template *t, struct gguf_string source, const struct vocab *v,
                         struct err *e)
{
    int rc = jinja_new(&t->jinja, source.text, source.length, NULL, e);
    if (rc)
        return rc;
    t->format = chat_format_of(source);
    t->thinking = chat_thinking_of(source, v);
    chat_probe(t, source, v);
    return 0;
}

static int open_chat(struct chat **out, struct gguf_string source, struct gguf_string for_tools,
                     const char *builtin, const struct vocab *v, struct err *e)
{
    struct chat *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "no memory for the chat template");
    c->vocab = v;
    c->builtin = builtin;
    int rc = open_template(&c->template, source, v, e);
    if (!rc && for_tools.text)
        rc = open_template(&c->for_tools, for_tools, v, e);
    if (rc) {
        chat_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

// The model's own; a family's stands in for one that is not understood.
static int open_own(struct chat **out, const struct gguf *g, struct gguf_string source,
                    const struct vocab *v, struct err *e)
{
    struct gguf_string for_tools = {0};
    struct err why = {0};
    const char *name = chat_builtin_for(v);
    gguf_get_string(g, "tokenizer.chat_template.tool_use", &for_tools);
    int rc = open_chat(out, source, for_tools, NULL, v, &why);
    if (rc == ERR_FAILED && name) {
        log_warn("the model's chat template is not used, but the built-in %s: %s", name, why.text);
        return open_chat(out, chat_builtin(name), (struct gguf_string){0}, name, v, e);
    }
    return rc ? err_set(e, rc, "%s", why.text) : 0;
}

int chat_open(struct chat **out, const struct gguf *g, const struct vocab *v, struct err *e)
{
    struct gguf_string source = {0};
    *out = NULL;
    if (g && gguf_get_string(g, "tokenizer.chat_template", &source))
        return open_own(out, g, source, v, e);
    const char *name = chat_builtin_for(v);
    return name ? open_chat(out, chat_builtin(name), source, name, v, e) : 0;
}

int chat_open_source(struct chat **out, struct gguf_string source, const struct vocab *v,
                     struct err *e)
{
    const char *name = NULL;
    for (size_t i = 0; (name = chat_builtin_name(i)); i++)
        if (chat_builtin(name).text == source.text)
            break;
    return open_chat(out, source, (struct gguf_string){0}, name, v, e);
}

void chat_free(struct chat *c)
{
    if (!c)
        return;
    jinja_free(c->template.jinja);
    jinja_free(c->for_tools.jinja);
    free(c);
}

// Described by the template, or in a system message.
static bool takes_tools(const struct chat_template *t)
{
    return t->takes.tools || t->takes.system_tools || t->takes.calls;
}

struct chat_abilities chat_abilities(const struct chat *c)
{
    const struct chat_template *t = chat_template_for(c, true);
    return (struct chat_abilities){.builtin = c->builtin,
                                   .system = c->template.takes.system,
                                   .tools = takes_tools(t),
                                   .reasoning = t->thinking || t->format->payload == CALLS_HARMONY,
                                   .format = t->format->name};
}

// ---- encoding ----------------------------------------------------------------------------------

static json_t *token_text(const struct vocab *v, int32_t id)
{
    if (id < 0)
        return json_string("");
    struct gguf_string text = vocab_token_text(v, id);
    json_t *j = json_stringn(text.text, text.length);
    return j ? j : json_string(""); // no UTF-8
}

int chat_render(const struct vocab *v, const struct jinja *jinja, const struct chat_request *r,
                struct jinja_text *out, struct err *e)
{
    static const char *const trusted[] = {"bos_token", "eos_token", NULL};
    struct jinja_input in = {.trusted = trusted};
    time_t now = time(NULL);
    localtime_r(&now, &in.now);
    in.variables = json_pack("{sO so? sn so so sb}", "messages", r->messages, "tools",
                             json_array_size(r->tools) ? json_incref(r->tools) : json_null(),
                             "documents", "bos_token", token_text(v, vocab_bos(v)), "eos_token",
                             token_text(v, vocab_eos(v)), "add_generation_prompt", (int)r->answer);
    if (!in.variables || (r->variables && json_object_update_missing(in.variables, r->variables))) {
        json_decref(in.variables);
        return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
    }
    int rc = jinja_render(jinja, &in, out, e);
    json_decref(in.variables);
    return rc;
}

// The template's own last words open a section of reasoning.
static bool opens_reasoning(const struct chat_template *t, const struct jinja_text *text)
{
    size_t n = text->n, length = t->thinking ? strlen(t->thinking->open) : 0;
    while (n && strchr(" \n", text->text[n - 1]))
        n--;
    return length && n >= length && !memcmp(text->text + n - length, t->thinking->open, length) &&
           !memchr(text->marks + n - length, 1, length);
}

int chat_encode(const struct chat *c, const struct chat_request *r, struct ids *out,
                struct chat_notes *notes, struct err *e)
{
    bool tools = json_array_size(r->tools) > 0;
    const struct chat_template *t = chat_template_for(c, tools);
    struct chat_request put = *r;
    struct chat_notes own = {0};
    struct jinja_text text;
    if (tools && !takes_tools(t))
        return err_set(e, ERR_FAILED,
                       "this model's chat template has no place for tools; ask without them, or "
                       "use a template that has");
    int rc = chat_messages(&put.messages, t, r, &own, e);
    if (rc)
        return rc;
    rc = chat_render(c->vocab, t->jinja, &put, &text, e);
    json_decref(put.messages);
    if (rc)
        return rc;
    own.in_reasoning = r->answer && opens_reasoning(t, &text);
    rc = vocab_encode_marked(c->vocab, text.text, text.marks, text.n, out, e);
    jinja_text_free(&text);
    if (!rc && notes)
        *notes = own;
    return rc;
}
