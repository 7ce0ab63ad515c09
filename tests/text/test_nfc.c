// Normal form C: what composes, what stays, and that marks cost no more than they should.
#include "support.h"

#include "text/nfc.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

static void assert_nfc(const char *text, const char *expected)
{
    size_t n;
    char *got = nfc_new(text, strlen(text), &n);
    assert_non_null(got);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(got, expected, n);
    free(got);
}

static void letters_and_marks_compose(void **state)
{
    (void)state;
    assert_nfc("", "");
    assert_nfc("plain", "plain");
    assert_nfc("cafe\xcc\x81!", "caf\xc3\xa9!");
    assert_nfc("e\xcc\x81", "\xc3\xa9");
    assert_nfc("o\xcc\x88\xcc\x84x", "\xc8\xabx");                      // two marks
    assert_nfc("q\xcc\xa3\xcc\x87", "q\xcc\xa3\xcc\x87");               // in order
    assert_nfc("q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87");               // out of order
    assert_nfc("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"); // Hangul
    assert_nfc("\xe2\x84\xab \xe2\x84\xa6", "\xc3\x85 \xce\xa9");       // Angstrom, Ohm
    assert_nfc("\xef\xac\x81 \xe4\xb8\xad\xc3\xa9", "\xef\xac\x81 \xe4\xb8\xad\xc3\xa9");
    assert_nfc("\xc3\xbc\xcc\x84", "\xc7\x96"); // a composed letter and a mark
}

static void bytes_that_are_not_utf8_stay(void **state)
{
    (void)state;
    assert_nfc("\xff", "\xff");
    assert_nfc("a\xff\xcc\x81", "a\xff\xcc\x81"); // nothing composes over it
    assert_nfc("e\xcc\x81\xe2\x82", "\xc3\xa9\xe2\x82");
    assert_nfc("\xc3", "\xc3");
    size_t n;
    char *got = nfc_new("e\0e\xcc\x81", 5, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(got, "e\0\xc3\xa9", 4);
    free(got);
}

// Two marks in turn, out of order: sorting a megabyte of them would take the square of it.
static void endless_marks_are_left_alone(void **state)
{
    (void)state;
    size_t n = 1 << 20, n_out;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i += 4)
        memcpy(text + i, "\xcc\x87\xcc\xa3", 4);
    char *got = nfc_new(text, n, &n_out);
    assert_int_equal(n_out, n);
    assert_memory_equal(got, text, n);
    free(got);
    free(text);
}

static void families_that_compose_do(void **state)
{
    (void)state;
    static const struct {
        const char *pre;
        bool composes;
    } cases[] = {{"command-r", true}, {"olmo", true}, {"gpt-2", false}, {"qwen2", false}};
    for (int i = 0; i < 4; i++) {
        struct tiny_vocab *t = tiny_bpe();
        t->pre = cases[i].pre;
        int32_t whole = tiny_merge(t, "\xc3", "\xa9"); // the token of U+00E9
        struct vocab *v = tiny_done(t);
        if (cases[i].composes)
            ASSERT_IDS(v, "e\xcc\x81", 0, whole);
        else
            ASSERT_IDS(v, "e\xcc\x81", 0, 'e', 0xcc, 0x81);
        vocab_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_and_marks_compose),
        cmocka_unit_test(bytes_that_are_not_utf8_stay),
        cmocka_unit_test(endless_marks_are_left_alone),
        cmocka_unit_test(families_that_compose_do),
    };
    return cmocka_run_group_tests_name("nfc", tests, NULL, NULL);
}
