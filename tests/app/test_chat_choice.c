// --chat-template: names, files, and what is neither.
#include "support.h"

#include "app/chat_choice.h"
#include "tiny_vocab.h"

#include <string.h>

static void names_and_files_are_templates(void **state)
{
    (void)state;
    static const char source[] = "{{ messages | length }}";
    struct vocab *v = tiny_done(tiny_bpe());
    struct chat *c;
    struct err e = {0};
    assert_ok(chat_choice_open(&c, "llama2", NULL, v, &e), &e);
    assert_string_equal(chat_abilities(c).builtin, "llama2");
    chat_free(c);
    const char *path = test_file("own.jinja");
    test_write(path, source, sizeof source - 1);
    assert_ok(chat_choice_open(&c, path, NULL, v, &e), &e);
    assert_null(chat_abilities(c).builtin);
    chat_free(c);
    assert_ok(chat_choice_open(&c, NULL, NULL, v, &e), &e); // nothing is known of this vocabulary
    assert_null(c);
    vocab_free(v);
}

static void what_is_no_template_is_a_sentence(void **state)
{
    (void)state;
    struct vocab *v = tiny_done(tiny_bpe());
    struct chat *c;
    struct err neither = {0}, broken = {0}, folder = {0};
    assert_int_equal(chat_choice_open(&c, "lama2", NULL, v, &neither), ERR_USAGE);
    assert_non_null(
        strstr(neither.text, "lama2 is neither a file nor a built-in template (harmony"));
    const char *path = test_file("broken.jinja");
    test_write(path, "{% if", 5);
    assert_int_equal(chat_choice_open(&c, path, NULL, v, &broken), ERR_FAILED);
    assert_non_null(strstr(broken.text, "chat template, line 1"));
    assert_int_equal(chat_choice_open(&c, test_folder(), NULL, v, &folder), ERR_FAILED);
    assert_non_null(strstr(folder.text, "cannot read"));
    assert_null(c);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_files_are_templates),
        cmocka_unit_test(what_is_no_template_is_a_sentence),
    };
    return cmocka_run_group_tests_name("chat_choice", tests, NULL, NULL);
}
