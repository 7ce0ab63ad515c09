// Messages as clients send them, and what templates are given: each template here takes something
// in its own way only.
#include "support.h"

#include "base/log.h"
#include "gguf/writer.h"
#include "text/chat.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

static struct vocab *vocab;

static int make_vocab(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    tiny_add(t, "<|im_start|>", TINY_CONTROL, 0);
    vocab = tiny_done(t);
    return 0;
}

static int free_vocab(void **state)
{
    (void)state;
    vocab_free(vocab);
    return 0;
}

static struct chat *open_source(const char *source)
{
    struct chat *c;
    struct err e = {0};
    assert_ok(chat_open_source(&c, (struct gguf_string){source, strlen(source)}, vocab, &e), &e);
    return c;
}

static json_t *json(const char *text)
{
    json_error_t why;
    json_t *j = text ? json_loads(text, 0, &why) : NULL;
    if (text && !j)
        fail_msg("%s: %s", text, why.text);
    return j;
}

static int encode(const struct chat *c, const char *messages, const char *tools,
                  const char *variables, struct ids *out, struct chat_notes *notes, struct err *e)
{
    struct chat_request r = {.messages = json(messages),
                             .tools = json(tools),
                             .variables = json(variables),
                             .answer = true};
    int rc = chat_encode(c, &r, out, notes, e);
    json_decref(r.messages);
    json_decref(r.tools);
    json_decref(r.variables);
    return rc;
}

static struct chat_notes check(const char *source, const char *messages, const char *tools,
                               const char *text)
{
    struct chat *c = open_source(source);
    struct chat_notes notes;
    struct ids l = {0};
    struct err e = {0};
    size_t n;
    assert_ok(encode(c, messages, tools, NULL, &l, &notes, &e), &e);
    char *got = tiny_text(vocab, &l, &n);
    if (n != strlen(text) || memcmp(got, text, n))
        fail_msg("%s\n gives: %.*s\n not:   %s", source, (int)n, got, text);
    free(got);
    ids_free(&l);
    chat_free(c);
    return notes;
}

static void check_refused(const char *source, const char *messages, const char *tools,
                          const char *why)
{
    struct chat *c = open_source(source);
    struct ids l = {0};
    struct err e = {0};
    assert_true(encode(c, messages, tools, NULL, &l, NULL, &e) < 0);
    if (!strstr(e.text, why))
        fail_msg("%s\n gives: %s\n not:   %s", messages, e.text, why);
    assert_int_equal(l.n, 0);
    chat_free(c);
}

#define EACH  "{% for m in messages %}"
#define END   "{% endfor %}"
#define PLAIN EACH "{{ m.role }}:{{ m.content }};" END
#define CALLS "{% for c in m.tool_calls or [] %}"
#define TOOLS "{% if tools %}{{ tools | tojson }}{% endif %}"
#define CALL(arguments)                                                                        \
    "[{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": null, " \
    "\"tool_calls\": [{\"id\": \"call_1\", \"function\": {\"name\": \"f\", "                   \
    "\"arguments\": " arguments                                                                \
    "}}]}, {\"role\": \"tool\", \"tool_call_id\": \"call_1\", \"content\": \"r\"}]"

static void arguments_are_put_as_the_template_wants_them(void **state)
{
    (void)state;
    static const char objects[] =
        EACH "{{ m.content or '' }}" CALLS "[{{ c.function.arguments | tojson }}]" END END;
    static const char texts[] =
        EACH "{{ m.content or '' }}" CALLS "{{ '[' + c.function.arguments + ']' }}" END END;
    check(objects, CALL("\"{\\\"a\\\": 1}\""), NULL, "q[{\"a\": 1}]r");
    check(objects, CALL("{\"a\": 1}"), NULL, "q[{\"a\": 1}]r");
    check(objects, CALL("\"\""), NULL, "q[{}]r");
    check(objects, CALL("\"no json\""), NULL, "q[\"no json\"]r");
    check(texts, CALL("{\"a\": 0.1}"), NULL, "q[{\"a\": 0.1}]r");
    check(texts, CALL("\"{\\\"a\\\":1}\""), NULL, "q[{\"a\":1}]r");
}

static void no_content_is_put_as_the_template_stands_it(void **state)
{
    (void)state;
    check(EACH "{{ m.content }}" CALLS "{{ c.function.arguments | tojson }}" END ";" END,
          CALL("{}"), NULL, "q;{};r;");
    check(EACH "{% if m.content is none %}" CALLS "{{ c.function.arguments | tojson }}" END
               "{% else %}{{ m.content }}{% endif %};" END,
          "[{\"role\": \"user\", \"content\": null}, {\"role\": \"assistant\", \"content\": \"\", "
          "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {}}}]}]",
          NULL, ";{};");
    check(EACH "{{ m.content is none }};" END,
          "[{\"role\": \"user\", \"content\": null}, {\"role\": \"assistant\"}]", NULL,
          "False;False;");
}

static void a_system_message_goes_where_it_can(void **state)
{
    (void)state;
    static const char none[] =
        EACH "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}"
             "{% endif %}{{ m.role }}:{{ m.content }};" END;
    static const char ignored[] =
        EACH "{% if m.role != 'system' %}{{ m.role }}:{{ m.content }};{% endif %}" END;
    static const char said[] = "[{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"user\", "
                               "\"content\": \"b\"}, {\"role\": \"assistant\", \"content\": "
                               "\"c\"}, {\"role\": \"developer\", \"content\": \"d\"}]";
    assert_false(check(PLAIN, said, NULL, "system:a;user:b;assistant:c;system:d;").moved_system);
    assert_true(check(none, said, NULL, "user:a\n\nd\n\nb;assistant:c;").moved_system);
    assert_true(check(ignored, said, NULL, "user:a\n\nd\n\nb;assistant:c;").moved_system);
    check(none, "[{\"role\": \"system\", \"content\": \"a\"}]", NULL, "user:a;");
    check("{# developer #}" PLAIN, said, NULL, "system:a;user:b;assistant:c;developer:d;");
}

static void parts_of_text_are_one_text(void **state)
{
    (void)state;
    static const char parts[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, \"b\", "
        "{\"type\": \"text\", \"text\": \"\\u0000c\"}]}]";
    struct chat *c = open_source(PLAIN);
    struct ids l = {0};
    struct err e = {0};
    json_t *messages = json_loads(parts, JSON_ALLOW_NUL, NULL);
    size_t n;
    assert_ok(chat_encode(c, &(struct chat_request){.messages = messages}, &l, NULL, &e), &e);
    char *got = tiny_text(vocab, &l, &n);
    assert_int_equal(n, 10);
    assert_memory_equal(got, "user:ab\0c;", 10);
    free(got);
    ids_free(&l);
    json_decref(messages);
    chat_free(c);
    check(EACH "{% for p in m.content %}<{{ p.text }}>{% endfor %}" END,
          "[{\"role\": \"user\", \"content\": \"a\"}]", NULL, "<a>");
    check_refused(PLAIN, "[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]", NULL,
                  "message 1 has a part of type image_url; only text can be read here");
}

static void ids_are_short_where_a_template_wants_that(void **state)
{
    (void)state;
    static const char source[] =
        EACH "{% if m.tool_calls %}{% if m.tool_calls[0].id | length != 9 %}"
             "{{ raise_exception('no') }}{% endif %}{{ m.tool_calls[0].function.arguments | "
             "tojson }}{{ m.tool_calls[0].id == messages[2].tool_call_id }}{% endif %}"
             "{{ m.content }};" END;
    check(source, CALL("{}"), NULL, "q;{}True;r;");
    check(EACH "{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments | tojson }}"
               "{{ m.tool_calls[0].id }}{% endif %}" END,
          CALL("{}"), NULL, "{}call_1");
}

static void a_result_names_its_tool(void **state)
{
    (void)state;
    check(EACH "{{ m.name or '' }};" CALLS "{{ c.function.arguments | tojson }}" END END,
          CALL("{}"), NULL, ";;{}f;");
}

static void reasoning_has_the_names_that_templates_know(void **state)
{
    (void)state;
    static const char said[] =
        "[{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": "
        "\"now\", \"reasoning_content\": \"hm\", \"tool_calls\": [{\"id\": \"1\", \"function\": "
        "{\"name\": \"f\", \"arguments\": {}}}]}]";
    static const char thought[] = "[{\"role\": \"assistant\", \"content\": \"now\", "
                                  "\"reasoning_content\": \"hm\"}]";
    check(EACH "{{ m.reasoning_content }};{{ m.thinking }};" END, thought, NULL, "hm;;");
    check(EACH "{{ m['reasoning'] }};" END, thought, NULL, "hm;");
    // harmony: one place for both
    check("{# <|channel|><|message|> #}" EACH "{% if m.content and m.thinking %}"
          "{{ raise_exception('both') }}{% endif %}{{ m.thinking }}" CALLS
          "{{ c.function.arguments | tojson }}" END ";" END,
          said, NULL, ";hm\n\nnow{};");
}

static const char one_tool[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"does it\", "
    "\"parameters\": {\"type\": \"object\"}}}]";

static void tools_are_described_or_refused(void **state)
{
    (void)state;
    static const char asked[] = "[{\"role\": \"user\", \"content\": \"q\"}]";
    static const char described[] =
        "system:## Tools\n\nYou have these tools and may call them.\n\n### f\nDescription: does "
        "it\n\nParameters: {\"type\": \"object\"};user:q;";
    check(TOOLS PLAIN, asked, "[]", "user:q;");
    check_refused(PLAIN, asked, one_tool, "no place for tools");
    struct chat_notes notes = check(EACH "{{ m.role }}:{{ m.content }}" CALLS
                                         "{{ c.function.arguments | tojson }}" END ";" END,
                                    asked, one_tool, described);
    assert_true(notes.described_tools);
    check_refused(PLAIN, CALL("{}"), NULL, "no place for calls");
    check("{# <|start_of_role|><|tool_call|> #}" TOOLS PLAIN, CALL("{}"), one_tool,
          "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"does it\", "
          "\"parameters\": {\"type\": \"object\"}}}]user:q;assistant:<|tool_call|>[{\"name\": "
          "\"f\", \"arguments\": {}}];tool:r;");
}

static void tools_stand_beside_the_system_message_where_a_template_wants_that(void **state)
{
    (void)state;
    static const char source[] =
        "{# <|tool|><|/tool|> #}" EACH "{{ '<|' + m.role + '|>' + m.content }}"
        "{% if m.role == 'system' and 'tools' in m and m.tools is not none %}"
        "{{ '<|tool|>' + m.tools + '<|/tool|>' }}{% endif %}<|end|>" END;
    check(source, CALL("{}"), one_tool,
          "<|system|><|tool|>[{\"name\": \"f\", \"description\": \"does it\", \"parameters\": "
          "{\"type\": \"object\"}}]<|/tool|><|end|><|user|>q<|end|><|assistant|><|tool_call|>["
          "{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|><|end|><|tool|>r<|end|>");
}

static void what_is_no_conversation_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "a conversation is a list"},
        {"[1]", "message 1 has no role"},
        {"[{\"role\": \"user\", \"content\": \"\"}, {\"content\": \"\"}]", "message 2 has no role"},
        {"[{\"role\": \"user\", \"content\": 1}]", "message 1 is neither text nor parts"},
        {"[{\"role\": \"user\", \"content\": [{}]}]", "a part of type none"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{}]}]", "has no function with a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(PLAIN, cases[i][0], NULL, cases[i][1]);
    check_refused(PLAIN, "[]", "{}", "tools must be a list");
    char *deep = calloc(1, 1000);
    strcpy(deep, "[{\"role\": \"user\", \"content\": \"\", \"x\": ");
    memset(deep + strlen(deep), '[', 150);
    memset(deep + strlen(deep), ']', 150);
    strcat(deep, "}]");
    check_refused(PLAIN, deep, NULL, "nested more than 100 deep");
    free(deep);
}

// Time grows with the size, not its square: this would take minutes.
static void many_small_things_are_no_trap(void **state)
{
    (void)state;
    struct chat *c = open_source(EACH "{{ raise_exception('') if m.role == 'system' }}"
                                      "{{ m.content }}" END);
    json_t *parts = json_array(), *messages = json_array();
    struct ids l = {0};
    struct err e = {0};
    for (int i = 0; i < 200000; i++)
        json_array_append_new(parts, json_string("four"));
    for (int i = 0; i < 60000; i++)
        json_array_append_new(messages, i % 2
                                            ? json_pack("{ss ss}", "role", "system", "content", "a")
                                            : json_pack("{ss ss ss}", "role", "tool", "content",
                                                        "b", "tool_call_id", "1"));
    json_array_append_new(messages, json_pack("{ss so}", "role", "user", "content", parts));
    assert_ok(chat_encode(c, &(struct chat_request){.messages = messages}, &l, NULL, &e), &e);
    assert_int_equal(l.n, 30000 + 3 * 30000 + 4 * 200000);
    ids_free(&l);
    json_decref(messages);
    chat_free(c);
}

static void a_request_is_left_as_it_was(void **state)
{
    (void)state;
    struct chat *c = open_source(PLAIN);
    json_t *messages = json("[{\"role\": \"developer\", \"content\": [\"a\"]}, {\"role\": "
                            "\"assistant\", \"content\": \"b\", \"reasoning\": \"c\"}]");
    json_t *before = json_deep_copy(messages);
    struct ids l = {0};
    struct err e = {0};
    assert_ok(chat_encode(c, &(struct chat_request){.messages = messages}, &l, NULL, &e), &e);
    assert_true(json_equal(messages, before));
    json_decref(messages);
    json_decref(before);
    ids_free(&l);
    chat_free(c);
}

static void variables_reach_the_template(void **state)
{
    (void)state;
    static const char source[] =
        "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
        "{% if x is defined %}{{ x }}{% endif %}{# </think> #}";
    struct chat *c = open_source(source);
    struct chat_notes notes;
    struct ids l = {0};
    struct err e = {0};
    assert_ok(encode(c, "[]", NULL, "{\"enable_thinking\": true}", &l, &notes, &e), &e);
    assert_true(notes.in_reasoning);
    assert_ok(encode(c, "[]", NULL, "{\"enable_thinking\": false}", &l, &notes, &e), &e);
    assert_false(notes.in_reasoning);
    l.n = 0; // somebody's words do not open reasoning, and are no control token
    assert_ok(encode(c, "[]", NULL, "{\"x\": \"<|im_start|><think>\"}", &l, &notes, &e), &e);
    assert_false(notes.in_reasoning);
    assert_int_equal(l.n, strlen("<|im_start|><think>"));
    ids_free(&l);
    chat_free(c);
}

static void the_template_for_tools_is_used_with_tools(void **state)
{
    (void)state;
    static const char own[] = PLAIN, with[] = TOOLS "|" PLAIN, asked[] = "[]";
    const char *path = test_file("templates.gguf");
    struct gguf_writer *w;
    struct gguf *g;
    struct chat *c;
    struct err e = {0};
    struct ids plain = {0}, tools = {0};
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_put_string(w, "tokenizer.chat_template", own, sizeof own - 1);
    gguf_put_string(w, "tokenizer.chat_template.tool_use", with, sizeof with - 1);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_ok(chat_open(&c, g, vocab, &e), &e);
    gguf_free(g);
    assert_ok(encode(c, asked, NULL, NULL, &plain, NULL, &e), &e);
    assert_ok(encode(c, asked, one_tool, NULL, &tools, NULL, &e), &e);
    assert_int_equal(plain.n, 0);
    assert_true(tools.n > 20);
    assert_true(chat_abilities(c).tools);
    assert_null(chat_abilities(c).builtin);
    ids_free(&plain);
    ids_free(&tools);
    chat_free(c);
}

static void a_template_that_is_not_understood_is_stood_in_for(void **state)
{
    (void)state;
    static const char broken[] = "{% include 'x' %}";
    const char *path = test_file("broken.gguf");
    struct tiny_vocab *t = tiny_bpe();
    tiny_add(t, "<|im_start|>", TINY_CONTROL, 0);
    tiny_add(t, "<|im_end|>", TINY_CONTROL, 0);
    struct vocab *family = tiny_done(t);
    struct gguf_writer *w;
    struct gguf *g;
    struct chat *c;
    struct err e = {0};
    assert_ok(gguf_writer_open(&w, path, &e), &e);
    gguf_put_string(w, "tokenizer.chat_template", broken, sizeof broken - 1);
    assert_ok(gguf_writer_finish(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(&g, path, &e), &e);
    log_set_level(LOG_ERROR);
    assert_ok(chat_open(&c, g, family, &e), &e);
    log_set_level(LOG_WARN);
    assert_string_equal(chat_abilities(c).builtin, "chatml");
    chat_free(c);
    assert_int_equal(chat_open(&c, g, vocab, &e), ERR_FAILED); // of no family
    assert_null(c);
    assert_non_null(strstr(e.text, "chat template, line 1"));
    gguf_free(g);
    vocab_free(family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_put_as_the_template_wants_them),
        cmocka_unit_test(no_content_is_put_as_the_template_stands_it),
        cmocka_unit_test(a_system_message_goes_where_it_can),
        cmocka_unit_test(parts_of_text_are_one_text),
        cmocka_unit_test(ids_are_short_where_a_template_wants_that),
        cmocka_unit_test(a_result_names_its_tool),
        cmocka_unit_test(reasoning_has_the_names_that_templates_know),
        cmocka_unit_test(tools_are_described_or_refused),
        cmocka_unit_test(tools_stand_beside_the_system_message_where_a_template_wants_that),
        cmocka_unit_test(what_is_no_conversation_is_refused),
        cmocka_unit_test(many_small_things_are_no_trap),
        cmocka_unit_test(a_request_is_left_as_it_was),
        cmocka_unit_test(variables_reach_the_template),
        cmocka_unit_test(the_template_for_tools_is_used_with_tools),
        cmocka_unit_test(a_template_that_is_not_understood_is_stood_in_for),
    };
    return cmocka_run_group_tests_name("chat_messages", tests, make_vocab, free_vocab);
}
