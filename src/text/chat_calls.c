// What was captured of an answer as calls: names and arguments. Arguments stay as the model wrote
// them, byte for byte, where they are JSON: numbers are not read and written again.
#include "text/chat_reader_state.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct slice {
    const char *text;
    size_t n;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static size_t space_end(struct slice s, size_t at)
{
    while (at < s.n && is_space(s.text[at]))
        at++;
    return at;
}

static json_t *parse(struct slice s)
{
    // Any value; numbers of any size.
    return json_loadb(s.text, s.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                      NULL);
}

// ---- looking into well-formed JSON -------------------------------------------------------------

static size_t string_end(struct slice s, size_t at)
{
    for (at++; at < s.n && s.text[at] != '"'; at++)
        at += s.text[at] == '\\';
    return at + 1;
}

static size_t value_end(struct slice s, size_t at)
{
    int depth = 0;
    while (at < s.n) {
        char c = s.text[at];
        if (c == '"') {
            at = string_end(s, at);
            if (!depth)
                return at;
            continue;
        }
        bool closes = c == '}' || c == ']';
        if (!depth && (closes || c == ',' || is_space(c)))
            return at;
        depth += (c == '{' || c == '[') - closes;
        at++;
        if (closes && !depth)
            return at;
    }
    return at;
}

// The next element of an array or member of an object; *at begins at 1, behind the bracket.
static bool next_item(struct slice s, size_t *at, struct slice *key, struct slice *value)
{
    *at = space_end(s, *at);
    if (*at < s.n && s.text[*at] == ',')
        *at = space_end(s, *at + 1);
    if (*at >= s.n || s.text[*at] == ']' || s.text[*at] == '}')
        return false;
    if (key) {
        size_t end = string_end(s, *at);
        *key = (struct slice){s.text + *at + 1, end - *at - 2};
        *at = space_end(s, space_end(s, end) + 1); // behind the colon
    }
    size_t end = value_end(s, *at);
    *value = (struct slice){s.text + *at, end - *at};
    *at = end;
    return true;
}

static bool find_member(struct slice s, const char *name, struct slice *out)
{
    struct slice key, value;
    size_t at = 1, n = strlen(name);
    bool found = false;
    while (next_item(s, &at, &key, &value))
        if (key.n == n && !memcmp(key.text, name, n)) {
            *out = value; // the last counts
            found = true;
        }
    return found;
}

// ---- calls -------------------------------------------------------------------------------------

bool chat_calls_add(json_t *calls, const char *name, size_t n_name, const char *arguments, size_t n,
                    const char *id)
{
    struct slice s = {n ? arguments : "{}", n ? n : 2};
    json_t *value = parse(s), *n_json = json_stringn(name, n_name);
    bool ok = json_is_object(value) && n_json && n_name && n_name <= CHAT_MAX_NAME &&
              !memchr(name, 0, n_name);
    json_decref(value);
    if (!ok) {
        json_decref(n_json);
        return false;
    }
    json_t *call = json_pack("{so ss% ss*}", "name", n_json, "arguments", s.text, s.n, "id", id);
    return call && !json_array_append_new(calls, call);
}

static struct slice arguments_of(struct slice s, const json_t *object)
{
    static const char *const keys[] = {"arguments", "parameters", "args", "input"};
    struct slice out = {"{}", 2};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (find_member(s, keys[i], &out)) {
            const json_t *value = json_object_get(object, keys[i]);
            if (json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
                return (struct slice){"{}", 2};
            if (json_is_string(value)) // JSON in a string
                return (struct slice){json_string_value(value), json_string_length(value)};
            return out;
        }
    return out;
}

// {NAME: arguments}
static bool add_keyed(json_t *calls, struct slice s, json_t *object)
{
    struct slice key, value;
    size_t at = 1;
    if (json_object_size(object) != 1 || !next_item(s, &at, &key, &value))
        return false;
    const char *name = json_object_iter_key(json_object_iter(object));
    return chat_calls_add(calls, name, strlen(name), value.text, value.n, "");
}

static bool add_object(json_t *calls, struct slice s, json_t *object, bool keyed)
{
    static const char *const names[] = {"name", "tool_name", "function"};
    static const char *const ids[] = {"id", "tool_call_id"};
    json_t *inner = json_object_get(object, "function"), *name = NULL;
    const char *id = NULL;
    for (size_t i = 0; i < 2 && !id; i++)
        id = json_string_value(json_object_get(object, ids[i]));
    if (json_is_object(inner)) { // as in OpenAI's API
        find_member(s, "function", &s);
        object = inner;
    }
    for (size_t i = 0; i < 3 && !name; i++)
        if (json_is_string(json_object_get(object, names[i])))
            name = json_object_get(object, names[i]);
    if (!name)
        return keyed && add_keyed(calls, s, object);
    struct slice arguments = arguments_of(s, object);
    return chat_calls_add(calls, json_string_value(name), json_string_length(name), arguments.text,
                          arguments.n, id ? id : "");
}

static bool add_value(json_t *calls, struct slice s, json_t *value, bool keyed)
{
    if (json_is_object(value))
        return add_object(calls, s, value, keyed);
    struct slice item;
    size_t at = 1, i = 0;
    bool ok = json_array_size(value) > 0;
    for (; ok && next_item(s, &at, NULL, &item); i++) {
        json_t *object = json_array_get(value, i);
        ok = json_is_object(object) && add_object(calls, item, object, keyed);
    }
    return ok;
}

// Models write line breaks into strings as they are, where JSON wants them escaped.
static char *with_escapes(const char *text, size_t n, size_t *n_out)
{
    struct chat_text out = {0};
    bool in_string = false;
    chat_text_add(&out, "", 0);
    for (size_t i = 0, from = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        char escape[8];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        bool raw = in_string && c < 0x20;
        if (raw || i + 1 >= n)
            chat_text_add(&out, text + from, (raw ? i : n) - from);
        if (raw) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            chat_text_add(&out, c == '\n' ? "\\n" : escape, c == '\n' ? 2 : 6);
            from = i + 1;
        }
    }
    *n_out = out.n;
    return out.bytes;
}

bool chat_calls_json(json_t *calls, const char *text, size_t n, bool keyed)
{
    struct slice s = {.n = 0};
    char *copy = with_escapes(text, n, &s.n);
    s.text = copy;
    size_t before = json_array_size(calls);
    json_t *value = parse(s);
    bool ok = value && add_value(calls, s, value, keyed);
    while (!ok && json_array_size(calls) > before)
        json_array_remove(calls, before);
    json_decref(value);
    free(copy);
    return ok;
}

// ---- arguments as plain text -------------------------------------------------------------------

static const json_t *tool_named(json_t *tools, const char *name)
{
    json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        json_t *function = json_object_get(tool, "function");
        json_t *own = json_object_get(function ? function : tool, "name");
        if (json_is_string(own) && !strcmp(json_string_value(own), name))
            return function ? function : tool;
    }
    return NULL;
}

bool chat_calls_has_tool(json_t *tools, const char *name)
{
    return name && tool_named(tools, name);
}

// May the value be text? Yes where nothing says what it is.
static bool takes_text(const json_t *property)
{
    json_t *type = json_object_get(property, "type"), *item;
    size_t i;
    if (!property || json_is_string(type))
        return !property || !strcmp(json_string_value(type), "string");
    json_array_foreach(type, i, item) if (json_is_string(item) &&
                                          !strcmp(json_string_value(item), "string")) return true;
    return json_is_array(json_object_get(property, "enum")) && !type;
}

static void add_json(struct chat_text *out, json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    CHECK(text);
    chat_text_add(out, text, strlen(text));
    free(text);
    json_decref(value);
}

void chat_calls_argument(struct chat_text *arguments, json_t *tools, const struct chat_text *name,
                         const struct chat_text *key, const char *value, size_t n)
{
    static const char *const python[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    struct chat_text text = {0};
    const json_t *property = NULL, *tool = tool_named(tools, name->bytes);
    json_t *parsed = NULL, *plain = NULL;
    chat_text_add(&text, "", 0);
    for (size_t i = 0; i < n; i++)
        if (!chat_is_mark(value[i]))
            chat_text_add(&text, value + i, 1);
    property = json_object_get(json_object_get(json_object_get(tool, "parameters"), "properties"),
                               key->bytes);
    chat_text_add(arguments, arguments->n ? ", " : "{", arguments->n ? 2 : 1);
    add_json(arguments, json_stringn(key->bytes, key->n));
    chat_text_add(arguments, ": ", 2);
    if (!takes_text(property)) {
        for (size_t i = 0; i < 3; i++)
            if (!strcmp(text.bytes, python[i][0])) {
                text.n = 0;
                chat_text_add(&text, python[i][1], strlen(python[i][1]));
            }
        parsed = parse((struct slice){text.bytes, text.n});
    }
    if (parsed)
        chat_text_add(arguments, text.bytes, text.n);
    else if ((plain = json_stringn(text.bytes, text.n)))
        add_json(arguments, plain);
    json_decref(parsed);
    free(text.bytes);
}
