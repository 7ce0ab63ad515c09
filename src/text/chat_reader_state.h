// The reader of answers laid open, for the files that it is made of: chat_reader.c (text in, events
// out, where markers are), chat_capture.c (one call, from its opening marker on), chat_calls.c
// (what was captured as calls) and chat_harmony.c (channels).
//
// What is not yet said lies in `text`. A marker that is a control token stands there between the
// bytes FF and FE, which no UTF-8 text has:
//
//     I will look.\n FF <|tool_call|> FE [{"name": "look", ...
//                 ^ at: all in front is said
#pragma once

#include "text/chat_format.h"
#include "text/chat_reader.h"
#include "text/chat_text.h"

#include <stdbool.h>

enum { MARK_FIRST = 0xff, MARK_LAST = 0xfe };
static inline bool chat_is_mark(char c)
{
    return (unsigned char)c == MARK_FIRST || (unsigned char)c == MARK_LAST;
}

enum {                   // limits
    CHAT_MAX_SPACE = 64, // white space that is held because a section may follow
    CHAT_MAX_NAME = 256, // of a tool or an argument, and of a channel's header
    CHAT_MAX_JSON_DEPTH = 100,
    CHAT_MAX_MARKER = 64, // bytes of a marker as it stands in the text
};

struct chat_pattern { // a marker as it stands in the text; n 0: there is none
    char bytes[CHAT_MAX_MARKER];
    size_t n;
};

enum chat_marker_kind {
    MARKER_CALL,    // a call begins
    MARKER_SILENT,  // says nothing
    MARKER_THINK,   // reasoning begins
    MARKER_THOUGHT, // reasoning ends
    MARKER_END,     // a message in a channel ends
    MARKER_HEADER,  // a message's header begins: the marker belongs to it
    MARKER_MESSAGE, // a message's header ends
};

struct chat_marker {
    struct chat_pattern pattern;
    enum chat_marker_kind kind;
    bool control;
};

// Markers within a call.
enum chat_inner { INNER_KEY, INNER_KEY_END, INNER_VALUE, INNER_VALUE_END, INNER_END, N_INNERS };

enum chat_mode {
    READ_CONTENT,
    READ_REASONING,
    READ_CALL,
    READ_HEADER, // of a message in a channel
    READ_BODY,   // of a message to a tool
};

enum chat_step { STEP_MORE, STEP_FAIL, STEP_NEXT, STEP_DONE };

enum chat_phase {
    PHASE_BEGIN,
    PHASE_JSON,
    PHASE_AFTER_JSON,
    PHASE_TAG_NAME,
    PHASE_TAG_BODY,
    PHASE_TAG_KEY,
    PHASE_TAG_VALUE,
    PHASE_TAG_JSON_END,
    PHASE_PAIR_NAME,
    PHASE_PAIR_BODY,
    PHASE_PAIR_KEY,
    PHASE_PAIR_BETWEEN,
    PHASE_PAIR_VALUE,
    PHASE_NAME,
    PHASE_NAME_END,
    PHASE_NAME_LINE,
    PHASE_NAME_FENCE,
    PHASE_FENCE_END,
    PHASE_CLOSE,
};

struct chat_capture {
    enum chat_phase phase;
    bool bare;   // no marker opened it: JSON at the beginning of an answer
    size_t at;   // bytes of the text that are understood
    size_t from; // where what is being read begins
    // JSON
    int depth;
    char open[CHAT_MAX_JSON_DEPTH];
    bool in_string, escaped, has_key;
    size_t string; // where the string begins
    // a call in parts
    struct chat_text name, key, arguments;
    json_t *calls; // an array of {name, arguments, id}, arguments as text
};

struct chat_reader {
    const struct vocab *vocab;
    const struct chat_format *format;
    struct chat_reader_options o;
    struct chat_marker marker[16];
    int n_markers;
    bool begins[256]; // some marker begins with this byte
    struct chat_pattern close, separator, inner[N_INNERS];

    enum chat_mode mode;
    struct chat_text text;
    size_t at;    // behind the last byte of `text` that is looked at
    char held[4]; // of a character that is not complete
    size_t n_held;
    bool said; // there was content
    bool skip; // white space that comes now is dropped
    struct chat_capture capture;
    struct chat_text tool; // of a message to a tool

    int n_calls;
    struct chat_text content, reasoning; // all of the answer
    json_t *calls;
};

// ---- chat_reader.c
// Says bytes [0, n) of the text, markers as what they look like, and takes them out.
void chat_reader_flush(struct chat_reader *r, enum chat_event_kind kind, size_t n);
// The last place up to `n` where the text may be cut: not within a character or a marker.
size_t chat_reader_cut(const struct chat_reader *r, size_t n);
void chat_reader_drop(struct chat_reader *r, size_t n); // takes bytes [0, n) out
// The marker at `at`, if `active` says that its kind counts; *partial: it may become one.
const struct chat_marker *chat_reader_match(const struct chat_reader *r, size_t at, bool *partial);
bool chat_reader_scan(struct chat_reader *r, bool ending);
void chat_reader_call(struct chat_reader *r, json_t *calls); // says them; takes `calls`

// ---- chat_capture.c
void chat_capture_begin(struct chat_capture *c, size_t at, bool bare);
enum chat_step chat_capture_run(struct chat_reader *r, bool ending);
void chat_capture_fini(struct chat_capture *c);

// ---- chat_calls.c
// Adds the calls that JSON text holds: an object or an array of them. False: it holds none, and
// nothing is added.
bool chat_calls_json(json_t *calls, const char *text, size_t n, bool keyed);
// `arguments`: JSON text of an object, or nothing.
bool chat_calls_add(json_t *calls, const char *name, size_t n_name, const char *arguments, size_t n,
                    const char *id);
// The argument `key` of `name` with the value written as plain text, behind others in `arguments`.
void chat_calls_argument(struct chat_text *arguments, json_t *tools, const struct chat_text *name,
                         const struct chat_text *key, const char *value, size_t n);
bool chat_calls_has_tool(json_t *tools, const char *name);

// ---- chat_harmony.c
bool chat_harmony_header(struct chat_reader *r, bool ending); // false: more is needed
bool chat_harmony_body(struct chat_reader *r, bool ending);
