// Answers and conversations: any bytes read as an answer in every format, cut where the input says,
// must give the same events as when read at once, and lose nothing; any JSON as messages.
//
// The first byte chooses the format, or messages; each byte FE of an answer is a cut, a byte FD in
// front of a byte is the control token of that number.
#include "base/check.h"
#include "text/chat_reader.h"
#include "text/utf8.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const signs[] = {
    "<think></think><tool_call></tool_call>",
    "<tool_call><function=<parameter=",
    "<arg_key><tool_call>",
    "<|start_header_id|>\"parameters\": ",
    "[TOOL_CALLS][THINK][/THINK]",
    "<｜tool▁call▁begin｜><think></think>",
    "<|tool_call_begin|><|tool_call_argument_begin|>",
    "<|channel|><|message|>",
    "<|start_of_role|><|tool_call|>",
    "<|tools_prefix|><|inner_suffix|>",
    "\\nAction:\\n```json\\n",
};
enum { N_SIGNS = sizeof signs / sizeof *signs, CUT = 0xfe, CONTROL = 0xfd };

static const char *const control[] = {
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|call|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "<|python_tag|>",
    "<|tool_call|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<|tools_prefix|>",
    "<|tools_suffix|>",
    "<|inner_prefix|>",
    "<|inner_suffix|>",
    "<|other|>",
};
enum { N_CONTROL = sizeof control / sizeof *control };

static struct {
    struct vocab *v[2]; // the second has no control tokens
    struct chat *c[2][N_SIGNS];
    json_t *tools;
} rig;

static void make_rig(void)
{
    for (int k = 0; k < 2; k++) {
        struct tiny_vocab *t = tiny_bpe();
        for (int i = 0; k == 0 && i < N_CONTROL; i++)
            tiny_add(t, control[i], TINY_CONTROL, 0);
        rig.v[k] = tiny_done(t);
        for (int i = 0; i < N_SIGNS; i++) {
            char source[512];
            struct err e = {0};
            int n = snprintf(source, sizeof source,
                             "{%% for m in messages %%}{{ m.content }}{{ tools | tojson }}"
                             "{{ m.tool_calls | tojson }}{%% endfor %%}{{ '%s' }}",
                             signs[i]);
            CHECK(chat_open_source(&rig.c[k][i], (struct gguf_string){source, (size_t)n}, rig.v[k],
                                   &e) == 0);
        }
    }
    rig.tools = json_pack("[{s{ss s{s{s{ss}s{ss}}}}}]", "function", "name", "f", "parameters",
                          "properties", "a", "type", "string", "b", "type", "integer");
    CHECK(rig.tools);
}

struct seen {
    char *text;
    size_t n, capacity;
    int kind;
};

static void put(struct seen *s, const char *text, size_t n)
{
    if (s->n + n > s->capacity) {
        s->capacity = 2 * (s->n + n);
        s->text = realloc(s->text, s->capacity);
        CHECK(s->text);
    }
    if (n)
        memcpy(s->text + s->n, text, n);
    s->n += n;
}

static void take(void *arg, const struct chat_event *e)
{
    struct seen *s = arg;
    CHECK(e->n > 0);
    for (size_t at = 0; at < e->n;) {
        int length = utf8_length(e->text + at, e->n - at);
        CHECK(length > 0);
        at += (size_t)length;
    }
    if (e->kind == CHAT_CALL) {
        json_t *arguments =
            json_loadb(e->text, e->n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        CHECK(json_is_object(arguments) && *e->name && *e->id);
        json_decref(arguments);
        put(s, "\n!", 2);
        put(s, e->name, strlen(e->name));
    } else if (s->kind != (int)e->kind) {
        put(s, e->kind == CHAT_CONTENT ? "\nC" : "\nR", 2);
    }
    s->kind = (int)e->kind;
    put(s, e->text, e->n);
}

static struct seen read_answer(int k, int format, const uint8_t *data, size_t size, int cut)
{
    struct seen s = {.kind = -1};
    struct chat_reader *r;
    struct err e = {0};
    struct chat_reader_options o = {
        .tools = rig.tools, .in_reasoning = size & 1, .take = take, .arg = &s};
    CHECK(chat_reader_new(&r, rig.c[k][format], &o, &e) == 0);
    char *piece = malloc(size + 1);
    size_t n = 0;
    CHECK(piece);
    for (size_t i = 0; i < size; i++) {
        bool token = data[i] == CONTROL && i + 1 < size;
        if (token || data[i] == CUT || cut == 1) {
            if (token || cut)
                chat_read(r, -1, piece, n);
            n = token || cut ? 0 : n;
        }
        if (token && k == 0)
            chat_read(r, vocab_find(rig.v[0], control[data[++i] % N_CONTROL]), "", 0);
        else if (!token && data[i] != CUT)
            piece[n++] = (char)data[i];
    }
    chat_read(r, -1, piece, n);
    chat_read_end(r);
    json_t *message = chat_reader_message(r);
    CHECK(json_is_object(message));
    json_decref(message);
    chat_reader_free(r);
    free(piece);
    return s;
}

static void converse(const uint8_t *data, size_t size)
{
    json_t *j = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    struct ids ids = {0};
    struct err e = {0};
    struct chat_notes notes;
    json_t *tools = json_object_get(j, "tools"), *messages = json_object_get(j, "messages");
    struct chat_request r = {.messages = messages ? messages : j,
                             .tools = tools,
                             .variables = json_object_get(j, "variables"),
                             .answer = size & 1};
    int rc = chat_encode(rig.c[0][size % N_SIGNS], &r, &ids, &notes, &e);
    CHECK(rc ? e.code == rc && e.text[0] && !ids.n : !e.code);
    json_decref(j);
    ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!rig.tools)
        make_rig();
    if (!size || size > 1 << 16)
        return 0;
    int format = data[0] >> 1 & 15, k = data[0] & 1;
    if (format >= N_SIGNS) {
        converse(data + 1, size - 1);
        return 0;
    }
    struct seen whole = read_answer(k, format, data + 1, size - 1, 0);
    for (int cut = 1; cut <= 2; cut++) { // at every byte, where the input says
        struct seen s = read_answer(k, format, data + 1, size - 1, cut);
        CHECK(s.n == whole.n && (!s.n || !memcmp(s.text, whole.text, s.n)));
        free(s.text);
    }
    free(whole.text);
    return 0;
}
