// Built-in templates: which one a vocabulary asks for, and what each says.
#include "support.h"

#include "text/chat.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

struct family {
    const char *name, *tokens[4];
    const char *text; // of a conversation of system, user, assistant, user
};

static const struct family families[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
     "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
     "<|im_start|>assistant\n"},
    {"phi4",
     {"<|im_start|>", "<|im_sep|>", "<|im_end|>"},
     "<|im_start|>system<|im_sep|>Be brief.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>"
     "<|im_start|>assistant<|im_sep|>Yes?<|im_end|><|im_start|>user<|im_sep|>Why?<|im_end|>"
     "<|im_start|>assistant<|im_sep|>"},
    {"llama3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     "<s><start_of_turn>user\nBe "
     "brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
     "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"},
    {"mistral",
     {"[INST]", "[/INST]", "[TOOL_CALLS]"},
     "<s>[INST]Hi[/INST]Yes?</s>[INST]Be brief.\n\nWhy?[/INST]"},
    {"phi3",
     {"<|user|>", "<|assistant|>", "<|end|>"},
     "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYes?<|end|>\n"
     "<|user|>\nWhy?<|end|>\n<|assistant|>\n"},
    {"deepseek",
     {"<｜User｜>", "<｜Assistant｜>"},
     "<s>Be brief.<｜User｜>Hi<｜Assistant｜>Yes?</s><｜User｜>Why?<｜Assistant｜>"},
    {"granite",
     {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
     "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n"
     "<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n"
     "<|start_of_role|>assistant<|end_of_role|>Yes?<|end_of_text|>\n"
     "<|start_of_role|>user<|end_of_role|>Why?<|end_of_text|>\n"
     "<|start_of_role|>assistant<|end_of_role|>"},
    {"llama2",
     {NULL},
     "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yes? </s><s>[INST] Why? [/INST]"},
    {"vicuna", {NULL}, "<s>Be brief.\n\nUSER: Hi\nASSISTANT: Yes?</s>\nUSER: Why?\nASSISTANT:"},
    {"zephyr",
     {NULL},
     "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYes?</s>\n<|user|>\nWhy?</s>\n"
     "<|assistant|>\n"},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

static struct vocab *made(const struct family *f)
{
    struct tiny_vocab *t = tiny_bpe();
    t->bos = tiny_add(t, "<s>", TINY_CONTROL, 0);
    t->eos = tiny_add(t, "</s>", TINY_CONTROL, 0);
    for (int i = 0; i < 4 && f->tokens[i]; i++)
        tiny_add(t, f->tokens[i], TINY_CONTROL, 0);
    return tiny_done(t);
}

static struct chat *open_named(const char *name, const struct vocab *v)
{
    struct chat *c;
    struct err e = {0};
    struct gguf_string source = chat_builtin(name);
    assert_non_null(source.text);
    assert_ok(chat_open_source(&c, source, v, &e), &e);
    assert_string_equal(chat_abilities(c).builtin, name);
    return c;
}

static void each_says_what_its_family_says(void **state)
{
    (void)state;
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct family *f = &families[i];
        struct vocab *v = made(f);
        struct chat *c = open_named(f->name, v);
        struct ids l = {0};
        struct err e = {0};
        json_t *messages =
            json_pack("[{ssss} {ssss} {ssss} {ssss}]", "role", "system", "content", "Be brief.",
                      "role", "user", "content", "Hi", "role", "assistant", "content", "Yes?",
                      "role", "user", "content", "Why?");
        struct chat_request r = {.messages = messages, .answer = true};
        size_t n;
        assert_ok(chat_encode(c, &r, &l, NULL, &e), &e);
        char *text = tiny_text(v, &l, &n);
        if (n != strlen(f->text) || memcmp(text, f->text, n))
            fail_msg("%s\n gives: %.*s\n not:   %s", f->name, (int)n, text, f->text);
        free(text);
        ids_free(&l);
        json_decref(messages);
        chat_free(c);
        vocab_free(v);
    }
}

static void a_vocabulary_tells_its_family(void **state)
{
    (void)state;
    for (int i = 0; i < N_FAMILIES; i++) {
        struct vocab *v = made(&families[i]);
        struct chat *c;
        struct err e = {0};
        assert_ok(chat_open(&c, NULL, v, &e), &e);
        if (families[i].tokens[0])
            assert_string_equal(chat_abilities(c).builtin, families[i].name);
        else
            assert_null(c);
        chat_free(c);
        vocab_free(v);
    }
}

// Every one that knows tools shows them, a call and its result.
static void those_with_tools_say_calls_and_results(void **state)
{
    (void)state;
    static const char *const formats[][2] = {{"chatml", "hermes"},
                                             {"llama3", "llama3"},
                                             {"mistral", "mistral"},
                                             {"granite", "granite"},
                                             {"harmony", "harmony"}};
    struct vocab *v = made(&families[N_FAMILIES - 1]);
    json_t *messages =
        json_pack("[{ss ss} {ss sn s[{ss ss s{ss ss}}]} {ss ss ss}]", "role", "user", "content",
                  "Look!", "role", "assistant", "content", "tool_calls", "id", "abcdefgh1", "type",
                  "function", "function", "name", "look", "arguments", "{\"city\": \"Hanoi\"}",
                  "role", "tool", "tool_call_id", "abcdefgh1", "content", "It rains.");
    json_t *tools = json_pack("[{ss s{ss ss s{ss}}}]", "type", "function", "function", "name",
                              "look", "description", "says", "parameters", "type", "object");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct chat *c = open_named(formats[i][0], v);
        struct chat_request r = {.messages = messages, .tools = tools, .answer = true};
        struct ids l = {0};
        struct err e = {0};
        size_t n;
        assert_string_equal(chat_abilities(c).format, formats[i][1]);
        assert_true(chat_abilities(c).tools);
        assert_ok(chat_encode(c, &r, &l, NULL, &e), &e);
        char *text = tiny_text(v, &l, &n);
        static const char *const shown[] = {"look", "says", "{\"city\": \"Hanoi\"}", "It rains."};
        for (size_t k = 0; k < 4; k++)
            if (!memmem(text, n, shown[k], strlen(shown[k])))
                fail_msg("%s has no %s: %.*s", formats[i][0], shown[k], (int)n, text);
        free(text);
        ids_free(&l);
        chat_free(c);
    }
    json_decref(messages);
    json_decref(tools);
    vocab_free(v);
}

static void every_name_has_a_source(void **state)
{
    (void)state;
    size_t n = 0;
    for (; chat_builtin_name(n); n++)
        assert_true(chat_builtin(chat_builtin_name(n)).length > 50);
    assert_int_equal(n, N_FAMILIES + 1); // and harmony, which has the date in it
    assert_null(chat_builtin("none").text);
}

static void turns_that_are_none_are_a_sentence(void **state)
{
    (void)state;
    struct vocab *v = made(&families[0]);
    struct chat *c = open_named("llama2", v);
    json_t *messages = json_pack("[{ssss} {ssss}]", "role", "user", "content", "a", "role", "user",
                                 "content", "b");
    struct ids l = {0};
    struct err e = {0};
    assert_true(chat_encode(c, &(struct chat_request){.messages = messages}, &l, NULL, &e) < 0);
    assert_non_null(
        strstr(e.text, "refuses this conversation: user and assistant must take turns"));
    json_decref(messages);
    chat_free(c);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_says_what_its_family_says),
        cmocka_unit_test(a_vocabulary_tells_its_family),
        cmocka_unit_test(those_with_tools_say_calls_and_results),
        cmocka_unit_test(every_name_has_a_source),
        cmocka_unit_test(turns_that_are_none_are_a_sentence),
    };
    return cmocka_run_group_tests_name("chat_builtin", tests, NULL, NULL);
}
