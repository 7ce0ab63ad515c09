// Splitting into words: each family's rules, white space of all kinds, bytes that are not UTF-8.
#include "support.h"

#include "text/pretokenize.h"

#include <stdlib.h>
#include <string.h>

struct collected {
    char text[4096]; // words with '|' between them
    int n, stop_after;
};

static int collect(void *arg, const char *word, size_t n)
{
    struct collected *c = arg;
    if (c->n++)
        strcat(c->text, "|");
    strncat(c->text, word, n);
    return c->n == c->stop_after ? 77 : 0;
}

static struct pretokenizer *open_rules(const char *name, struct pretokenize_rules *rules)
{
    struct pretokenizer *p;
    struct err e = {0};
    assert_ok(pretokenizer_new(&p, (struct gguf_string){name, strlen(name)}, rules, &e), &e);
    return p;
}

static void assert_words(const char *name, const char *text, const char *words)
{
    struct pretokenize_rules rules;
    struct pretokenizer *p = open_rules(name, &rules);
    struct collected c = {0};
    struct err e = {0};
    assert_ok(pretokenize(p, text, strlen(text), collect, &c, &e), &e);
    assert_string_equal(c.text, words);
    pretokenizer_free(p);
}

static void words_take_the_space_in_front(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "qwen2", "llama-bpe", "smollm", "default", ""};
    for (int i = 0; i < 6; i++) {
        assert_words(names[i], "", "");
        assert_words(names[i], "one two", "one| two");
        assert_words(names[i], "one  two", "one| | two");
        assert_words(names[i], "one!! (two)", "one|!!| (|two|)");
        assert_words(names[i], "end   ", "end|   ");
        assert_words(names[i], "it's we'll", "it|'s| we|'ll");
        assert_words(names[i], "\xc3\x84pfel \xe4\xb8\xad\xe6\x96\x87",
                     "\xc3\x84pfel| \xe4\xb8\xad\xe6\x96\x87");
    }
}

static void digits_go_by_family(void **state)
{
    (void)state;
    assert_words("llama-bpe", "a 12345 6", "a| |123|45| |6");
    assert_words("qwen2", "a 123 6", "a| |1|2|3| |6");
    assert_words("gpt-2", "a 123 6", "a| 123| 6");
    assert_words("smollm", "a  12", "a|  |1|2"); // the spaces are not cut apart
    assert_words("gpt-2", "a  12", "a| | 12");
    assert_words("qwen2", "\xd9\xa1\xc2\xbd", "\xd9\xa1|\xc2\xbd"); // Arabic one, a half
}

static void contractions_go_by_family(void **state)
{
    (void)state;
    assert_words("gpt-2", "IT'S", "IT|'|S");
    assert_words("qwen2", "IT'S we'LL", "IT|'S| we|'LL");
    assert_words("llama-bpe", "you'Re x'dx", "you|'Re| x|'d|x");
    assert_words("qwen2", "a'\xc5\xbf", "a|'\xc5\xbf"); // U+017F is no s
    assert_words("qwen2", "(word) ,word", "(word|)| ,|word");
    assert_words("gpt-2", "(word)", "(|word|)");
}

static void lines_end_words(void **state)
{
    (void)state;
    assert_words("qwen2", "a.\n\nb", "a|.\n\n|b");
    assert_words("gpt-2", "a.\n\nb", "a|.|\n|\n|b");
    assert_words("qwen2", "a \n \n  b", "a| \n \n| | b");
    assert_words("llama-bpe", "x\r\n\ty", "x|\r\n|\ty");
    assert_words("gpt-2", "x\r\n\ty", "x|\r\n|\t|y");
}

static void white_space_is_unicodes(void **state)
{
    (void)state;
    assert_words("qwen2", "a\xe2\x80\x83\xe2\x80\x83!", "a|\xe2\x80\x83|\xe2\x80\x83|!"); // U+2003
    assert_words("qwen2", "a\xc2\x85\xc2\x85", "a|\xc2\x85\xc2\x85");                     // U+0085
    assert_words("qwen2", "\xe1\xa0\x8e\xe1\xa0\x8e!", "\xe1\xa0\x8e\xe1\xa0\x8e!");      // U+180E
    assert_words("qwen2", "a\x1f\x1f", "a|\x1f\x1f");
    assert_words("qwen2", " \x1f", " \x1f"); // no white space: takes the space in front
}

static void bytes_that_are_not_utf8_are_words(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "qwen2", "llama-bpe", "smollm"};
    for (int i = 0; i < 4; i++) {
        assert_words(names[i],
                     "ab\xff\xfe"
                     "cd",
                     "ab|\xff\xfe|cd");
        assert_words(names[i], "\x80", "\x80");
        assert_words(names[i], "a\xc3", "a|\xc3");
        assert_words(names[i], "a\xe2\x82 b", "a|\xe2\x82| b");
        assert_words(names[i], "\xed\xa0\x80\xf5", "\xed\xa0\x80\xf5"); // a surrogate
        assert_words(names[i], "\xc0\xaf.", "\xc0\xaf|.");              // overlong
    }
}

static void the_receiver_can_stop(void **state)
{
    (void)state;
    struct pretokenize_rules rules;
    struct pretokenizer *p = open_rules("qwen2", &rules);
    struct collected c = {.stop_after = 2};
    assert_int_equal(pretokenize(p, "a b c", 5, collect, &c, NULL), 77);
    assert_string_equal(c.text, "a| b");
    pretokenizer_free(p);
}

static void unknown_rules_are_refused_by_name(void **state)
{
    (void)state;
    struct pretokenize_rules rules;
    struct pretokenizer *p;
    struct err e = {0};
    static const char name[] = "klingon\n";
    assert_int_equal(pretokenizer_new(&p, (struct gguf_string){name, 8}, &rules, &e), ERR_FAILED);
    assert_null(p);
    assert_non_null(strstr(e.text, "'klingon?'"));
    pretokenizer_free(NULL);
}

static int count(void *arg, const char *word, size_t n)
{
    (void)word;
    size_t *total = arg;
    total[0] += n;
    total[1]++;
    return 0;
}

// White space that ends in no line feed makes the expressions go back; they must not do so again
// and again.
static void long_runs_are_linear(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "qwen2", "llama-bpe", "smollm"};
    static const char *const runs[] = {" ",    "a",     "ab",      "1", "!",  "\n",
                                       " \n",  "\t",    " a",      "'", "'s", "\xe2\x80\x83",
                                       "\xff", "\xff ", "\xc3\xa4"};
    size_t n = 1 << 20;
    char *text = malloc(n);
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
            size_t length = strlen(runs[i]), total[2] = {0};
            for (size_t at = 0; at < n; at++)
                text[at] = runs[i][at % length];
            text[n - 1] = i % 2 ? 'x' : text[n - 1];
            struct pretokenize_rules rules;
            struct pretokenizer *p = open_rules(names[k], &rules);
            struct err e = {0};
            assert_ok(pretokenize(p, text, n, count, total, &e), &e);
            assert_int_equal(total[0], n);
            pretokenizer_free(p);
        }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_take_the_space_in_front),
        cmocka_unit_test(digits_go_by_family),
        cmocka_unit_test(contractions_go_by_family),
        cmocka_unit_test(lines_end_words),
        cmocka_unit_test(white_space_is_unicodes),
        cmocka_unit_test(bytes_that_are_not_utf8_are_words),
        cmocka_unit_test(the_receiver_can_stop),
        cmocka_unit_test(unknown_rules_are_refused_by_name),
        cmocka_unit_test(long_runs_are_linear),
    };
    return cmocka_run_group_tests_name("pretokenize", tests, NULL, NULL);
}
