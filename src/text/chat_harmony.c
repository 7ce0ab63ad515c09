// The channels of gpt-oss. An answer is a row of messages, each with a header:
//
//     <|channel|>analysis<|message|>...<|end|>                            reasoning
//     <|start|>assistant<|channel|>final<|message|>...<|return|>          content
//     <|start|>assistant to=functions.NAME<|channel|>commentary
//     <|constrain|>json<|message|>{..}<|call|>
//
// The receiver may stand on either side of the channel. Commentary without one is content: what the
// model says before it calls. The first header begins in the prompt, behind <|start|>assistant.
#include "text/chat_reader_state.h"

#include <string.h>

// A header begins with a marker, or with the words that may stand in front of one.
static bool may_be_header(const struct chat_reader *r)
{
    static const char *const words[] = {"assistant", "to="};
    const char *text = r->text.bytes;
    size_t at = 0, n = r->text.n;
    bool partial;
    while (at < n && (text[at] == ' ' || text[at] == '\n'))
        at++;
    if (at == n || chat_reader_match(r, at, &partial) || partial)
        return true;
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(words[i]), left = n - at;
        if (!memcmp(text + at, words[i], left < length ? left : length))
            return true;
    }
    return false;
}

// The word behind `what` in the header, as a name; false: it is not there.
static bool word_behind(struct chat_text *out, const char *header, size_t n, const char *what)
{
    const char *at = memmem(header, n, what, strlen(what)), *end = header + n;
    out->n = 0;
    chat_text_add(out, "", 0);
    if (!at)
        return false;
    for (at += strlen(what); at < end && chat_is_mark(*at);)
        at++;
    for (; at < end && *at != ' ' && *at != '\n' && *at != '<' && !chat_is_mark(*at); at++)
        chat_text_add(out, at, 1);
    return out->n > 0;
}

static void open_body(struct chat_reader *r, size_t n)
{
    static const char functions[] = "functions.";
    size_t prefix = sizeof functions - 1;
    struct chat_text *tool = &r->tool;
    bool analysis =
        word_behind(tool, r->text.bytes, n, "<|channel|>") && !strcmp(tool->bytes, "analysis");
    bool called = word_behind(tool, r->text.bytes, n, "to=") && r->o.tools;
    if (called && tool->n > prefix && !memcmp(tool->bytes, functions, prefix)) {
        memmove(tool->bytes, tool->bytes + prefix, tool->n - prefix + 1);
        tool->n -= prefix;
    }
    r->mode = called ? READ_BODY : analysis ? READ_REASONING : READ_CONTENT;
}

static bool has_marker(const struct chat_reader *r)
{
    bool partial;
    for (size_t at = 0; at < r->at; at++)
        if (chat_reader_match(r, at, &partial))
            return true;
    return false;
}

bool chat_harmony_header(struct chat_reader *r, bool ending)
{
    bool partial = false;
    if (!may_be_header(r)) { // an answer without channels
        r->mode = READ_CONTENT;
        r->at = 0;
        return true;
    }
    for (; r->at < r->text.n && r->at < CHAT_MAX_NAME; r->at++) {
        const struct chat_marker *m = chat_reader_match(r, r->at, &partial);
        if (m && m->kind == MARKER_MESSAGE) {
            open_body(r, r->at);
            chat_reader_drop(r, r->at + m->pattern.n);
            r->at = 0;
            r->skip = false;
            return true;
        }
        if (m && m->kind == MARKER_END) { // a message without a body
            chat_reader_drop(r, r->at + m->pattern.n);
            r->at = 0;
            return true;
        }
        if (partial && !ending)
            return false;
    }
    if (r->at < CHAT_MAX_NAME && !ending)
        return false;
    if (ending && (!r->text.n || has_marker(r))) // only the beginning of a header
        return false;
    r->mode = READ_CONTENT; // this is none: it is shown
    chat_reader_flush(r, CHAT_CONTENT, chat_reader_cut(r, r->at));
    r->at = 0;
    return true;
}

// What is said to a tool: its arguments. All of it is content when they are none.
bool chat_harmony_body(struct chat_reader *r, bool ending)
{
    const struct chat_marker *m = NULL;
    bool partial = false;
    for (; r->at < r->text.n && r->at < CHAT_MAX_CALL_BYTES; r->at++) {
        m = chat_reader_match(r, r->at, &partial);
        if (m || (partial && !ending))
            break;
    }
    bool full = r->at >= CHAT_MAX_CALL_BYTES;
    if (!m && !full && !ending)
        return false;
    json_t *calls = json_array();
    bool called =
        !full && calls && chat_calls_add(calls, r->tool.bytes, r->tool.n, r->text.bytes, r->at, "");
    size_t n = r->at;
    r->mode = full ? READ_CONTENT : READ_HEADER;
    if (called) {
        chat_reader_call(r, calls);
        chat_reader_drop(r, n);
    } else {
        json_decref(calls);
        chat_reader_flush(r, CHAT_CONTENT, chat_reader_cut(r, n));
    }
    r->at = 0;
    if (m && m->kind == MARKER_END && !full)
        chat_reader_drop(r, m->pattern.n);
    return true;
}
