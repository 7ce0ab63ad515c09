// Byte-level vocabularies: the order of merges, whole words, bytes without a token.
#include "support.h"

#include "base/rng.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

// Token i of tiny_bpe is byte i.

static void the_first_line_merges_first(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int bc = tiny_merge(t, "b", "c"), ab = tiny_merge(t, "a", "b");
    int abc = tiny_merge(t, "ab", "c"), aa = tiny_merge(t, "a", "a");
    tiny_merge(t, "b", "c"); // again, later: the first line counts
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "abc", 0, 'a', bc);
    ASSERT_IDS(v, "abb", 0, ab, 'b');
    ASSERT_IDS(v, "abab", 0, ab, ab);
    ASSERT_IDS(v, "aaa", 0, aa, 'a'); // leftmost
    assert_int_equal(vocab_find(v, "abc"), abc);
    ASSERT_IDS(v, "", 0, );
    vocab_free(v);
}

static void merges_stay_within_words(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int a_ = tiny_merge(t, " ", "a"), aa = tiny_merge(t, "a", "a"), bang = tiny_merge(t, "a", "!");
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "a a", 0, 'a', a_);
    ASSERT_IDS(v, " aaa!", 0, a_, aa, '!');
    assert_int_equal(bang, vocab_find(v, "a!"));
    vocab_free(v);
}

static void whole_words_need_no_merges_where_the_family_says(void **state)
{
    (void)state;
    for (int llama = 0; llama < 2; llama++) {
        struct tiny_vocab *t = tiny_bpe();
        t->pre = llama ? "llama-bpe" : "qwen2";
        t->bos = tiny_add(t, "<begin>", TINY_CONTROL, 0);
        int ab = tiny_merge(t, "a", "b");
        int abc = tiny_add(t, "abc", TINY_NORMAL, 0); // no merge leads there
        struct vocab *v = tiny_done(t);
        assert_int_equal(vocab_adds_bos(v), llama);
        if (llama) {
            ASSERT_IDS(v, "abc", ENCODE_SPECIAL, ab - 1, abc);
        } else {
            ASSERT_IDS(v, "abc", ENCODE_SPECIAL, ab, 'c');
        }
        vocab_free(v);
    }
}

static void bytes_without_a_token_are_unk_or_an_error(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    t->type['x'] = TINY_CONTROL; // no longer a piece of text
    t->eos = 'x';
    struct vocab *v;
    struct err e = {0};
    struct ids l = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "ay", 0, 'a', 'y');
    assert_int_equal(vocab_encode(v, "ax", 2, 0, &l, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "byte 0x78"));
    assert_int_equal(l.n, 0);
    ids_free(&l);
    vocab_free(v);
    t->unk = tiny_add(t, "<unk>", TINY_UNKNOWN, 0);
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "ax", 0, 'a', 256);
    vocab_free(v);
    tiny_free(t);
}

static void a_byte_may_have_a_user_defined_token(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    t->type[0xf8] = TINY_USER;
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "\xf8", 0, 0xf8);
    ASSERT_IDS(v, "\xc3\xb8", 0, 0xf8); // its text as it stands in the file
    vocab_free(v);
}

static void merges_that_name_no_tokens_are_ignored(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    static const char *const lines[] = {"a zz", "zz a",  "x y",       "",
                                        " ",    "a",     "a ",        " a",
                                        "  ",   "a b c", "\xff \xff", "\xe4\xbd\xa0 a"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        tiny_merge_line(t, lines[i]);
    char line[3000];
    memset(line, 'a', sizeof line);
    line[1500] = ' ';
    line[2999] = 0;
    tiny_merge_line(t, line);
    int ab = tiny_merge(t, "a", "b");
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "abxy", 0, ab, 'x', 'y');
    vocab_free(v);
}

// The definition, without a heap: the first line of all that applies, at its leftmost place.
static int slow_merge(char left[][8], char right[][8], int n_merges, const char *word,
                      char out[64][65])
{
    int n = (int)strlen(word);
    for (int i = 0; i < n; i++)
        memcpy(out[i], (char[]){word[i], 0}, 2);
    for (;;) {
        int at = -1;
        for (int m = 0; m < n_merges && at < 0; m++)
            for (int i = 0; i + 1 < n && at < 0; i++)
                if (!strcmp(out[i], left[m]) && !strcmp(out[i + 1], right[m]))
                    at = i;
        if (at < 0)
            return n;
        memmove(out[at] + strlen(out[at]), out[at + 1], strlen(out[at + 1]) + 1);
        n--;
        memmove(out[at + 1], out[at + 2], (size_t)(n - at - 1) * sizeof out[0]);
    }
}

static void merging_is_what_its_definition_says(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    for (int round = 0; round < 20; round++) {
        struct tiny_vocab *t = tiny_bpe();
        char left[30][8] = {0}, right[30][8] = {0}, known[33][8] = {"a", "b", "c"};
        for (int i = 0; i < 30; i++) { // of pieces that exist, at most 7 letters
            const char *x, *y;
            do {
                x = known[rng_below(&r, (uint64_t)i + 3)];
                y = known[rng_below(&r, (uint64_t)i + 3)];
            } while (strlen(x) + strlen(y) > 7);
            memcpy(left[i], x, 8);
            memcpy(right[i], y, 8);
            memcpy(known[i + 3], left[i], 8);
            memcpy(known[i + 3] + strlen(left[i]), right[i], strlen(right[i]) + 1);
            tiny_merge(t, left[i], right[i]);
        }
        struct vocab *v = tiny_done(t);
        for (int i = 0; i < 200; i++) {
            char word[65] = {0}, parts[64][65];
            int32_t ids[64];
            int n = 1 + (int)rng_below(&r, 64);
            for (int j = 0; j < n; j++)
                word[j] = (char)('a' + rng_below(&r, 3));
            n = slow_merge(left, right, 30, word, parts);
            for (int j = 0; j < n; j++)
                ids[j] = vocab_find(v, parts[j]);
            assert_ids(v, word, 0, n, ids);
        }
        vocab_free(v);
    }
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    static const char *const splits[] = {"gpt-2", "qwen2", "llama-bpe", "smollm"};
    for (int k = 0; k < 4; k++) {
        struct tiny_vocab *t = tiny_bpe();
        t->pre = splits[k];
        tiny_merge(t, " ", "a");
        tiny_merge(t, " ", " ");
        tiny_merge(t, "\xc3", "\xa4");
        tiny_merge(t, "\n", "\n");
        struct vocab *v = tiny_done(t);
        struct rng r;
        rng_init(&r, 9);
        for (int i = 0; i < 200; i++) {
            static const char some[] = " a1\n'\t!s\xc3\xa4\xe2\x80\x83";
            char text[200];
            size_t n = rng_below(&r, sizeof text) + 1, m;
            for (size_t j = 0; j < n; j++)
                text[j] =
                    rng_below(&r, 8) ? some[rng_below(&r, sizeof some - 1)] : (char)rng_u64(&r);
            struct ids l = {0};
            struct err e = {0};
            assert_ok(vocab_encode(v, text, n, 0, &l, &e), &e);
            char *back = tiny_text(v, &l, &m);
            assert_int_equal(m, n);
            assert_memory_equal(back, text, n);
            free(back);
            ids_free(&l);
        }
        vocab_free(v);
    }
}

// Long texts remember their words: that must not change what they become.
static void a_long_text_is_its_words(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    tiny_merge(t, "a", "b");
    tiny_merge(t, " ", "c");
    tiny_merge(t, " c", "ab");
    struct vocab *v = tiny_done(t);
    struct rng r;
    struct ids whole = {0}, words = {0};
    struct err e = {0};
    char text[20000];
    size_t n = 0;
    rng_init(&r, 1);
    while (n < sizeof text - 16) {
        char word[16] = " ";
        size_t length = 2 + rng_below(&r, 5);
        for (size_t i = 1; i < length; i++)
            word[i] = (char)('a' + rng_below(&r, 3));
        assert_ok(vocab_encode(v, word, length, 0, &words, &e), &e); // too short for a table
        memcpy(text + n, word, length);
        n += length;
    }
    assert_ok(vocab_encode(v, text, n, 0, &whole, &e), &e);
    assert_int_equal(whole.n, words.n);
    assert_memory_equal(whole.id, words.id, words.n * sizeof *words.id);
    ids_free(&whole);
    ids_free(&words);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_merges_first),
        cmocka_unit_test(merges_stay_within_words),
        cmocka_unit_test(whole_words_need_no_merges_where_the_family_says),
        cmocka_unit_test(bytes_without_a_token_are_unk_or_an_error),
        cmocka_unit_test(a_byte_may_have_a_user_defined_token),
        cmocka_unit_test(merges_that_name_no_tokens_are_ignored),
        cmocka_unit_test(merging_is_what_its_definition_says),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(a_long_text_is_its_words),
    };
    return cmocka_run_group_tests_name("bpe", tests, NULL, NULL);
}
