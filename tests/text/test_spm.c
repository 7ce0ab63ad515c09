// SentencePiece vocabularies: merging by score, spaces, bytes, what is unknown.
#include "support.h"

#include "base/rng.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

#define SP "\xe2\x96\x81" // U+2581

enum { UNK, BOS, EOS, BYTE_0 }; // of tiny_spm

static struct vocab *hello(void)
{
    struct tiny_vocab *t = tiny_spm();
    static const char *const pieces[] = {SP, "h", "e", "l", "o"}; // 259 ..
    for (int i = 0; i < 5; i++)
        tiny_add(t, pieces[i], TINY_NORMAL, (float)(-100 - i));
    tiny_add(t, "el", TINY_NORMAL, -3);         // 264
    tiny_add(t, "lo", TINY_NORMAL, -2);         // 265
    tiny_add(t, "he", TINY_NORMAL, -1);         // 266
    tiny_add(t, SP "hel", TINY_NORMAL, -4);     // 267
    tiny_add(t, SP "he", TINY_NORMAL, -5);      // 268
    tiny_add(t, SP "hello", TINY_NORMAL, -1.5); // 269
    tiny_add(t, SP SP, TINY_NORMAL, -50);       // 270
    return tiny_done(t);
}

static void the_best_score_merges_first(void **state)
{
    (void)state;
    struct vocab *v = hello();
    ASSERT_IDS(v, "hello", 0, 269);         // by he, lo, _he, _hel
    ASSERT_IDS(v, "helo", 0, 268, 265);     // he and lo go before el
    ASSERT_IDS(v, "elo", 0, 259, 261, 265); // so does lo here
    ASSERT_IDS(v, "hel", 0, 267);
    ASSERT_IDS(v, "ell", 0, 259, 264, 262);
    vocab_free(v);
}

static void of_equal_scores_the_leftmost_merges(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->add_space_prefix = 0;
    int a = tiny_add(t, "a", TINY_NORMAL, -10), aa = tiny_add(t, "aa", TINY_NORMAL, -0.0f);
    tiny_add(t, "b", TINY_NORMAL, -10);
    int ab = tiny_add(t, "ab", TINY_NORMAL, 0.0f); // equal to -0
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "aaa", 0, aa, a);
    ASSERT_IDS(v, "aab", 0, aa, a + 2);
    ASSERT_IDS(v, "bab", 0, a + 2, ab);
    vocab_free(v);
}

static void spaces_stand_in_front_of_words(void **state)
{
    (void)state;
    struct vocab *v = hello();
    ASSERT_IDS(v, "", 0, );
    ASSERT_IDS(v, " ", 0, 270);
    ASSERT_IDS(v, "  ", 0, 270, 259);
    ASSERT_IDS(v, SP, 0, 270); // the character itself is a space
    ASSERT_IDS(v, "he he", 0, 268, 268);
    ASSERT_IDS(v, "he  he", 0, 268, 259, 268);
    vocab_free(v);
}

static void bos_and_eos_are_added_where_the_model_says(void **state)
{
    (void)state;
    struct vocab *v = hello(); // SentencePiece's defaults: bos, no eos
    assert_true(vocab_adds_bos(v));
    ASSERT_IDS(v, "he", ENCODE_SPECIAL, BOS, 268);
    ASSERT_IDS(v, "", ENCODE_SPECIAL, BOS);
    vocab_free(v);
    struct tiny_vocab *t = tiny_spm();
    t->add_bos = 0, t->add_eos = 1, t->add_space_prefix = 0;
    v = tiny_done(t);
    assert_false(vocab_adds_bos(v));
    ASSERT_IDS(v, "\n", ENCODE_SPECIAL, BYTE_0 + '\n', EOS);
    ASSERT_IDS(v, "\n", 0, BYTE_0 + '\n');
    vocab_free(v);
}

static void unknown_characters_become_their_bytes(void **state)
{
    (void)state;
    struct vocab *v = hello();
    ASSERT_IDS(v, "he\xc3\xa4", 0, 268, BYTE_0 + 0xc3, BYTE_0 + 0xa4);
    ASSERT_IDS(v,
               "he\xff"
               "he",
               0, 268, BYTE_0 + 0xff, 266);
    ASSERT_IDS(v, "\xe2\x82he", 0, 259, BYTE_0 + 0xe2, BYTE_0 + 0x82, 266); // cut short
    vocab_free(v);
}

static void without_byte_tokens_an_unknown_character_is_unk(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    for (int i = BYTE_0; i < BYTE_0 + 256; i++)
        t->type[i] = TINY_UNUSED;
    int space = tiny_add(t, SP, TINY_NORMAL, -1);
    int a = tiny_add(t, "a", TINY_NORMAL, -2);
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v,
               "a\xc3\xa4"
               "a?",
               0, space, a, UNK, a, UNK);
    vocab_free(v);
    t->unk = UINT32_MAX; // the file says: none
    struct ids l = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    assert_int_equal(vocab_encode(v, "aa?", 3, 0, &l, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "byte 0x3F"));
    assert_int_equal(l.n, 0); // nothing is left of the failed call
    ids_free(&l);
    vocab_free(v);
    tiny_free(t);
}

static void text_never_becomes_control_unknown_or_byte_tokens(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->add_space_prefix = 0;
    static const char *const parts[] = {"<", "s",  ">",  "s>",  "/",    "</",  "u",
                                        "n", "k",  "un", "unk", "unk>", "0",   "x",
                                        "A", "0x", "0A", "0x0", "A>",   "<0x0"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        tiny_add(t, parts[i], TINY_NORMAL, -(float)i);
    struct vocab *v = tiny_done(t);
    static const char *const texts[] = {"<s>", "</s>", "<unk>", "<0x0A>"};
    for (size_t i = 0; i < 4; i++) {
        struct ids l = {0};
        struct err e = {0};
        assert_ok(vocab_encode(v, texts[i], strlen(texts[i]), 0, &l, &e), &e);
        assert_true(l.n >= 2);
        for (size_t j = 0; j < l.n; j++)
            assert_true(l.id[j] >= BYTE_0 + 256);
        ids_free(&l);
    }
    ASSERT_IDS(v, "<s>", ENCODE_CONTROL, BOS);
    ASSERT_IDS(v, "<unk>", ENCODE_CONTROL, UNK);
    ASSERT_IDS(v, "\n</s>", ENCODE_CONTROL, BYTE_0 + '\n', EOS);
    vocab_free(v);
}

static void without_types_the_texts_tell(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->n_types = TINY_ABSENT;
    t->add_space_prefix = 0;
    int less = tiny_add(t, "<s", TINY_NORMAL, 0);
    tiny_add(t, "<", TINY_NORMAL, 0);
    tiny_add(t, "s", TINY_NORMAL, 0);
    int more = tiny_add(t, ">", TINY_NORMAL, 0);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "\n", 0, BYTE_0 + '\n');
    ASSERT_IDS(v, "<s>", 0, less, more);
    assert_true(vocab_is_control(v, BOS) && vocab_is_control(v, EOS) && vocab_is_end(v, EOS));
    vocab_free(v);
}

// The definition, without a heap: look at all pairs, merge the best, begin again.
static int slow_merge(const struct tiny_vocab *t, const char *text, int n, int32_t *out)
{
    int at[65];
    for (int i = 0; i <= n; i++)
        at[i] = i;
    for (;;) {
        int best = -1, best_token = -1;
        for (int i = 0; i + 1 < n; i++)
            for (int k = BYTE_0 + 256; k < t->n; k++)
                if ((int)t->token[k].length == at[i + 2] - at[i] &&
                    !memcmp(t->token[k].text, text + at[i], t->token[k].length) &&
                    (best < 0 || t->score[k] > t->score[best_token]))
                    best = i, best_token = k;
        if (best < 0)
            break;
        n--;
        memmove(&at[best + 1], &at[best + 2], (size_t)(n - best) * sizeof *at);
    }
    for (int i = 0; i < n; i++)
        for (int k = BYTE_0 + 256; k < t->n; k++)
            if ((int)t->token[k].length == at[i + 1] - at[i] &&
                !memcmp(t->token[k].text, text + at[i], t->token[k].length))
                out[i] = k;
    return n;
}

static void merging_is_what_its_definition_says(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 11);
    for (int round = 0; round < 20; round++) {
        struct tiny_vocab *t = tiny_spm();
        t->add_space_prefix = 0;
        for (char c = 'a'; c <= 'c'; c++)
            tiny_add(t, (char[]){c, 0}, TINY_NORMAL, -99);
        for (int i = 0; i < 40; i++) { // texts of 2 to 6 letters, scores with many equals
            char text[7] = {0};
            size_t n = 2 + rng_below(&r, 5);
            for (size_t j = 0; j < n; j++)
                text[j] = (char)('a' + rng_below(&r, 3));
            bool twice = false;
            for (int k = 0; k < t->n; k++)
                twice |= !strcmp(t->token[k].text, text);
            if (!twice)
                tiny_add(t, text, TINY_NORMAL, (float)rng_below(&r, 8) - 4);
        }
        struct vocab *v;
        struct err e = {0};
        assert_ok(tiny_open(t, &v, &e), &e);
        for (int i = 0; i < 200; i++) {
            char text[65] = {0};
            int32_t ids[64];
            int n = 1 + (int)rng_below(&r, 64);
            for (int j = 0; j < n; j++)
                text[j] = (char)('a' + rng_below(&r, 3));
            int n_ids = slow_merge(t, text, n, ids);
            assert_ids(v, text, 0, n_ids, ids);
        }
        vocab_free(v);
        tiny_free(t);
    }
}

static void words_with_inner_spaces_still_merge(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->add_space_prefix = 0;
    tiny_add(t, "a", TINY_NORMAL, -9);
    tiny_add(t, SP, TINY_NORMAL, -9);
    tiny_add(t, SP "a", TINY_NORMAL, -1);
    int id = tiny_add(t, "a" SP "a", TINY_NORMAL, -2);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "a a", 0, id);
    ASSERT_IDS(v, "a aa", 0, id, 259);
    vocab_free(v);
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    struct vocab *v = hello();
    struct rng r;
    rng_init(&r, 3);
    for (int i = 0; i < 300; i++) {
        char text[200];
        size_t n = rng_below(&r, sizeof text) + 1, m;
        for (size_t j = 0; j < n; j++) // mostly letters and spaces, the rest anything
            text[j] = rng_below(&r, 4) ? " helo"[rng_below(&r, 5)] : (char)rng_u64(&r);
        struct ids l = {0};
        struct err e = {0};
        assert_ok(vocab_encode(v, text, n, 0, &l, &e), &e);
        char *back = tiny_text(v, &l, &m);
        assert_int_equal(m, n + 1); // the space in front
        assert_memory_equal(back + 1, text, n);
        free(back);
        ids_free(&l);
    }
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_score_merges_first),
        cmocka_unit_test(of_equal_scores_the_leftmost_merges),
        cmocka_unit_test(spaces_stand_in_front_of_words),
        cmocka_unit_test(bos_and_eos_are_added_where_the_model_says),
        cmocka_unit_test(unknown_characters_become_their_bytes),
        cmocka_unit_test(without_byte_tokens_an_unknown_character_is_unk),
        cmocka_unit_test(text_never_becomes_control_unknown_or_byte_tokens),
        cmocka_unit_test(without_types_the_texts_tell),
        cmocka_unit_test(merging_is_what_its_definition_says),
        cmocka_unit_test(words_with_inner_spaces_still_merge),
        cmocka_unit_test(any_bytes_come_back),
    };
    return cmocka_run_group_tests_name("spm", tests, NULL, NULL);
}
