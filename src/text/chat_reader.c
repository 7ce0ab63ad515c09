// Reading an answer: see chat_reader.h. Every decision depends on the text alone, never on where it
// was cut, so it is made only when enough of it is there.
#include "text/chat_reader_state.h"

#include "text/chat_state.h"

#include "base/check.h"
#include "base/rng.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// ---- events ------------------------------------------------------------------------------------

static void say(struct chat_reader *r, enum chat_event_kind kind, const char *text, size_t n)
{
    while (r->skip && n && is_space(*text))
        text++, n--;
    if (!n)
        return;
    r->skip = false;
    r->said |= kind == CHAT_CONTENT;
    chat_text_add(kind == CHAT_CONTENT ? &r->content : &r->reasoning, text, n);
    if (r->o.take)
        r->o.take(r->o.arg, &(struct chat_event){.kind = kind, .text = text, .n = n});
}

void chat_reader_drop(struct chat_reader *r, size_t n)
{
    memmove(r->text.bytes, r->text.bytes + n, r->text.n - n);
    r->text.n -= n;
    r->at = r->at > n ? r->at - n : 0;
}

size_t chat_reader_cut(const struct chat_reader *r, size_t n)
{
    const char *text = r->text.bytes;
    size_t at = n;
    while (at && at < r->text.n && (text[at] & 0xc0) == 0x80)
        at--;
    for (size_t back = 1; back < CHAT_MAX_MARKER && back <= n; back++) {
        if ((unsigned char)text[n - back] == MARK_LAST)
            break;
        if ((unsigned char)text[n - back] == MARK_FIRST)
            return n - back;
    }
    return at;
}

void chat_reader_flush(struct chat_reader *r, enum chat_event_kind kind, size_t n)
{
    for (size_t from = 0, to = 0; from < n; from = to) {
        while (to < n && !chat_is_mark(r->text.bytes[to]))
            to++;
        say(r, kind, r->text.bytes + from, to - from);
        while (to < n && chat_is_mark(r->text.bytes[to]))
            to++;
    }
    chat_reader_drop(r, n);
}

// Nine letters and digits, as some templates want it.
static void make_id(const struct chat_reader *r, char out[CHAT_ID_BYTES])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    struct rng rng;
    rng_init(&rng, r->o.seed + (uint64_t)r->n_calls);
    for (int i = 0; i < 9; i++)
        out[i] = digits[rng_below(&rng, sizeof digits - 1)];
    out[9] = 0;
}

static void say_call(struct chat_reader *r, json_t *call)
{
    json_t *arguments = json_object_get(call, "arguments");
    const char *own = json_string_value(json_object_get(call, "id"));
    char id[CHAT_ID_BYTES];
    if (own && *own && strlen(own) < sizeof id)
        strcpy(id, own);
    else
        make_id(r, id);
    struct chat_event event = {.kind = CHAT_CALL,
                               .text = json_string_value(arguments),
                               .n = json_string_length(arguments),
                               .index = r->n_calls++,
                               .name = json_string_value(json_object_get(call, "name")),
                               .id = id};
    int rc = json_array_append_new(
        r->calls, json_pack("{ss ss s{sO sO}}", "id", id, "type", "function", "function", "name",
                            json_object_get(call, "name"), "arguments", arguments));
    CHECK(rc == 0);
    if (r->o.take)
        r->o.take(r->o.arg, &event);
}

void chat_reader_call(struct chat_reader *r, json_t *calls)
{
    json_t *call;
    size_t i;
    json_array_foreach(calls, i, call) say_call(r, call);
    json_decref(calls);
}

// ---- markers -----------------------------------------------------------------------------------

// Does it count where the reader is? One that is text only where it can be meant.
static bool is_active(const struct chat_reader *r, const struct chat_marker *m)
{
    bool reasoning = r->mode == READ_REASONING;
    switch (m->kind) {
    case MARKER_THINK:
        return !reasoning && (m->control || !r->said);
    case MARKER_THOUGHT:
        return reasoning;
    case MARKER_CALL:
    case MARKER_SILENT:
        return m->control || !reasoning;
    default:
        return true;
    }
}

const struct chat_marker *chat_reader_match(const struct chat_reader *r, size_t at, bool *partial)
{
    const char *text = r->text.bytes + at;
    size_t left = r->text.n - at;
    *partial = false;
    if (!r->begins[(unsigned char)*text])
        return NULL;
    for (int i = 0; i < r->n_markers; i++) {
        const struct chat_marker *m = &r->marker[i];
        size_t n = m->pattern.n < left ? m->pattern.n : left;
        if (!is_active(r, m) || memcmp(text, m->pattern.bytes, n))
            continue;
        if (n == m->pattern.n)
            return m;
        *partial = true;
    }
    return NULL;
}

// A control token where it means nothing is not shown.
static void drop_mark(struct chat_reader *r, size_t at)
{
    char *first = r->text.bytes + at, *last = memchr(first, MARK_LAST, r->text.n - at);
    CHECK(last);
    memmove(first, last + 1, (size_t)(r->text.bytes + r->text.n - last - 1));
    r->text.n -= (size_t)(last + 1 - first);
}

// `solid` bytes of text, white space, then the marker.
static void take_marker(struct chat_reader *r, const struct chat_marker *m, size_t solid, size_t at)
{
    enum chat_event_kind kind = r->mode == READ_REASONING ? CHAT_REASONING : CHAT_CONTENT;
    size_t behind = at + m->pattern.n;
    chat_reader_flush(r, kind, solid);
    behind -= solid;
    at -= solid;
    switch (m->kind) {
    case MARKER_CALL:
        r->mode = READ_CALL;
        chat_capture_begin(&r->capture, behind, false);
        return;
    case MARKER_THINK:
        r->mode = READ_REASONING;
        break;
    case MARKER_THOUGHT:
        r->mode = READ_CONTENT;
        break;
    case MARKER_END:
        r->mode = READ_HEADER;
        break;
    case MARKER_HEADER:
        r->mode = READ_HEADER;
        behind = at;
        break;
    default: // says nothing
        break;
    }
    chat_reader_drop(r, behind);
    r->at = 0;
    r->skip = true;
}

static bool may_be_bare(const struct chat_reader *r, size_t at)
{
    return r->format->bare && r->o.tools && r->mode == READ_CONTENT && !r->said &&
           r->text.bytes[at] == '{';
}

// Says what is certain to be content or reasoning; true when there is something else to look at.
bool chat_reader_scan(struct chat_reader *r, bool ending)
{
    enum chat_event_kind kind = r->mode == READ_REASONING ? CHAT_REASONING : CHAT_CONTENT;
    size_t solid = 0; // all behind it is white space
    bool partial = false;
    while (r->at < r->text.n) {
        const struct chat_marker *m = chat_reader_match(r, r->at, &partial);
        if (m) {
            take_marker(r, m, solid, r->at);
            return true;
        }
        if (partial && !ending)
            break;
        if ((unsigned char)r->text.bytes[r->at] == MARK_FIRST) {
            drop_mark(r, r->at);
            continue;
        }
        if (may_be_bare(r, r->at) && !solid) {
            r->mode = READ_CALL;
            chat_capture_begin(&r->capture, r->at, true);
            return true;
        }
        bool space = is_space(r->text.bytes[r->at++]);
        if (!space || r->at - solid > CHAT_MAX_SPACE)
            solid = r->at;
        r->said |= kind == CHAT_CONTENT && (!space || (solid == r->at && !r->skip));
    }
    if (ending && kind == CHAT_CONTENT)
        solid = r->text.n;
    chat_reader_flush(r, kind, solid);
    return false;
}

static bool run_call(struct chat_reader *r, bool ending)
{
    struct chat_capture *c = &r->capture;
    enum chat_step step = chat_capture_run(r, ending);
    if (step == STEP_MORE)
        return false;
    r->mode = READ_CONTENT;
    if (step == STEP_FAIL) {
        chat_reader_flush(r, CHAT_CONTENT, c->at);
    } else {
        chat_reader_call(r, json_incref(c->calls));
        chat_reader_drop(r, c->at);
        r->skip = true;
    }
    r->at = 0;
    return true;
}

static void run(struct chat_reader *r, bool ending)
{
    bool more = true;
    while (more)
        switch (r->mode) {
        case READ_CONTENT:
        case READ_REASONING:
            more = chat_reader_scan(r, ending);
            break;
        case READ_CALL:
            more = run_call(r, ending);
            break;
        case READ_HEADER:
            more = chat_harmony_header(r, ending);
            break;
        case READ_BODY:
            more = chat_harmony_body(r, ending);
            break;
        }
}

// ---- text in -----------------------------------------------------------------------------------

// Whole characters only; bytes that cannot be part of one are U+FFFD, each.
static void take_text(struct chat_reader *r, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->held[r->n_held++] = text[i];
        while (r->n_held) {
            int length = utf8_length(r->held, r->n_held);
            if (length == UTF8_INCOMPLETE)
                break;
            if (length == UTF8_INVALID)
                chat_text_add(&r->text, "\xef\xbf\xbd", 3);
            else
                chat_text_add(&r->text, r->held, (size_t)length);
            size_t used = length == UTF8_INVALID ? 1 : (size_t)length;
            r->n_held -= used;
            memmove(r->held, r->held + used, r->n_held);
        }
    }
}

static bool is_pattern(const struct chat_pattern *p, const char *text, size_t n)
{
    return n == p->n && !memcmp(text, p->bytes, n);
}

static bool is_known(const struct chat_reader *r, const char *text, size_t n)
{
    bool known = is_pattern(&r->close, text, n) || is_pattern(&r->separator, text, n);
    for (int i = 0; i < N_INNERS && !known; i++)
        known = is_pattern(&r->inner[i], text, n);
    for (int i = 0; i < r->n_markers && !known; i++)
        known = is_pattern(&r->marker[i].pattern, text, n);
    return known;
}

static size_t mark(char out[CHAT_MAX_MARKER], const char *text, size_t n)
{
    if (n + 2 > CHAT_MAX_MARKER)
        return 0;
    out[0] = (char)MARK_FIRST;
    memcpy(out + 1, text, n);
    out[n + 1] = (char)MARK_LAST;
    return n + 2;
}

void chat_read(struct chat_reader *r, int32_t id, const char *text, size_t n)
{
    enum { AT_ONCE = 4096 }; // what is said is taken out in front of the rest
    for (size_t at = 0; at < n; at += AT_ONCE) {
        take_text(r, text + at, n - at < AT_ONCE ? n - at : AT_ONCE);
        run(r, false);
    }
    if (!vocab_is_control(r->vocab, id))
        return;
    struct gguf_string token = vocab_token_text(r->vocab, id);
    char marked[CHAT_MAX_MARKER];
    size_t n_marked = mark(marked, token.text, token.length);
    if (n_marked && is_known(r, marked, n_marked)) {
        chat_text_add(&r->text, marked, n_marked);
        run(r, false);
    }
}

void chat_read_end(struct chat_reader *r)
{
    for (; r->n_held; r->n_held--)
        chat_text_add(&r->text, "\xef\xbf\xbd", 3);
    run(r, true);
}

// ---- a reader ----------------------------------------------------------------------------------

// False: the format has no such marker.
static bool pattern_of(struct chat_pattern *p, const struct vocab *v, const char *text)
{
    if (!text)
        return false;
    size_t n = strlen(text);
    CHECK(n < sizeof p->bytes - 2);
    int32_t id = vocab_find(v, text);
    if (id >= 0 && vocab_is_control(v, id)) {
        p->n = mark(p->bytes, text, n);
        return true;
    }
    memcpy(p->bytes, text, n);
    p->n = n;
    return false;
}

static void add_marker(struct chat_reader *r, enum chat_marker_kind kind, const char *text)
{
    if (!text)
        return;
    CHECK(r->n_markers < (int)(sizeof r->marker / sizeof *r->marker));
    struct chat_marker *m = &r->marker[r->n_markers++];
    m->kind = kind;
    m->control = pattern_of(&m->pattern, r->vocab, text);
    r->begins[(unsigned char)m->pattern.bytes[0]] = true;
}

static void add_inner(struct chat_reader *r)
{
    static const char *const tags[N_INNERS] = {[INNER_KEY] = "<parameter=",
                                               [INNER_VALUE_END] = "</parameter>",
                                               [INNER_END] = "</function>"};
    static const char *const pairs[N_INNERS] = {[INNER_KEY] = "<arg_key>",
                                                [INNER_KEY_END] = "</arg_key>",
                                                [INNER_VALUE] = "<arg_value>",
                                                [INNER_VALUE_END] = "</arg_value>"};
    pattern_of(&r->close, r->vocab, r->format->close);
    pattern_of(&r->separator, r->vocab, r->format->separator);
    for (int i = 0; i < N_INNERS; i++)
        pattern_of(&r->inner[i], r->vocab, r->format->payload == CALLS_PAIRS ? pairs[i] : tags[i]);
}

static void add_markers(struct chat_reader *r, const struct chat_thinking *t)
{
    const struct chat_format *f = r->format;
    if (f->payload == CALLS_HARMONY) {
        static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>"};
        for (int i = 0; i < 3; i++)
            add_marker(r, MARKER_END, ends[i]);
        add_marker(r, MARKER_HEADER, "<|start|>");
        add_marker(r, MARKER_HEADER, "<|channel|>");
        add_marker(r, MARKER_MESSAGE, "<|message|>");
        return;
    }
    if (t) {
        add_marker(r, MARKER_THINK, t->open);
        add_marker(r, MARKER_THOUGHT, t->close);
        for (int i = 0; i < 2; i++)
            add_marker(r, MARKER_SILENT, t->silent[i]);
    }
    if (!r->o.tools)
        return;
    for (int i = 0; i < CHAT_MAX_OPENS; i++)
        add_marker(r, MARKER_CALL, f->open[i]);
    for (int i = 0; i < CHAT_MAX_SILENT; i++)
        add_marker(r, MARKER_SILENT, f->silent[i]);
    add_inner(r);
}

int chat_reader_new(struct chat_reader **out, const struct chat *c,
                    const struct chat_reader_options *o, struct err *e)
{
    struct chat_reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r)
        r->calls = json_array();
    if (!r || !r->calls) {
        chat_reader_free(r);
        return err_set(e, ERR_NO_MEMORY, "no memory to read the answer");
    }
    bool tools = json_array_size(o->tools) > 0;
    const struct chat_template *t = chat_template_for(c, tools);
    r->vocab = c->vocab;
    r->format = t->format;
    r->o = *o;
    r->o.tools = tools ? json_incref(o->tools) : NULL;
    add_markers(r, t->thinking);
    chat_text_add(&r->text, "", 0); // there from the beginning
    r->mode = r->format->payload == CALLS_HARMONY ? READ_HEADER
              : o->in_reasoning                   ? READ_REASONING
                                                  : READ_CONTENT;
    r->skip = o->in_reasoning;
    *out = r;
    return 0;
}

void chat_reader_free(struct chat_reader *r)
{
    if (!r)
        return;
    chat_capture_fini(&r->capture);
    json_decref(r->o.tools);
    json_decref(r->calls);
    free(r->text.bytes);
    free(r->tool.bytes);
    free(r->content.bytes);
    free(r->reasoning.bytes);
    free(r);
}

json_t *chat_reader_message(const struct chat_reader *r)
{
    json_t *content = json_stringn(r->content.n ? r->content.bytes : "", r->content.n);
    json_t *m = json_pack("{ss so}", "role", "assistant", "content", content);
    int rc = m ? 0 : -1;
    if (!rc && r->reasoning.n)
        rc = json_object_set_new(m, "reasoning_content",
                                 json_stringn(r->reasoning.bytes, r->reasoning.n));
    if (!rc && r->n_calls)
        rc = json_object_set_new(m, "tool_calls", json_deep_copy(r->calls));
    if (rc) {
        json_decref(m);
        return NULL;
    }
    return m;
}
