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

static struct pretokenizer *open_rules(const char *name, const struct split_rules **rules)
{
    struct pretokenizer *p;
    struct err e = {0};
    assert_ok(pretokenizer_new(&p, (struct gguf_string){name, strlen(name)}, rules, &e), &e);
    return p;
}

static void assert_words(const char *name, const char *text, const char *words)
{
    const struct split_rules *rules;
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
    static const char *const names[] = {"gpt-2",  "qwen2",  "llama-bpe", "smollm",  "",
                                        "gpt-4o", "tekken", "qwen35",    "minicpm5"};
    for (int i = 0; i < 9; i++) {
        assert_words(names[i], "", "");
        assert_words(names[i], "one two", "one| two");
        assert_words(names[i], "one  two", "one| | two");
        assert_words(names[i], "one!! (two)", "one|!!| (|two|)");
        assert_words(names[i], "end   ", "end|   ");
        if (i < 5 || i > 6)
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

// Expectations below follow from the published expressions, applied by hand.
static void gpt_4o_keeps_contractions_and_splits_titles(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-4o", "llama4", "kanana2"};
    for (int i = 0; i < 3; i++) {
        assert_words(names[i], "it's we'LL DON'T a'x", "it's| we'LL| DON'T| a|'x");
        assert_words(names[i], "HelloWorld XMLParser", "Hello|World| XMLParser");
        assert_words(names[i], "aB ABc aBC", "a|B| ABc| a|BC");
        assert_words(names[i], "1234567", "123|456|7");
        assert_words(names[i], "a/b http://x\n/\n", "a|/b| http|://|x|\n|/\n");
        assert_words(names[i], "\xe4\xb8\xad\xe6\x96\x87X", "\xe4\xb8\xad\xe6\x96\x87|X");
        // A mark belongs to the letter in front, or begins a word.
        assert_words(names[i], "e\xcc\x81t\xcc\x81 \xcc\x81", "e\xcc\x81t\xcc\x81| \xcc\x81");
        assert_words(names[i], "\xc3\x84\xc3\xa4\xc3\x84", "\xc3\x84\xc3\xa4|\xc3\x84");
    }
}

static void tekken_takes_digits_alone(void **state)
{
    (void)state;
    assert_words("tekken", "it's 123", "it|'s| |1|2|3");
    assert_words("tekken", "HelloWorld don'T", "Hello|World| don|'T");
    assert_words("tekken", "a!/\r\nb", "a|!/\r\n|b");
    assert_words("tekken", "end  \n  x", "end|  \n| | x");
}

static void marks_go_by_family(void **state)
{
    (void)state;
    assert_words("qwen35",
                 "a\xcc\x81"
                 "b !\xcc\x81",
                 "a\xcc\x81"
                 "b| !|\xcc\x81");
    assert_words("qwen2",
                 "a\xcc\x81"
                 "b",
                 "a|\xcc\x81"
                 "b");
    assert_words("deepseek-v3",
                 "a\xcc\x81"
                 "b",
                 "a\xcc\x81"
                 "b");
}

static void deepseek_cuts_in_several_steps(void **state)
{
    (void)state;
    // Lines, letters with a space in front, punctuation, white space at the end, CJK, digits.
    assert_words("deepseek-llm", "a b\n\nc  d", "a| b|\n|\n|c| | d");
    assert_words("deepseek-llm", "don't 12 x ", "don|'|t| |1|2| x| ");
    assert_words("deepseek-llm", "x!  \n  y", "x|!|  |\n| | y");
    assert_words("deepseek-llm", "\xe4\xb8\xad\xe3\x80\x82\xe6\x96\x87 1",
                 "\xe4\xb8\xad|\xe3\x80\x82|\xe6\x96\x87| |1");
    assert_words("deepseek-coder", "a_b 12;\n", "a|_|b| |1|2|;|\n");
    assert_words("deepseek-coder", "x = y+1", "x| =| y|+|1"); // symbols are no punctuation
    assert_words("deepseek-v3", "a 1234 b", "a| |123|4| b");
    assert_words("deepseek-v3", "it's .x !!\n\n", "it|'s| .|x| !!\n\n");
    assert_words("deepseek-v3", "\xe4\xb8\xad\xe6\x96\x87\xe3\x81\x82x",
                 "\xe4\xb8\xad\xe6\x96\x87\xe3\x81\x82|x");
    assert_words("deepseek-v3", "a  \n b   ", "a|  \n| b|   ");
    assert_words("deepseek-v3", "\x01\x01 a", "\x01\x01| a");
}

static void falcon_splits_threes_behind_gpt_2(void **state)
{
    (void)state;
    assert_words("falcon", "it's 12345!?", "it|'|s| |123|45|!?");
    assert_words("default", "it's 12345!?", "it|'|s| |123|45|!?");
    assert_words("falcon", "a`b a1234", "a|`|b| a|123|4");
    assert_words("default", "a `b", "a| `|b");
}

static void other_families_have_rules_of_their_own(void **state)
{
    (void)state;
    assert_words("seed-coder", "a!!\n\nb12", "a|!!|\n\n|b|1|2");
    assert_words("qwen2", "a!!\n\nb12", "a|!!\n\n|b|1|2");
    assert_words("bailingmoe", "a\n\n b", "a|\n\n| b");
    assert_words("minicpm5", "a1234 5", "a|123|4| |5");
    assert_words("bloom", "one two, (x) 12", "one| two|, (|x|)| 12");
    assert_words("viking", "one 12, 3", "one| |1|2|,| |3");
    assert_words("glm4", "it's 1234", "it|'s| |123|4");
    assert_words("deepseek-r1-qwen", "it's 12", "it|'s| |1|2");
    assert_words("refact", "a  12", "a|  |1|2");
}

static void numbers_are_cut_from_their_ends(void **state)
{
    (void)state;
    assert_words("superbpe", "over 1234567 words", "over |1|234|567| words");
    assert_words("superbpe", "123456", "123|456");
    assert_words("superbpe", "a12b1234", "a|12|b|1|234");
    assert_words("superbpe", "\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4",
                 "\xd9\xa1|\xd9\xa2\xd9\xa3\xd9\xa4");
    assert_words("superbpe",
                 "\xc2\xbd"
                 "12\xc2\xbd"
                 "1234",
                 "\xc2\xbd"
                 "12\xc2\xbd"
                 "1|234");
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
    const struct split_rules *rules;
    struct pretokenizer *p = open_rules("qwen2", &rules);
    struct collected c = {.stop_after = 2};
    assert_int_equal(pretokenize(p, "a b c", 5, collect, &c, NULL), 77);
    assert_string_equal(c.text, "a| b");
    pretokenizer_free(p);
}

static void unknown_rules_are_refused_by_name(void **state)
{
    (void)state;
    const struct split_rules *rules;
    struct pretokenizer *p;
    struct err e = {0};
    static const char name[] = "klingon\n";
    assert_int_equal(pretokenizer_new(&p, (struct gguf_string){name, 8}, &rules, &e), ERR_FAILED);
    assert_null(p);
    assert_non_null(strstr(e.text, "'klingon?'"));
    pretokenizer_free(NULL);
}

static const char *first_name(const struct split_rules *r)
{
    static char name[64];
    size_t n = strcspn(r->names, " ");
    assert_true(n < sizeof name);
    memcpy(name, r->names, n);
    name[n] = 0;
    return name;
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
    static const char *const runs[] = {" ",
                                       "a",
                                       "ab",
                                       "1",
                                       "!",
                                       "\n",
                                       " \n",
                                       "\t",
                                       " a",
                                       "'",
                                       "'s",
                                       "\xe2\x80\x83",
                                       "\xff",
                                       "\xff ",
                                       "\xc3\xa4",
                                       "A",
                                       "aA",
                                       "\xcc\x81",
                                       "a\xcc\x81",
                                       "\xe4\xb8\xad",
                                       "\xe4\xb8\xadX",
                                       "\x01",
                                       " 1",
                                       "\xc2\xbd",
                                       "  \x01",
                                       "/",
                                       "\r\n"};
    size_t n = 1 << 18;
    char *text = malloc(n);
    const struct split_rules *rule;
    for (size_t k = 0; (rule = split_rules_at(k)); k++)
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
            size_t length = strlen(runs[i]), total[2] = {0};
            for (size_t at = 0; at < n; at++)
                text[at] = runs[i][at % length];
            text[n - 1] = i % 2 ? 'x' : text[n - 1];
            const struct split_rules *rules;
            struct pretokenizer *p = open_rules(first_name(rule), &rules);
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
        cmocka_unit_test(gpt_4o_keeps_contractions_and_splits_titles),
        cmocka_unit_test(tekken_takes_digits_alone),
        cmocka_unit_test(marks_go_by_family),
        cmocka_unit_test(deepseek_cuts_in_several_steps),
        cmocka_unit_test(falcon_splits_threes_behind_gpt_2),
        cmocka_unit_test(other_families_have_rules_of_their_own),
        cmocka_unit_test(numbers_are_cut_from_their_ends),
        cmocka_unit_test(lines_end_words),
        cmocka_unit_test(white_space_is_unicodes),
        cmocka_unit_test(bytes_that_are_not_utf8_are_words),
        cmocka_unit_test(the_receiver_can_stop),
        cmocka_unit_test(unknown_rules_are_refused_by_name),
        cmocka_unit_test(long_runs_are_linear),
    };
    return cmocka_run_group_tests_name("pretokenize", tests, NULL, NULL);
}
