// What a template takes, found out by rendering small conversations with words in them that no
// template has, and looking where they come out.
#include "text/chat_state.h"

#include <stdlib.h>
#include <string.h>

static const char key[] = "probekey", value[] = "probevalue", said[] = "probesaid";
static const char id[] = "probe1234", name[] = "probetool", result[] = "proberesult";

struct probe {
    const struct vocab *v;
    const struct jinja *jinja;
};

// The text of the conversation, "" when the template refuses it. Takes `messages`.
static struct jinja_text render(const struct probe *p, json_t *messages, json_t *tools)
{
    struct chat_request r = {.messages = messages, .tools = tools, .answer = true};
    struct jinja_text text;
    struct err e = {0};
    if (!messages || chat_render(p->v, p->jinja, &r, &text, &e))
        text = (struct jinja_text){0};
    json_decref(messages);
    return text;
}

static size_t count(const struct jinja_text *text, const char *what)
{
    size_t n = 0, length = strlen(what);
    if (!text->n)
        return 0;
    const char *at = text->text, *end = at + text->n;
    while ((at = memmem(at, (size_t)(end - at), what, length))) {
        at += length;
        n++;
    }
    return n;
}

// Does the conversation show `what`?
static bool shows(const struct probe *p, json_t *messages, json_t *tools, const char *what)
{
    struct jinja_text text = render(p, messages, tools);
    bool shown = count(&text, what) > 0;
    jinja_text_free(&text);
    return shown;
}

static json_t *one(const char *role, const char *content)
{
    return json_pack("{ss ss}", "role", role, "content", content);
}

static json_t *tools_of_probe(void)
{
    return json_pack("[{ss s{ss ss s{ss s{s{ss ss}} s[s]}}}]", "type", "function", "function",
                     "name", name, "description", said, "parameters", "type", "object",
                     "properties", key, "type", "string", "description", said, "required", key);
}

static json_t *called(bool text, bool null, bool with_result)
{
    json_t *arguments =
        text ? json_sprintf("{\"%s\": \"%s\"}", key, value) : json_pack("{ss}", key, value);
    json_t *calls = json_pack("[{ss ss s{ss so}}]", "id", id, "type", "function", "function",
                              "name", name, "arguments", arguments);
    json_t *content = null ? json_null() : json_string("");
    json_t *messages = json_pack("[o {ss so so}]", one("user", said), "role", "assistant",
                                 "content", content, "tool_calls", calls);
    if (with_result)
        json_array_append_new(messages, json_pack("{ss ss ss ss}", "role", "tool", "tool_call_id",
                                                  id, "name", name, "content", result));
    return messages;
}

// How a way of putting calls comes out.
struct outcome {
    bool shown; // with their arguments as JSON: not as Python prints them, nor as text within JSON
    size_t nones; // how often the word None is there
};

static struct outcome show_calls(const struct probe *p, json_t *messages, json_t *tools)
{
    struct jinja_text t = render(p, messages, tools);
    struct outcome out = {
        .shown = count(&t, key) > count(&t, "'probekey'") + count(&t, "\\\"probekey") &&
                 count(&t, value) && !count(&t, "'probevalue'") && !count(&t, "probevalue\\\""),
        .nones = count(&t, "None"),
    };
    jinja_text_free(&t);
    return out;
}

// Arguments as an object or as text, with a result behind the call or not: the first that is shown.
static void probe_calls(struct chat_takes *takes, const struct probe *p, json_t *tools)
{
    for (int way = 0; way < 4 && !takes->calls; way++) {
        bool text = way / 2, with_result = way % 2 == 0;
        struct outcome empty = show_calls(p, called(text, false, with_result), tools);
        struct outcome null = show_calls(p, called(text, true, with_result), tools);
        takes->calls = empty.shown || null.shown;
        takes->text_calls = text && takes->calls;
        takes->empty = !empty.shown                              ? EMPTY_NULL
                       : !null.shown || null.nones > empty.nones ? EMPTY_TEXT
                                                                 : EMPTY_EITHER;
    }
}

void chat_probe(struct chat_template *t, struct gguf_string source, const struct vocab *v)
{
    struct probe p = {.v = v, .jinja = t->jinja};
    struct chat_takes *takes = &t->takes;
    json_t *tools = tools_of_probe();
    json_t *parts =
        json_pack("[{ss s[{ss ss}]}]", "role", "user", "content", "type", "text", "text", said);
    bool plain = shows(&p, json_pack("[o]", one("user", said)), NULL, said);
    takes->parts = shows(&p, parts, NULL, said) && !plain;
    takes->system =
        !plain || // refused anyway, whatever it is asked
        shows(&p, json_pack("[oo]", one("system", value), one("user", said)), NULL, value);
    takes->developer = chat_mentions(source, "developer");
    takes->tools =
        shows(&p, json_pack("[o]", one("user", said)), tools, name) ||
        shows(&p, json_pack("[oo]", one("system", value), one("user", said)), tools, name);
    takes->system_tools =
        !takes->tools && shows(&p,
                               json_pack("[{ss ss ss} o]", "role", "system", "content", said,
                                         "tools", name, one("user", said)),
                               NULL, name);
    takes->short_ids = chat_mentions(source, "length != 9");
    takes->thinking = t->format->payload == CALLS_HARMONY;
    takes->joint = t->format->payload == CALLS_HARMONY;
    takes->reasoning = chat_mentions(source, "message.reasoning ") ||
                       chat_mentions(source, "['reasoning']") ||
                       chat_mentions(source, "\"reasoning\"");
    probe_calls(takes, &p, tools);
    json_decref(tools);
}
