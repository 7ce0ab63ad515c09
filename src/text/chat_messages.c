// Messages as a client sends them, put the way a template takes them.
#include "text/chat_state.h"

#include "base/digest.h"
#include "text/chat_text.h"

#include <stdlib.h>
#include <string.h>

struct rewrite {
    const struct chat_takes *takes;
    const struct chat_format *format;
    const json_t *all; // the messages of the request
    struct chat_notes *notes;
    struct err *e;
};

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "no memory for the conversation");
}

// ---- what is asked of a request ----------------------------------------------------------------

static bool is_deeper(const json_t *j, int depth)
{
    json_t *item;
    const char *key;
    size_t i;
    if (!depth)
        return true;
    json_array_foreach((json_t *)j, i, item) if (is_deeper(item, depth - 1)) return true;
    json_object_foreach((json_t *)j, key, item) if (is_deeper(item, depth - 1)) return true;
    return false;
}

static int check(const struct chat_request *r, struct err *e)
{
    size_t n = json_array_size(r->messages), i;
    json_t *m;
    if (!json_is_array(r->messages) || n > CHAT_MAX_MESSAGES)
        return err_set(e, ERR_FAILED, "a conversation is a list of at most %d messages",
                       CHAT_MAX_MESSAGES);
    if (r->tools && !json_is_array(r->tools))
        return err_set(e, ERR_FAILED, "tools must be a list");
    if (r->variables && !json_is_object(r->variables))
        return err_set(e, ERR_FAILED, "variables of the chat template must be an object");
    if (is_deeper(r->messages, CHAT_MAX_DEPTH) ||
        (r->tools && is_deeper(r->tools, CHAT_MAX_DEPTH)) ||
        (r->variables && is_deeper(r->variables, CHAT_MAX_DEPTH)))
        return err_set(e, ERR_FAILED, "the conversation has values nested more than %d deep",
                       CHAT_MAX_DEPTH);
    json_array_foreach(r->messages, i, m) if (
        !json_is_string(
            json_object_get(m, "role"))) return err_set(e, ERR_FAILED,
                                                        "message %zu has no role; it must be "
                                                        "system, user, assistant or tool",
                                                        i + 1);
    return 0;
}

// ---- content -----------------------------------------------------------------------------------

static void add_string(struct chat_text *t, const json_t *string)
{
    if (string)
        chat_text_add(t, json_string_value(string), json_string_length(string));
}

static void add_text(struct chat_text *t, const char *text)
{
    chat_text_add(t, text, strlen(text));
}

// Frees the text. NULL: no memory.
static json_t *string_of(struct chat_text *t)
{
    json_t *string = json_stringn_nocheck(t->n ? t->bytes : "", t->n);
    free(t->bytes);
    *t = (struct chat_text){0};
    return string;
}

// Both texts with an empty line between them.
static json_t *joined(const json_t *first, const json_t *second)
{
    struct chat_text t = {0};
    add_string(&t, first);
    add_text(&t, "\n\n");
    add_string(&t, second);
    return string_of(&t);
}

// The text of parts, one after the other.
static int text_of_parts(json_t **out, const json_t *parts, size_t number, struct err *e)
{
    struct chat_text t = {0};
    json_t *part;
    size_t i;
    json_array_foreach((json_t *)parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        json_t *text = json_is_string(part) ? part : json_object_get(part, "text");
        if (!json_is_string(text)) {
            char quoted[40] = "none";
            if (type)
                err_quote(quoted, sizeof quoted, type, (int)strnlen(type, sizeof quoted));
            free(t.bytes);
            return err_set(e, ERR_FAILED,
                           "message %zu has a part of type %s; only text can be read here", number,
                           quoted);
        }
        add_string(&t, text);
    }
    *out = string_of(&t);
    return *out ? 0 : no_memory(e);
}

static json_t *parts_of_text(json_t *text)
{
    return json_pack("[{ss sO}]", "type", "text", "text", text);
}

static int set_content(const struct rewrite *w, json_t *m, size_t number)
{
    json_t *content = json_object_get(m, "content"), *text = NULL;
    bool calls = json_array_size(json_object_get(m, "tool_calls")) > 0;
    int rc = 0;
    if (json_is_array(content))
        rc = text_of_parts(&text, content, number, w->e);
    else if (json_is_string(content))
        text = json_incref(content);
    else if (content && !json_is_null(content))
        rc = err_set(w->e, ERR_FAILED, "the content of message %zu is neither text nor parts",
                     number);
    else
        text = calls && w->takes->empty != EMPTY_TEXT ? json_null() : json_string("");
    if (text && calls && w->takes->empty == EMPTY_NULL && json_is_string(text) &&
        !json_string_length(text)) {
        json_decref(text);
        text = json_null();
    }
    if (text && w->takes->parts && json_is_string(text)) {
        json_t *parts = parts_of_text(text);
        json_decref(text);
        text = parts;
    }
    if (rc) {
        json_decref(text);
        return rc;
    }
    return !text || json_object_set_new(m, "content", text) ? no_memory(w->e) : 0;
}

// ---- reasoning ---------------------------------------------------------------------------------

// Under the names that the template knows; harmony has one place for what was thought and said
// before a call.
static int set_reasoning(const struct rewrite *w, json_t *m)
{
    json_t *thought = json_object_get(m, "reasoning_content");
    json_t *content = json_object_get(m, "content");
    if (!json_is_string(thought))
        thought = json_object_get(m, "reasoning");
    if (!json_is_string(thought) || !json_string_length(thought)) {
        json_object_del(m, "reasoning_content");
        return 0;
    }
    json_incref(thought);
    if (w->takes->joint && json_object_get(m, "tool_calls") && json_string_length(content)) {
        json_t *both = joined(thought, content);
        json_decref(thought);
        thought = both;
        json_object_set_new(m, "content", json_string(""));
    }
    int rc = !thought || json_object_set(m, "reasoning_content", thought) ||
             (w->takes->thinking && json_object_set(m, "thinking", thought)) ||
             (w->takes->reasoning && json_object_set(m, "reasoning", thought));
    json_decref(thought);
    return rc ? no_memory(w->e) : 0;
}

// ---- calls and their results -------------------------------------------------------------------

// Nine letters and digits for any id, the same for the same.
static json_t *short_id(json_t *id)
{
    const char *text = json_string_value(id);
    size_t n = json_string_length(id);
    bool fits = n == 9;
    for (size_t i = 0; fits && i < n; i++)
        fits =
            (text[i] >= '0' && text[i] <= '9') || ((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z');
    if (fits)
        return json_incref(id);
    struct digest d = digest_of(text, n);
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(&d, hex);
    return json_stringn(hex, 9);
}

static int set_id(const struct rewrite *w, json_t *object, const char *key)
{
    json_t *id = json_object_get(object, key);
    if (!w->takes->short_ids || !json_is_string(id))
        return 0;
    return json_object_set_new(object, key, short_id(id)) ? no_memory(w->e) : 0;
}

static int set_arguments(const struct rewrite *w, json_t *function)
{
    json_t *arguments = json_object_get(function, "arguments"), *other = NULL;
    if (w->takes->text_calls && json_is_object(arguments)) {
        char *text = json_dumps(arguments, JSON_REAL_PRECISION(15));
        other = text ? json_string(text) : NULL;
        free(text);
        if (!other)
            return no_memory(w->e);
    } else if (!w->takes->text_calls && json_is_string(arguments)) {
        other = json_loadb(json_string_value(arguments), json_string_length(arguments),
                           JSON_ALLOW_NUL, NULL);
        if (other && (!json_is_object(other) || is_deeper(other, CHAT_MAX_DEPTH))) {
            json_decref(other);
            other = NULL;
        }
        if (!other && !json_string_length(arguments))
            other = json_object();
    }
    return other ? json_object_set_new(function, "arguments", other) : 0;
}

static int set_calls(const struct rewrite *w, json_t *m, size_t number)
{
    json_t *calls = json_object_get(m, "tool_calls"), *call;
    size_t i;
    if (!json_array_size(calls)) {
        json_object_del(m, "tool_calls");
        return 0;
    }
    json_array_foreach(calls, i, call)
    {
        json_t *function = json_object_get(call, "function");
        if (!json_is_string(json_object_get(function, "name")))
            return err_set(w->e, ERR_FAILED, "a call of message %zu has no function with a name",
                           number);
        if (!json_object_get(call, "type") &&
            json_object_set_new(call, "type", json_string("function")))
            return no_memory(w->e);
        int rc = set_arguments(w, function);
        if (!rc)
            rc = set_id(w, call, "id");
        if (rc)
            return rc;
    }
    return 0;
}

// The tool whose call has this id; it is not far.
static json_t *name_of_call(const json_t *messages, size_t before, const char *id)
{
    enum { FAR = 256 };
    for (int i = 0; i < FAR && id && before--; i++) {
        json_t *calls = json_object_get(json_array_get(messages, before), "tool_calls"), *call;
        size_t k;
        json_array_foreach(calls, k, call)
        {
            const char *own = json_string_value(json_object_get(call, "id"));
            if (own && !strcmp(own, id))
                return json_object_get(json_object_get(call, "function"), "name");
        }
    }
    return NULL;
}

// A result names its tool, as some templates want it.
static int set_result(const struct rewrite *w, json_t *m, size_t at)
{
    const char *id = json_string_value(json_object_get(m, "tool_call_id"));
    json_t *name = name_of_call(w->all, at, id);
    if (!json_object_get(m, "name") && name && json_object_set(m, "name", name))
        return no_memory(w->e);
    return set_id(w, m, "tool_call_id");
}

// ---- system messages ---------------------------------------------------------------------------

static bool is_role(const json_t *m, const char *role)
{
    const char *own = json_string_value(json_object_get(m, "role"));
    return own && !strcmp(own, role);
}

static json_t *first_user(json_t *messages)
{
    json_t *m;
    size_t i;
    json_array_foreach(messages, i, m) if (is_role(m, "user")) return m;
    return NULL;
}

// A template without system messages: the first user's message begins with them.
static int move_system(const struct rewrite *w, json_t **messages)
{
    struct chat_text t = {0};
    json_t *rest = json_array(), *m;
    size_t i, n = json_array_size(*messages);
    int rc = !rest;
    json_array_foreach(*messages, i, m)
    {
        if (!is_role(m, "system")) {
            rc |= json_array_append(rest, m);
            continue;
        }
        if (t.bytes)
            add_text(&t, "\n\n");
        chat_text_add(&t, "", 0);
        add_string(&t, json_object_get(m, "content"));
    }
    if (!rc && json_array_size(rest) < n) {
        json_t *user = first_user(rest), *system = string_of(&t);
        if (!system)
            rc = -1;
        else if (user)
            rc = json_object_set_new(user, "content",
                                     joined(system, json_object_get(user, "content")));
        else
            rc = json_array_insert_new(rest, 0,
                                       json_pack("{ss sO}", "role", "user", "content", system));
        json_decref(system);
        w->notes->moved_system = true;
    }
    free(t.bytes);
    json_decref(*messages);
    *messages = rest;
    return rc ? no_memory(w->e) : 0;
}

// ---- tools without a place ---------------------------------------------------------------------

static json_t *described(const json_t *tools)
{
    struct chat_text t = {0};
    json_t *tool;
    size_t i;
    add_text(&t, "## Tools\n\nYou have these tools and may call them.");
    json_array_foreach((json_t *)tools, i, tool)
    {
        json_t *function = json_object_get(tool, "function");
        function = function ? function : tool;
        char *parameters = json_dumps(json_object_get(function, "parameters"), JSON_ENCODE_ANY);
        add_text(&t, "\n\n### ");
        add_string(&t, json_object_get(function, "name"));
        add_text(&t, "\nDescription: ");
        add_string(&t, json_object_get(function, "description"));
        add_text(&t, "\n\nParameters: ");
        add_text(&t, parameters ? parameters : "{}");
        free(parameters);
    }
    return string_of(&t);
}

// The functions alone, as JSON.
static json_t *listed(const json_t *tools)
{
    json_t *list = json_array(), *tool;
    size_t i;
    json_array_foreach((json_t *)tools, i, tool)
    {
        json_t *function = json_object_get(tool, "function");
        json_array_append(list, function ? function : tool);
    }
    char *text = json_dumps(list, JSON_REAL_PRECISION(15));
    json_t *string = text ? json_string(text) : NULL;
    json_decref(list);
    free(text);
    return string;
}

static json_t *first_system(json_t *messages)
{
    json_t *first = json_array_get(messages, 0);
    if (is_role(first, "system"))
        return first;
    first = json_pack("{ss ss}", "role", "system", "content", "");
    return json_array_insert_new(messages, 0, first) ? NULL : first;
}

// A template that has no descriptions of its own: the system message has them, beside its content
// where the template asks for that, or at its end.
static int describe_tools(const struct rewrite *w, json_t *messages, const json_t *tools)
{
    json_t *system = first_system(messages), *content = json_object_get(system, "content");
    bool beside = w->takes->system_tools;
    json_t *text = beside ? listed(tools) : described(tools);
    if (text && !beside && json_string_length(content)) {
        json_t *all = joined(content, text);
        json_decref(text);
        text = all;
    }
    w->notes->described_tools = !beside;
    return !text || json_object_set_new(system, beside ? "tools" : "content", text)
               ? no_memory(w->e)
               : 0;
}

// ---- all of it ---------------------------------------------------------------------------------

// A template without a place for calls: they are content, as the model would have written them.
static int say_calls(const struct rewrite *w, json_t *m)
{
    json_t *calls = json_object_get(m, "tool_calls"), *call, *list = json_array();
    size_t i;
    if (!w->format->open[0] || w->format->payload != CALLS_JSON) {
        json_decref(list);
        return err_set(w->e, ERR_FAILED,
                       "this model's chat template has no place for calls of tools");
    }
    json_array_foreach(calls, i, call) json_array_append(list, json_object_get(call, "function"));
    struct chat_text t = {0};
    char *text = json_dumps(list, JSON_REAL_PRECISION(15));
    add_string(&t, json_object_get(m, "content"));
    add_text(&t, w->format->open[0]);
    add_text(&t, text ? text : "");
    if (w->format->close && !w->format->open[1])
        add_text(&t, w->format->close);
    int rc = !text || json_object_set_new(m, "content", string_of(&t));
    free(t.bytes);
    free(text);
    json_decref(list);
    return rc ? no_memory(w->e) : 0;
}

static int rewrite(const struct rewrite *w, json_t *m, size_t at)
{
    bool assistant = is_role(m, "assistant");
    int rc = 0;
    if (is_role(m, "developer") && !w->takes->developer &&
        json_object_set_new(m, "role", json_string("system")))
        return no_memory(w->e);
    if (assistant)
        rc = set_calls(w, m, at + 1);
    else if (is_role(m, "tool"))
        rc = set_result(w, m, at);
    if (!rc)
        rc = set_content(w, m, at + 1);
    if (!rc && assistant)
        rc = set_reasoning(w, m);
    if (!rc && assistant && !w->takes->calls && json_object_get(m, "tool_calls"))
        rc = say_calls(w, m);
    return rc;
}

int chat_messages(json_t **out, const struct chat_template *t, const struct chat_request *r,
                  struct chat_notes *notes, struct err *e)
{
    struct rewrite w = {
        .takes = &t->takes, .format = t->format, .all = r->messages, .notes = notes, .e = e};
    json_t *m;
    size_t i;
    int rc = check(r, e);
    *out = rc ? NULL : json_deep_copy(r->messages);
    if (!rc && !*out)
        rc = no_memory(e);
    json_array_foreach(*out, i, m) if (!rc) rc = rewrite(&w, m, i);
    if (!rc && !t->takes.tools && json_array_size(r->tools))
        rc = describe_tools(&w, *out, r->tools);
    if (!rc && !t->takes.system)
        rc = move_system(&w, out);
    if (rc) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}
