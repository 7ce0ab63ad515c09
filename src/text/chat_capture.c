// One call of an answer, from behind its opening marker to its end, whichever way the format writes
// it: a small machine of phases, each of which goes on where it stopped when more text comes.
// Where the text cannot be a call any more it says so, and `at` is how far it was one.
#include "text/chat_reader_state.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

void chat_capture_begin(struct chat_capture *c, size_t at, bool bare)
{
    json_decref(c->calls);
    c->calls = json_array();
    CHECK(c->calls);
    c->phase = bare ? PHASE_JSON : PHASE_BEGIN;
    c->bare = bare;
    c->at = c->from = at;
    c->depth = 0;
    c->in_string = c->escaped = c->has_key = false;
    c->name.n = c->key.n = c->arguments.n = 0;
}

void chat_capture_fini(struct chat_capture *c)
{
    json_decref(c->calls);
    free(c->name.bytes);
    free(c->key.bytes);
    free(c->arguments.bytes);
}

// The text as far as it may be looked at.
struct view {
    const char *text;
    size_t n;
    bool ending; // nothing comes behind it
};

static enum chat_step go(struct chat_capture *c, enum chat_phase phase)
{
    c->phase = phase;
    c->from = c->at;
    return STEP_NEXT;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// False: white space is all there is.
static bool skip_space(struct chat_capture *c, const struct view *v)
{
    while (c->at < v->n && is_space(v->text[c->at]))
        c->at++;
    return c->at < v->n;
}

// STEP_NEXT: `literal` was here; STEP_FAIL: it is not.
static enum chat_step literal(struct chat_capture *c, const struct view *v, const char *literal,
                              size_t n)
{
    size_t left = v->n - c->at;
    if (memcmp(v->text + c->at, literal, n < left ? n : left))
        return STEP_FAIL;
    if (n > left)
        return v->ending ? STEP_FAIL : STEP_MORE;
    c->at += n;
    return STEP_NEXT;
}

static enum chat_step inner(struct chat_reader *r, const struct view *v, enum chat_inner which)
{
    return literal(&r->capture, v, r->inner[which].bytes, r->inner[which].n);
}

static enum chat_step word(struct chat_capture *c, const struct view *v, const char *text)
{
    return literal(c, v, text, strlen(text));
}

// Up to `end`, which is passed; *n: the bytes from `from` to it. At most `max` of them.
static enum chat_step until(struct chat_capture *c, const struct view *v, const char *end,
                            size_t n_end, size_t max, size_t *n)
{
    size_t limit = max < v->n - c->from ? c->from + max : v->n;
    for (; c->at <= limit; c->at++) {
        const char *found = memchr(v->text + c->at, end[0], limit - c->at);
        c->at = found ? (size_t)(found - v->text) : limit;
        if (v->n - c->at < n_end)
            return v->ending ? STEP_FAIL : STEP_MORE;
        if (!memcmp(v->text + c->at, end, n_end)) {
            *n = c->at - c->from;
            c->at += n_end;
            return STEP_NEXT;
        }
        if (c->at == limit)
            break;
    }
    return STEP_FAIL;
}

static enum chat_step until_inner(struct chat_reader *r, const struct view *v,
                                  enum chat_inner which, size_t max, size_t *n)
{
    return until(&r->capture, v, r->inner[which].bytes, r->inner[which].n, max, n);
}

// A name, without the space around it.
static void set(struct chat_text *t, const char *text, size_t n)
{
    while (n && is_space(*text))
        text++, n--;
    while (n && is_space(text[n - 1]))
        n--;
    t->n = 0;
    for (size_t i = 0; i < n; i++)
        if (!chat_is_mark(text[i]))
            chat_text_add(t, text + i, 1);
}

// ---- JSON --------------------------------------------------------------------------------------

// The first key of an object that is a call, when nothing but the object says so.
static bool is_call_key(const char *text, size_t n)
{
    static const char *const keys[] = {"name", "type", "function", "parameters", "arguments"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (n == strlen(keys[i]) && !memcmp(text, keys[i], n))
            return true;
    return false;
}

static enum chat_step in_string(struct chat_capture *c, const struct view *v)
{
    char ch = v->text[c->at];
    if ((unsigned char)ch == MARK_FIRST)
        return STEP_FAIL;
    if (c->escaped) {
        c->escaped = false;
    } else if (ch == '\\') {
        c->escaped = true;
    } else if (ch == '"') {
        c->in_string = false;
        if (c->bare && !c->has_key && !is_call_key(v->text + c->string, c->at - c->string))
            return STEP_FAIL;
        c->has_key = true;
    }
    return STEP_NEXT;
}

static enum chat_step structure(struct chat_capture *c, char ch)
{
    if (ch == '{' || ch == '[') {
        if (c->depth == CHAT_MAX_JSON_DEPTH)
            return STEP_FAIL;
        c->open[c->depth++] = ch;
        return STEP_NEXT;
    }
    if (ch == '}' || ch == ']') {
        if (!c->depth || c->open[c->depth - 1] != (ch == '}' ? '{' : '['))
            return STEP_FAIL;
        return --c->depth ? STEP_NEXT : STEP_DONE;
    }
    bool scalar = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
    if (!c->depth || (c->bare && !c->has_key && !is_space(ch)))
        return STEP_FAIL;
    return scalar || is_space(ch) || memchr(":,+-.", ch, 5) ? STEP_NEXT : STEP_FAIL;
}

// One object or array; STEP_NEXT behind it. That it is well-formed is seen afterwards.
static enum chat_step json_value(struct chat_capture *c, const struct view *v)
{
    for (; c->at < v->n; c->at++) {
        char ch = v->text[c->at];
        enum chat_step step;
        if (c->in_string) {
            step = in_string(c, v);
        } else if (ch == '"' && c->depth) {
            c->in_string = true;
            c->string = c->at + 1;
            step = STEP_NEXT;
        } else {
            step = structure(c, ch);
        }
        if (step == STEP_FAIL)
            return step;
        if (step == STEP_DONE) {
            c->at++;
            return STEP_NEXT;
        }
    }
    return v->ending ? STEP_FAIL : STEP_MORE;
}

static bool all_known(const struct chat_reader *r)
{
    json_t *call;
    size_t i;
    json_array_foreach(r->capture.calls, i, call)
    {
        const char *name = json_string_value(json_object_get(call, "name"));
        if (!chat_calls_has_tool(r->o.tools, name))
            return false;
    }
    return true;
}

// The name in front of a separator: the tool's, with what belongs to an id around it.
static bool add_named(struct chat_capture *c, const char *json, size_t n)
{
    static const char functions[] = "functions.";
    char *name = c->name.bytes, id[CHAT_ID_BYTES] = "";
    size_t n_name = c->name.n, prefix = sizeof functions - 1;
    char *call_id = memmem(name, n_name, "[CALL_ID]", 9);
    if (call_id) { // Mistral: NAME[CALL_ID]ID
        size_t n_id = (size_t)(name + n_name - call_id - 9);
        if (n_id < sizeof id)
            memcpy(id, call_id + 9, n_id);
        n_name = (size_t)(call_id - name);
    }
    if (n_name > prefix && !memcmp(name, functions, prefix)) { // Kimi: functions.NAME:NUMBER
        if (n_name < sizeof id)
            memcpy(id, name, n_name);
        char *colon = memchr(name, ':', n_name);
        n_name = (colon ? (size_t)(colon - name) : n_name) - prefix;
        name += prefix;
    }
    return chat_calls_add(c->calls, name, n_name, json, n, id);
}

static enum chat_step json_phase(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    enum chat_step step = json_value(c, v);
    if (step != STEP_NEXT)
        return step;
    const char *json = v->text + c->from;
    size_t n = c->at - c->from;
    if (c->name.n) {
        if (!add_named(c, json, n))
            return STEP_FAIL;
        return go(c, r->format->payload == CALLS_NAMED ? PHASE_FENCE_END : PHASE_TAG_JSON_END);
    }
    if (!chat_calls_json(c->calls, json, n, r->format->payload == CALLS_KEYED) ||
        (c->bare && !all_known(r)))
        return STEP_FAIL;
    return go(c, PHASE_AFTER_JSON);
}

// Several objects may stand one behind the other.
static enum chat_step after_json(struct chat_capture *c, const struct view *v)
{
    size_t end = c->at;
    if (!skip_space(c, v)) {
        c->at = end;
        return v->ending ? STEP_DONE : STEP_MORE;
    }
    bool separated = v->text[c->at] == ';' || v->text[c->at] == ',';
    c->at += separated;
    if (!skip_space(c, v)) {
        c->at = end;
        return v->ending ? STEP_DONE : STEP_MORE;
    }
    char ch = v->text[c->at];
    if (ch == '{' || (ch == '[' && !c->bare && !separated))
        return go(c, PHASE_JSON);
    c->at = end;
    return c->bare ? STEP_DONE : go(c, PHASE_CLOSE);
}

// ---- tags --------------------------------------------------------------------------------------

static enum chat_step tag_name(struct chat_capture *c, const struct view *v)
{
    size_t n;
    enum chat_step step = until(c, v, ">", 1, CHAT_MAX_NAME, &n);
    if (step != STEP_NEXT)
        return step;
    set(&c->name, v->text + c->from, n);
    c->arguments.n = 0;
    return c->name.n ? go(c, PHASE_TAG_BODY) : STEP_FAIL;
}

// The call whose name and arguments came one by one.
static bool add_parts(struct chat_capture *c)
{
    if (c->arguments.n)
        chat_text_add(&c->arguments, "}", 1);
    return chat_calls_add(c->calls, c->name.bytes, c->name.n, c->arguments.bytes, c->arguments.n,
                          "");
}

// Behind the name, or a parameter: a parameter, the end, or all arguments as JSON.
static enum chat_step tag_body(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    if (v->text[c->at] == '{' && !c->arguments.n)
        return go(c, PHASE_JSON);
    enum chat_step step = inner(r, v, INNER_KEY);
    if (step == STEP_NEXT)
        return go(c, PHASE_TAG_KEY);
    enum chat_step end = inner(r, v, INNER_END);
    if (end == STEP_NEXT)
        return add_parts(c) ? go(c, PHASE_CLOSE) : STEP_FAIL;
    return step == STEP_MORE || end == STEP_MORE ? STEP_MORE : STEP_FAIL;
}

static enum chat_step tag_key(struct chat_capture *c, const struct view *v)
{
    size_t n;
    enum chat_step step = until(c, v, ">", 1, CHAT_MAX_NAME, &n);
    if (step != STEP_NEXT)
        return step;
    set(&c->key, v->text + c->from, n);
    return c->key.n ? go(c, PHASE_TAG_VALUE) : STEP_FAIL;
}

// One newline on each side belongs to the markup.
static void add_value(struct chat_reader *r, const char *value, size_t n)
{
    struct chat_capture *c = &r->capture;
    if (n && *value == '\n')
        value++, n--;
    n -= n && value[n - 1] == '\n';
    chat_calls_argument(&c->arguments, r->o.tools, &c->name, &c->key, value, n);
}

// A value up to its end; then `body` goes on.
static enum chat_step take_value(struct chat_reader *r, const struct view *v, enum chat_phase body)
{
    struct chat_capture *c = &r->capture;
    size_t n;
    enum chat_step step = until_inner(r, v, INNER_VALUE_END, CHAT_MAX_CALL_BYTES, &n);
    if (step != STEP_NEXT)
        return step;
    add_value(r, v->text + c->from, n);
    return go(c, body);
}

static enum chat_step tag_json_end(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    size_t end = c->at;
    enum chat_step step = skip_space(c, v) ? inner(r, v, INNER_END)
                          : v->ending      ? STEP_FAIL
                                           : STEP_MORE;
    if (step == STEP_MORE)
        return step;
    if (step == STEP_FAIL)
        c->at = end;
    return go(c, PHASE_CLOSE);
}

// ---- pairs -------------------------------------------------------------------------------------

static enum chat_step pair_name(struct chat_capture *c, const struct view *v)
{
    for (; c->at < v->n; c->at++) {
        char ch = v->text[c->at];
        if (c->at - c->from >= CHAT_MAX_NAME || ch == '{')
            return STEP_FAIL;
        if (ch == '\n' || ch == '<' || chat_is_mark(ch)) {
            set(&c->name, v->text + c->from, c->at - c->from);
            return c->name.n ? go(c, PHASE_PAIR_BODY) : STEP_FAIL;
        }
    }
    return v->ending ? STEP_FAIL : STEP_MORE;
}

static enum chat_step pair_body(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    enum chat_step step = inner(r, v, INNER_KEY);
    if (step == STEP_NEXT)
        return go(c, PHASE_PAIR_KEY);
    enum chat_step end = literal(c, v, r->close.bytes, r->close.n);
    if (end == STEP_NEXT)
        return add_parts(c) ? STEP_DONE : STEP_FAIL;
    return step == STEP_MORE || end == STEP_MORE ? STEP_MORE : STEP_FAIL;
}

static enum chat_step pair_key(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    size_t n;
    enum chat_step step = until_inner(r, v, INNER_KEY_END, CHAT_MAX_NAME, &n);
    if (step != STEP_NEXT)
        return step;
    set(&c->key, v->text + c->from, n);
    return c->key.n ? go(c, PHASE_PAIR_BETWEEN) : STEP_FAIL;
}

static enum chat_step pair_between(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    enum chat_step step = inner(r, v, INNER_VALUE);
    return step == STEP_NEXT ? go(c, PHASE_PAIR_VALUE) : step;
}

// ---- names -------------------------------------------------------------------------------------

static enum chat_step name_phase(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    size_t n;
    enum chat_step step = until(c, v, r->separator.bytes, r->separator.n, CHAT_MAX_NAME, &n);
    if (step != STEP_NEXT)
        return step;
    set(&c->name, v->text + c->from, n);
    return c->name.n ? go(c, PHASE_NAME_END) : STEP_FAIL;
}

// Behind the separator: the arguments; or, when it was the kind of the call that stood in front, a
// line with the name, and the arguments in a code fence.
static enum chat_step name_end(struct chat_capture *c, const struct view *v)
{
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    return go(c, v->text[c->at] == '{' ? PHASE_JSON : PHASE_NAME_LINE);
}

static enum chat_step name_line(struct chat_capture *c, const struct view *v)
{
    size_t n;
    enum chat_step step = until(c, v, "\n", 1, CHAT_MAX_NAME, &n);
    if (step != STEP_NEXT)
        return step;
    set(&c->name, v->text + c->from, n);
    return c->name.n ? go(c, PHASE_NAME_FENCE) : STEP_FAIL;
}

static enum chat_step name_fence(struct chat_capture *c, const struct view *v)
{
    enum chat_step step = STEP_NEXT;
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    if (v->text[c->at] == '`')
        step = word(c, v, "```json");
    if (step != STEP_NEXT)
        return step;
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    return v->text[c->at] == '{' ? go(c, PHASE_JSON) : STEP_FAIL;
}

static enum chat_step fence_end(struct chat_capture *c, const struct view *v)
{
    size_t end = c->at;
    enum chat_step step = skip_space(c, v) ? word(c, v, "```") : v->ending ? STEP_FAIL : STEP_MORE;
    if (step == STEP_MORE)
        return step;
    if (step == STEP_FAIL)
        c->at = end;
    return go(c, PHASE_CLOSE);
}

// ---- the machine -------------------------------------------------------------------------------

static enum chat_step begin(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    const char *tag = r->format->tag;
    size_t n_tag = tag ? strlen(tag) : 0;
    if (tag && c->from >= n_tag && !memcmp(v->text + c->from - n_tag, tag, n_tag)) {
        c->at = c->from; // the tag itself was the opening marker
        return go(c, PHASE_TAG_NAME);
    }
    if (!skip_space(c, v))
        return v->ending ? STEP_FAIL : STEP_MORE;
    if (v->text[c->at] == '{' || v->text[c->at] == '[')
        return go(c, PHASE_JSON);
    if (tag) {
        enum chat_step step = word(c, v, tag);
        return step == STEP_NEXT ? go(c, PHASE_TAG_NAME) : step;
    }
    if (r->format->payload == CALLS_PAIRS)
        return go(c, PHASE_PAIR_NAME);
    return r->format->payload == CALLS_NAMED ? go(c, PHASE_NAME) : STEP_FAIL;
}

// The closing marker, which may be missing; with tags, another call may stand in front of it.
static enum chat_step close_phase(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    const char *tag = r->format->tag;
    size_t end = c->at;
    if (!r->close.n)
        return STEP_DONE;
    if (!skip_space(c, v)) {
        c->at = end;
        return v->ending ? STEP_DONE : STEP_MORE;
    }
    enum chat_step step = literal(c, v, r->close.bytes, r->close.n);
    enum chat_step next = tag && step != STEP_NEXT ? word(c, v, tag) : STEP_FAIL;
    if (next == STEP_NEXT)
        return go(c, PHASE_TAG_NAME);
    if (step != STEP_NEXT)
        c->at = end;
    return step == STEP_MORE || next == STEP_MORE ? STEP_MORE : STEP_DONE;
}

static enum chat_step phase(struct chat_reader *r, const struct view *v)
{
    struct chat_capture *c = &r->capture;
    switch (c->phase) {
    case PHASE_BEGIN:
        return begin(r, v);
    case PHASE_JSON:
        return json_phase(r, v);
    case PHASE_AFTER_JSON:
        return after_json(c, v);
    case PHASE_TAG_NAME:
        return tag_name(c, v);
    case PHASE_TAG_BODY:
        return tag_body(r, v);
    case PHASE_TAG_KEY:
        return tag_key(c, v);
    case PHASE_TAG_VALUE:
        return take_value(r, v, PHASE_TAG_BODY);
    case PHASE_TAG_JSON_END:
        return tag_json_end(r, v);
    case PHASE_PAIR_NAME:
        return pair_name(c, v);
    case PHASE_PAIR_BODY:
        return pair_body(r, v);
    case PHASE_PAIR_KEY:
        return pair_key(r, v);
    case PHASE_PAIR_BETWEEN:
        return pair_between(r, v);
    case PHASE_PAIR_VALUE:
        return take_value(r, v, PHASE_PAIR_BODY);
    case PHASE_NAME:
        return name_phase(r, v);
    case PHASE_NAME_END:
        return name_end(c, v);
    case PHASE_NAME_LINE:
        return name_line(c, v);
    case PHASE_NAME_FENCE:
        return name_fence(c, v);
    case PHASE_FENCE_END:
        return fence_end(c, v);
    case PHASE_CLOSE:
        return close_phase(r, v);
    }
    return STEP_FAIL;
}

enum chat_step chat_capture_run(struct chat_reader *r, bool ending)
{
    struct chat_capture *c = &r->capture;
    struct view v = {.text = r->text.bytes, .n = r->text.n, .ending = ending};
    enum chat_step step = STEP_NEXT;
    bool full = v.n >= CHAT_MAX_CALL_BYTES;
    if (full) {
        v.n = chat_reader_cut(r, CHAT_MAX_CALL_BYTES);
        v.ending = false;
    }
    while (step == STEP_NEXT)
        step = phase(r, &v);
    if (step == STEP_MORE && full) {
        c->at = v.n;
        step = STEP_FAIL;
    }
    if (step == STEP_FAIL)
        c->at = chat_reader_cut(r, c->at);
    return step;
}
