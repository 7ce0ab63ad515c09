// Answers told apart: transcripts of every format, cut at every byte and at random, must give the
// same events.
#include "support.h"

#include "base/rng.h"
#include "text/chat_reader.h"
#include "text/utf8.h"
#include "tiny_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- events as one text: <reasoning>, content, {name arguments #index}
struct seen {
    char text[1 << 16];
    size_t n;
    int kind;
    char ids[512];
};

static void put(struct seen *s, const char *text, size_t n)
{
    assert_true(s->n + n < sizeof s->text);
    memcpy(s->text + s->n, text, n);
    s->n += n;
    s->text[s->n] = 0;
}

static void puts_to(struct seen *s, const char *text)
{
    put(s, text, strlen(text));
}

static void take(void *arg, const struct chat_event *e)
{
    struct seen *s = arg;
    assert_true(e->n > 0);
    for (size_t at = 0; at < e->n;) { // whole characters
        int length = utf8_length(e->text + at, e->n - at);
        assert_true(length > 0);
        at += (size_t)length;
    }
    if (e->kind == CHAT_CALL) {
        char index[32];
        json_t *arguments = json_loadb(e->text, e->n, JSON_DECODE_INT_AS_REAL, NULL);
        assert_true(json_is_object(arguments));
        json_decref(arguments);
        snprintf(index, sizeof index, " #%d}", e->index);
        puts_to(s, "\n{");
        puts_to(s, e->name);
        puts_to(s, " ");
        put(s, e->text, e->n);
        puts_to(s, index);
        assert_true(strlen(e->id) > 0 && strlen(e->id) < CHAT_ID_BYTES);
        strcat(strcat(s->ids, e->id), " ");
    } else {
        if (s->kind != (int)e->kind)
            puts_to(s, e->kind == CHAT_REASONING ? "\nR:" : "\nC:");
        put(s, e->text, e->n);
    }
    s->kind = (int)e->kind;
}

// ---- cases
struct transcript {
    const char *signs;      // what the template shows
    const char *control[8]; // control tokens of the vocabulary
    const char *answer, *events;
    bool in_reasoning;
};

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"days\": {\"type\": "
    "\"integer\"}, \"deep\": {\"type\": \"boolean\"}, \"tags\": {\"type\": \"array\"}}}}}, "
    "{\"type\": \"function\", \"function\": {\"name\": \"stop\"}}]";

#define HERMES  "<tool_call></tool_call><think></think>"
#define HARMONY "<|channel|><|message|>"
#define HARMONY_TOKENS                                                                       \
    {                                                                                        \
        "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", \
            "<|call|>"                                                                       \
    }
#define DEEPSEEK_TOKENS                                                      \
    {                                                                        \
        "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", \
            "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"              \
    }

static const struct transcript transcripts[] = {
    // plain
    {"",
     {0},
     "Hello \xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80.\n\n",
     "\nC:Hello \xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80.\n\n",
     false},
    {"",
     {0},
     "<think>is text</think> <tool_call>",
     "\nC:<think>is text</think> <tool_call>",
     false},
    {"",
     {0},
     "\xe4\xbd"
     "a\xff\xf0\x9f\x98",
     "\nC:\xef\xbf\xbd\xef\xbf\xbd"
     "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
     false},
    // reasoning
    {HERMES, {0}, "<think>\nHm. <b>\n\n</think>\n\nYes < no.", "\nR:Hm. <b>\nC:Yes < no.", false},
    {HERMES, {0}, "Hm.\n</think>\n\nYes.", "\nR:Hm.\nC:Yes.", true},
    {HERMES, {0}, "Hm </thin", "\nR:Hm </thin", true},
    {HERMES, {0}, "I say <think> is a tag", "\nC:I say <think> is a tag", false},
    {HERMES, {"<think>", "</think>"}, "<think>a<think>b</think>c", "\nR:ab\nC:c", false},
    {HERMES, {0}, "<think>\n\n</think>\n\nYes", "\nC:Yes", false},
    {"[THINK][/THINK]", {"[THINK]", "[/THINK]"}, "[THINK]a[/THINK]b", "\nR:a\nC:b", false},
    {"<think></think><response></response>",
     {0},
     "<think>a</think><response>b</response>",
     "\nR:a\nC:b",
     false},
    // Hermes, Qwen
    {HERMES,
     {0},
     "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"city\": \"Hanoi\"}}\n</tool_call>",
     "\n{look {\"city\": \"Hanoi\"} #0}",
     false},
    {HERMES,
     {0},
     "Wait.\n\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"x\": "
     "1.10}}\n</tool_call>\n<tool_call>{\"name\": \"stop\", \"arguments\": null}</tool_call>\n",
     "\nC:Wait.\n{look {\"x\": 1.10} #0}\n{stop {} #1}",
     false},
    {HERMES,
     {0},
     "<think>\nI call <tool_call>.\n</think>\n\n<tool_call>{\"name\": \"look\", \"arguments\": "
     "\"{\\\"a\\\": \\\"</tool_call>\\\"}\"}</tool_call>",
     "\nR:I call <tool_call>.\n{look {\"a\": \"</tool_call>\"} #0}",
     false},
    {HERMES,
     {0},
     "<tool_call>{\"name\": \"look\", \"arguments\": {\"city\": \"a\nb</tool_call>\"}}",
     "\n{look {\"city\": \"a\\nb</tool_call>\"} #0}",
     false},
    {HERMES,
     {0},
     "Use <tool_call> like \n<tool_call>{\"name\": }</tool_call>!",
     "\nC:Use <tool_call> like \n<tool_call>{\"name\": }</tool_call>!",
     false},
    {HERMES,
     {0},
     "a <tool_call>{\"name\": \"look\"",
     "\nC:a <tool_call>{\"name\": \"look\"",
     false},
    {HERMES, {0}, "a  <tool_ca", "\nC:a  <tool_ca", false},
    {HERMES,
     {0},
     "<tool_call>{\"arguments\": {}}</tool_call>",
     "\nC:<tool_call>{\"arguments\": {}}</tool_call>",
     false},
    {HERMES,
     {"<tool_call>", "</tool_call>"},
     "<tool_call>{\"name\": \"look\"}</tool_call> b",
     "\n{look {} #0}\nC:b",
     false},
    {HERMES,
     {"<tool_call>", "</tool_call>"},
     "x <tool_call>no</tool_call>.",
     "\nC:x <tool_call>no.",
     false},
    // Qwen3-Coder
    {"<tool_call><function=<parameter=",
     {0},
     "Ok\n<tool_call>\n<function=look>\n<parameter=city>\nHo "
     "Chi\n\"Minh\"\n</parameter>\n<parameter=days>\n5\n</parameter>\n<parameter=deep>\nTrue\n</"
     "parameter>\n<parameter=tags>\n[1, "
     "\"a\"]\n</parameter>\n<parameter=other>\n7\n</parameter>\n</function>\n</tool_call>",
     "\nC:Ok\n{look {\"city\": \"Ho Chi\\n\\\"Minh\\\"\", \"days\": 5, \"deep\": true, \"tags\": "
     "[1, \"a\"], \"other\": \"7\"} #0}",
     false},
    {"<tool_call><function=<parameter=",
     {0},
     "<function=stop>\n</function><tool_call><function=stop></function><function=stop></function></"
     "tool_call>",
     "\n{stop {} #0}\n{stop {} #1}\n{stop {} #2}",
     false},
    {"<tool_call><function=<parameter=",
     {0},
     "<tool_call><function=look><parameter=city>a</function></tool_call>",
     "\nC:<tool_call><function=look><parameter=city>a</function></tool_call>",
     false},
    {"<function=</function>",
     {0},
     "<function=look>{\"city\": \"x\"}</function>",
     "\n{look {\"city\": \"x\"} #0}",
     false},
    {"seed:tool_call<function=",
     {0},
     "<seed:tool_call>\n<function=look>\n<parameter=city>a</parameter>\n</"
     "function>\n<function=stop></function>\n</seed:tool_call>",
     "\n{look {\"city\": \"a\"} #0}\n{stop {} #1}",
     false},
    // GLM
    {"<arg_key><tool_call>",
     {0},
     "<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>A "
     "b</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</"
     "tool_call><tool_call>stop</tool_call>",
     "\n{look {\"city\": \"A b\", \"days\": 3} #0}\n{stop {} #1}",
     false},
    // Llama 3
    {"<|start_header_id|>\"parameters\": ",
     {"<|python_tag|>"},
     "{\"name\": \"look\", \"parameters\": {\"city\": \"a}\"}}",
     "\n{look {\"city\": \"a}\"} #0}",
     false},
    {"<|start_header_id|>\"parameters\": ",
     {"<|python_tag|>"},
     "{\"name\": \"look\", \"parameters\": {}}; {\"name\": \"stop\", \"parameters\": {}}\n",
     "\n{look {} #0}\n{stop {} #1}",
     false},
    {"<|start_header_id|>\"parameters\": ",
     {"<|python_tag|>"},
     "<|python_tag|>{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": "
     "{\"days\": 12345678901234567890}}}",
     "\n{look {\"days\": 12345678901234567890} #0}",
     false},
    {"<|start_header_id|>\"parameters\": ",
     {0},
     "{\"name\": \"unknown\", \"parameters\": {}} is JSON",
     "\nC:{\"name\": \"unknown\", \"parameters\": {}} is JSON",
     false},
    {"<|start_header_id|>\"parameters\": ", {0}, "{\"a\": 1}", "\nC:{\"a\": 1}", false},
    {"<|start_header_id|>\"parameters\": ", {0}, "{ x }", "\nC:{ x }", false},
    {"<|start_header_id|>\"parameters\": ",
     {0},
     "So: {\"name\": \"look\", \"parameters\": {}}",
     "\nC:So: {\"name\": \"look\", \"parameters\": {}}",
     false},
    {"<|start_header_id|>\"parameters\": ",
     {"<|python_tag|>"},
     "<|python_tag|>print(1)",
     "\nC:<|python_tag|>print(1)",
     false},
    // Mistral
    {"[TOOL_CALLS]",
     {"[TOOL_CALLS]"},
     "[TOOL_CALLS][{\"name\": \"look\", \"arguments\": {\"city\": \"a\"}, \"id\": \"abcdefghi\"}, "
     "{\"name\": \"stop\", \"arguments\": {}}]",
     "\n{look {\"city\": \"a\"} #0}\n{stop {} #1}",
     false},
    {"[TOOL_CALLS][ARGS]",
     {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"},
     "Ok[TOOL_CALLS]look[ARGS]{\"city\": \"a\"}[TOOL_CALLS]stop[CALL_ID]123456789[ARGS]{}",
     "\nC:Ok\n{look {\"city\": \"a\"} #0}\n{stop {} #1}",
     false},
    {"[TOOL_CALLS][ARGS]",
     {0},
     "[TOOL_CALLS]look[ARGS]{\"city\": \"a\"}",
     "\n{look {\"city\": \"a\"} #0}",
     false},
    // DeepSeek
    {"<｜tool▁call▁begin｜><think></think>", DEEPSEEK_TOKENS,
     "Hm.\n</"
     "think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{"
     "\"city\": "
     "\"a\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}"
     "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "\nR:Hm.\n{look {\"city\": \"a\"} #0}\n{stop {} #1}", true},
    {"<｜tool▁call▁begin｜>", DEEPSEEK_TOKENS,
     "So<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{\"city\": "
     "\"a\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜><"
     "｜tool▁calls▁end｜>",
     "\nC:So\n{look {\"city\": \"a\"} #0}\n{stop {} #1}", false},
    // Kimi
    {"<|tool_call_begin|><|tool_call_argument_begin|>",
     {"<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
      "<|tool_call_end|>", "<|tool_calls_section_end|>"},
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{"
     "\"city\": \"a\"}<|tool_call_end|><|tool_calls_section_end|>",
     "\n{look {\"city\": \"a\"} #0}",
     false},
    // gpt-oss
    {HARMONY, HARMONY_TOKENS,
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes\n<|"
     "return|>",
     "\nR:Hm.\nC:Yes", false},
    {HARMONY, HARMONY_TOKENS,
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I "
     "look.<|end|><|start|>assistant<|channel|>commentary to=functions.look "
     "<|constrain|>json<|message|>{\"city\": \"a\"}<|call|>",
     "\nR:Hm.\nC:I look.\n{look {\"city\": \"a\"} #0}", false},
    {HARMONY, HARMONY_TOKENS, " to=functions.stop<|channel|>commentary json<|message|>{}",
     "\n{stop {} #0}", false},
    {HARMONY, HARMONY_TOKENS, "<|channel|>commentary to=functions.stop<|message|>no json<|call|>",
     "\nC:no json", false},
    {HARMONY, HARMONY_TOKENS, "No channels <here>.", "\nC:No channels <here>.", false},
    {HARMONY, HARMONY_TOKENS, "<|channel|>final", "", false},
    {HARMONY,
     {0},
     "<|channel|>analysis<|message|>a < b<|end|><|start|>assistant<|channel|>final<|message|>c",
     "\nR:a < b\nC:c",
     false},
    // others
    {"<|start_of_role|><|tool_call|>",
     {"<|tool_call|>"},
     "<|tool_call|>[{\"name\": \"look\", \"arguments\": {}}]",
     "\n{look {} #0}",
     false},
    {"<|start_of_role|><|tool_call|>",
     {0},
     "<tool_call>[{\"name\": \"look\", \"arguments\": {}}]",
     "\n{look {} #0}",
     false},
    {"<|tool|><|/tool|>",
     {"<|tool_call|>", "<|/tool_call|>"},
     "<|tool_call|>[{\"name\": \"look\", \"arguments\": {}}, {\"name\": \"stop\"}]<|/tool_call|>",
     "\n{look {} #0}\n{stop {} #1}",
     false},
    {"<|START_ACTION|><|START_THINKING|><|END_THINKING|>",
     {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_ACTION|>", "<|END_ACTION|>",
      "<|START_RESPONSE|>", "<|END_RESPONSE|>"},
     "<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n {\"tool_call_id\": \"0\", "
     "\"tool_name\": \"look\", \"parameters\": {\"city\": \"b\"}}\n]<|END_ACTION|>",
     "\nR:a\n{look {\"city\": \"b\"} #0}",
     false},
    {"<|tools_prefix|>",
     {"<|tools_prefix|>", "<|tools_suffix|>"},
     "<|tools_prefix|>[{\"look\": {\"city\": \"b\"}}, {\"stop\": {}}]<|tools_suffix|>",
     "\n{look {\"city\": \"b\"} #0}\n{stop {} #1}",
     false},
    {"<tool_calls></tool_calls>",
     {0},
     "<tool_calls>[{\"name\": \"look\", \"arguments\": {}}]</tool_calls>",
     "\n{look {} #0}",
     false},
    {" functools[",
     {0},
     " functools[{\"name\": \"look\", \"arguments\": {}}]",
     "\n{look {} #0}",
     false},
    {"\\nAction:\\n```json\\n",
     {0},
     "Plan: x\nAction: ```json\n[{\"tool_name\": \"look\", \"parameters\": {}}]\n```",
     "\nC:Plan: x\n{look {} #0}",
     false},
};
enum { N_TRANSCRIPTS = sizeof transcripts / sizeof *transcripts };

struct rig {
    struct vocab *v;
    struct chat *c;
    json_t *tools;
};

static struct rig make(const char *signs, const char *const *control)
{
    struct tiny_vocab *t = tiny_bpe();
    struct rig g = {.tools = json_loads(tools_text, 0, NULL)};
    struct err e = {0};
    char source[512];
    for (int i = 0; i < 8 && control && control[i]; i++)
        tiny_add(t, control[i], TINY_CONTROL, 0);
    tiny_add(t, "<|other|>", TINY_CONTROL, 0);
    g.v = tiny_done(t);
    int n = snprintf(source, sizeof source, "{%% if tools %%}{{ '%s' }}{%% endif %%}", signs);
    assert_ok(chat_open_source(&g.c, (struct gguf_string){source, (size_t)n}, g.v, &e), &e);
    assert_non_null(g.tools);
    return g;
}

static void unmake(struct rig *g)
{
    json_decref(g->tools);
    chat_free(g->c);
    vocab_free(g->v);
}

static void read_ids(struct chat_reader *r, const struct rig *g, const struct ids *l,
                     const bool *cut)
{
    char piece[4096];
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        bool control = vocab_is_control(g->v, l->id[i]);
        if (n && (control || cut[i])) {
            chat_read(r, -1, piece, n);
            n = 0;
        }
        if (control)
            chat_read(r, l->id[i], "", 0);
        else
            n += vocab_decode(g->v, l->id[i], false, piece + n, sizeof piece - n);
    }
    if (n)
        chat_read(r, -1, piece, n);
    chat_read_end(r);
}

static void check(const struct rig *g, const struct transcript *t, const struct ids *l,
                  const bool *cut)
{
    struct seen s = {.kind = -1};
    struct chat_reader *r;
    struct err e = {0};
    struct chat_reader_options o = {
        .tools = g->tools, .in_reasoning = t->in_reasoning, .take = take, .arg = &s};
    assert_ok(chat_reader_new(&r, g->c, &o, &e), &e);
    read_ids(r, g, l, cut);
    if (strcmp(s.text, t->events))
        fail_msg("%s\n gives: %s\n not:   %s", t->answer, s.text, t->events);
    json_t *message = chat_reader_message(r);
    assert_true(json_is_object(message));
    json_decref(message);
    chat_reader_free(r);
}

static void every_format_gives_its_events_however_it_is_cut(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int i = 0; i < N_TRANSCRIPTS; i++) {
        const struct transcript *t = &transcripts[i];
        struct rig g = make(t->signs, t->control);
        struct ids l = {0};
        struct err e = {0};
        bool cut[4096] = {0};
        assert_ok(vocab_encode(g.v, t->answer, strlen(t->answer), ENCODE_CONTROL, &l, &e), &e);
        assert_true(l.n < sizeof cut);
        check(&g, t, &l, cut);
        for (size_t k = 0; k < l.n; k++) {
            cut[k] = true;
            check(&g, t, &l, cut);
            cut[k] = false;
        }
        memset(cut, 1, sizeof cut);
        check(&g, t, &l, cut);
        for (int k = 0; k < 50; k++) {
            for (size_t j = 0; j < l.n; j++)
                cut[j] = rng_below(&rng, 4) == 0;
            check(&g, t, &l, cut);
        }
        ids_free(&l);
        unmake(&g);
    }
}

// ---- one format, closer ------------------------------------------------------------------------

static struct chat_reader *open_reader(const struct rig *g, json_t *tools, struct seen *s)
{
    struct chat_reader *r;
    struct err e = {0};
    struct chat_reader_options o = {.tools = tools, .take = take, .arg = s};
    *s = (struct seen){.kind = -1};
    assert_ok(chat_reader_new(&r, g->c, &o, &e), &e);
    return r;
}

static void say(struct chat_reader *r, const char *text)
{
    chat_read(r, -1, text, strlen(text));
}

static void the_text_of_a_control_token_is_text(void **state)
{
    (void)state;
    static const char *const control[] = {"<tool_call>", "<think>", "</think>", NULL};
    struct rig g = make(HERMES, control);
    struct seen *s = malloc(sizeof *s);
    struct chat_reader *r = open_reader(&g, g.tools, s);
    say(r, "<think>no</think><tool_call>{\"name\": \"look\"}</tool_call>");
    chat_read(r, vocab_find(g.v, "<|other|>"), "", 0); // means nothing
    chat_read(r, vocab_find(g.v, "<tool_call>"), "", 0);
    say(r, "{\"name\": \"look\"}");
    chat_read_end(r);
    assert_string_equal(s->text, "\nC:<think>no</think><tool_call>{\"name\": \"look\"}</tool_call>"
                                 "\n{look {} #0}");
    chat_reader_free(r);
    free(s);
    unmake(&g);
}

static void without_tools_calls_are_content(void **state)
{
    (void)state;
    static const char call[] = "<think>a</think><tool_call>{\"name\": \"look\"}</tool_call>";
    struct rig g = make(HERMES, NULL);
    struct seen *s = malloc(sizeof *s);
    json_t *none = json_array();
    for (int i = 0; i < 2; i++) {
        struct chat_reader *r = open_reader(&g, i ? none : NULL, s);
        say(r, call);
        chat_read_end(r);
        assert_string_equal(s->text, "\nR:a\nC:<tool_call>{\"name\": \"look\"}</tool_call>");
        chat_reader_free(r);
    }
    json_decref(none);
    free(s);
    unmake(&g);
}

static void calls_have_ids(void **state)
{
    (void)state;
    static const char calls[] =
        "<tool_call>{\"name\": \"look\"}</tool_call><tool_call>{\"name\": \"stop\"}</tool_call>"
        "<tool_call>{\"name\": \"stop\", \"id\": \"mine\"}</tool_call>";
    struct rig g = make(HERMES, NULL);
    struct seen *s = malloc(2 * sizeof *s);
    for (int i = 0; i < 2; i++) {
        struct chat_reader *r = open_reader(&g, g.tools, &s[i]);
        say(r, calls);
        chat_read_end(r);
        chat_reader_free(r);
    }
    assert_string_equal(s[0].ids, s[1].ids); // of the same seed
    assert_int_equal(strlen(s[0].ids), 10 + 10 + 5);
    assert_memory_not_equal(s[0].ids, s[0].ids + 10, 9);
    assert_string_equal(s[0].ids + 20, "mine ");
    free(s);
    unmake(&g);
}

static void an_answer_goes_back_into_the_conversation(void **state)
{
    (void)state;
    struct rig g = make(HERMES, NULL);
    struct seen *s = malloc(sizeof *s);
    struct chat_reader *r = open_reader(&g, g.tools, s);
    say(r, "<think>Hm.</think>So:\n<tool_call>{\"name\": \"look\", \"arguments\": {\"a\": 1}}");
    chat_read_end(r);
    json_t *got = chat_reader_message(r);
    json_t *call = json_array_get(json_object_get(got, "tool_calls"), 0);
    json_t *want = json_pack("{ss ss ss s[{ss ss s{ss ss}}]}", "role", "assistant", "content",
                             "So:", "reasoning_content", "Hm.", "tool_calls", "id",
                             json_string_value(json_object_get(call, "id")), "type", "function",
                             "function", "name", "look", "arguments", "{\"a\": 1}");
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    chat_reader_free(r);
    free(s);
    unmake(&g);
}

struct sum {
    size_t content, calls;
};

static void add_up(void *arg, const struct chat_event *e)
{
    struct sum *s = arg;
    *(e->kind == CHAT_CALL ? &s->calls : &s->content) += e->kind == CHAT_CALL ? 1 : e->n;
}

// A call that never ends is content when it has become too long, all of it, wherever it was cut.
static void a_call_without_an_end_is_content(void **state)
{
    (void)state;
    static const char *const begins[] = {"<tool_call>{\"name\": \"", "<tool_call><function=f>"};
    static const char *const signs[] = {HERMES, "<tool_call><function=<parameter="};
    const size_t size = CHAT_MAX_CALL_BYTES + 5000;
    char *text = malloc(size);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(begins[i]);
        struct rig g = make(signs[i], NULL);
        memset(text, i ? ' ' : 'x', size);
        memcpy(text, begins[i], n);
        for (size_t k = 0; k + 2 < size - n && !i; k += 2) // two bytes each
            memcpy(text + n + k, "\xc3\xa4", 2);
        for (size_t step = size; step > 1000; step = step / 3 - 1) {
            struct sum s = {0};
            struct chat_reader *r;
            struct err e = {0};
            struct chat_reader_options o = {.tools = g.tools, .take = add_up, .arg = &s};
            assert_ok(chat_reader_new(&r, g.c, &o, &e), &e);
            for (size_t at = 0; at < size; at += step)
                chat_read(r, -1, text + at, step < size - at ? step : size - at);
            chat_read_end(r);
            assert_int_equal(s.content, size);
            assert_int_equal(s.calls, 0);
            chat_reader_free(r);
        }
        unmake(&g);
    }
    free(text);
}

// Outside of calls no more is held than a marker and some white space.
static void little_is_held(void **state)
{
    (void)state;
    static const char *const parts[] = {"<",      "tool_call", "<tool_cal", "a",  "  \n",
                                        "think>", "\xc3",      "\xa4",      "</", "<tool_call>x"};
    struct rig g = make(HERMES, NULL);
    struct rng rng;
    struct sum s = {0};
    struct chat_reader *r;
    struct err e = {0};
    struct chat_reader_options o = {.tools = g.tools, .take = add_up, .arg = &s};
    size_t fed = 0;
    rng_init(&rng, 3);
    assert_ok(chat_reader_new(&r, g.c, &o, &e), &e);
    chat_read(r, -1, "a", 1);
    for (int i = 0; i < 20000; i++) {
        const char *part = parts[rng_below(&rng, sizeof parts / sizeof *parts)];
        fed += strlen(part);
        say(r, part);
        assert_true(fed < s.content + 64 + 16);
    }
    chat_read_end(r);
    assert_true(s.content >= fed);
    chat_reader_free(r);
    unmake(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_its_events_however_it_is_cut),
        cmocka_unit_test(the_text_of_a_control_token_is_text),
        cmocka_unit_test(without_tools_calls_are_content),
        cmocka_unit_test(calls_have_ids),
        cmocka_unit_test(an_answer_goes_back_into_the_conversation),
        cmocka_unit_test(a_call_without_an_end_is_content),
        cmocka_unit_test(little_is_held),
    };
    return cmocka_run_group_tests_name("chat_reader", tests, NULL, NULL);
}
