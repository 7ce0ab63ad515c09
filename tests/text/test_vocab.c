// Opening vocabularies: what files may leave out, what they get wrong, and texts that are long.
#include "support.h"

#include "tiny_vocab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct tiny_vocab *t, const char *part)
{
    struct vocab *v;
    struct err e = {0};
    assert_int_equal(tiny_open(t, &v, &e), ERR_FAILED);
    assert_null(v);
    if (!strstr(e.text, part))
        fail_msg("'%s' lacks '%s'", e.text, part);
    tiny_free(t);
}

static void damaged_vocabularies_get_a_sentence(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->n_scores = 258;
    refuse(t, "258 scores for 259 tokens");
    t = tiny_spm();
    t->n_types = 1;
    refuse(t, "1 token types for 259 tokens");
    t = tiny_spm();
    t->type[7] = 7;
    refuse(t, "token 7 is of no known type");
    t = tiny_spm();
    t->type[8] = -1;
    refuse(t, "token 8 is of no known type");
    t = tiny_spm();
    t->score[3] = NAN;
    refuse(t, "token 3 has no score");
    t = tiny_spm();
    t->score[4] = INFINITY;
    refuse(t, "token 4 has no score");
    t = tiny_spm();
    t->model = "bert";
    refuse(t, "kind 'bert'");
    t = tiny_spm();
    t->model = NULL;
    refuse(t, "no vocabulary");
    t = tiny_bpe();
    t->no_merges = true;
    refuse(t, "no list of merges");
    t = tiny_bpe();
    t->pre = "martian";
    refuse(t, "'martian'");
    t = tiny_bpe();
    char text[VOCAB_MAX_STORED_BYTES + 2];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    tiny_add(t, text, TINY_NORMAL, 0);
    refuse(t, "token 256 has 1025 bytes");
    t = tiny_spm();
    t->n_scores = t->n_types = TINY_ABSENT;
    int n = t->n;
    t->n = 0;
    struct vocab *v;
    struct err e = {0};
    assert_int_equal(tiny_open(t, &v, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "no list of tokens"));
    t->n = n;
    tiny_free(t);
    vocab_free(NULL);
}

static void ids_that_mean_none_are_none(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->bos = UINT32_MAX;
    t->eos = 259; // one too far
    struct vocab *v = tiny_done(t);
    assert_int_equal(vocab_bos(v), -1);
    assert_int_equal(vocab_eos(v), -1);
    assert_false(vocab_adds_bos(v));
    ASSERT_IDS(v, "", ENCODE_SPECIAL, );
    vocab_free(v);
    t = tiny_bpe(); // says nothing of any
    v = tiny_done(t);
    assert_int_equal(vocab_bos(v), -1);
    assert_int_equal(vocab_eos(v), -1);
    assert_string_equal(vocab_kind(v), "bpe");
    vocab_free(v);
    t = tiny_spm();
    t->bos = t->eos = t->unk = TINY_ABSENT; // SentencePiece's own
    v = tiny_done(t);
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_string_equal(vocab_kind(v), "spm");
    assert_int_equal(vocab_size(v), 259);
    vocab_free(v);
}

static void of_equal_texts_the_last_counts(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->add_space_prefix = 0;
    tiny_add(t, "a", TINY_NORMAL, 0);
    tiny_add(t, "<x>", TINY_USER, 0);
    int a = tiny_add(t, "a", TINY_NORMAL, 0), x = tiny_add(t, "<x>", TINY_USER, 0);
    tiny_add(t, "", TINY_NORMAL, 0);
    tiny_add(t, "", TINY_USER, 0);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "a<x>", 0, a, x);
    assert_int_equal(vocab_find(v, "a"), a);
    assert_int_equal(vocab_find(v, "<x>"), x);
    assert_int_equal(vocab_find(v, ""), -1);
    assert_int_equal(vocab_find(v, "b"), -1);
    assert_memory_equal(vocab_token_text(v, x).text, "<x>", 3);
    vocab_free(v);
}

static void answers_end_at_every_known_end(void **state)
{
    (void)state;
    static const char *const ends[] = {
        "<|im_end|>", "<|eot_id|>",    "<|endoftext|>", "<|end|>",
        "<|eom_id|>", "<end_of_turn>", "<|return|>",    "<\uff5cend\u2581of\u2581sentence\uff5c>"};
    struct tiny_vocab *t = tiny_bpe();
    int id[8];
    for (int i = 0; i < 8; i++) // not even marked as control tokens
        id[i] = tiny_add(t, ends[i], i % 2 ? TINY_USER : TINY_NORMAL, 0);
    int markup = tiny_add(t, "</s>", TINY_USER, 0);
    t->eos = tiny_add(t, "<end>", TINY_CONTROL, 0);
    t->eot = 'z';
    struct vocab *v = tiny_done(t);
    for (int i = 0; i < 8; i++) {
        assert_true(vocab_is_end(v, id[i]) && vocab_is_control(v, id[i]));
        assert_ids(v, ends[i], ENCODE_CONTROL, 1, &id[i]);
        struct ids l = {0};
        struct err e = {0};
        assert_ok(vocab_encode(v, ends[i], strlen(ends[i]), 0, &l, &e), &e);
        assert_int_equal(l.n, strlen(ends[i])); // nobody's words end an answer
        ids_free(&l);
    }
    assert_true(vocab_is_end(v, vocab_eos(v)) && vocab_is_end(v, 'z'));
    assert_false(vocab_is_end(v, markup) || vocab_is_end(v, 'a'));
    vocab_free(v);
    v = tiny_done(tiny_spm());
    assert_true(vocab_is_end(v, 2));
    vocab_free(v);
}

// gpt-oss: an answer may have several messages.
static void a_message_is_not_an_answer(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int end = tiny_add(t, "<|end|>", TINY_CONTROL, 0);
    int done = tiny_add(t, "<|return|>", TINY_CONTROL, 0);
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e); // Phi has no messages
    assert_true(vocab_is_end(v, end));
    vocab_free(v);
    int call = tiny_add(t, "<|call|>", TINY_CONTROL, 0);
    t->eos = done;
    assert_ok(tiny_open(t, &v, &e), &e);
    assert_true(vocab_is_end(v, done) && vocab_is_end(v, call));
    assert_false(vocab_is_end(v, end));
    assert_true(vocab_is_control(v, end));
    vocab_free(v);
    t->eot = end; // the file decides
    v = tiny_done(t);
    assert_true(vocab_is_end(v, end));
    vocab_free(v);
}

static void texts_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct vocab *v = tiny_done(tiny_spm());
    struct ids l = {0};
    struct err e = {0};
    // Never looked at: the length decides.
    assert_int_equal(vocab_encode(v, "", VOCAB_MAX_TEXT_BYTES + 1, 0, &l, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "too long"));
    assert_int_equal(l.n, 0);
    ids_free(&l);
    vocab_free(v);
}

// A megabyte without a border between words is one word: only near-linear work ends here.
static void check_long(const struct vocab *v, const char *run, size_t n, size_t skip)
{
    size_t m;
    char *text = malloc(n);
    struct ids l = {0};
    struct err e = {0};
    for (size_t i = 0; i < n; i++)
        text[i] = run[i % strlen(run)];
    assert_ok(vocab_encode(v, text, n, ENCODE_CONTROL, &l, &e), &e);
    char *back = tiny_text(v, &l, &m);
    assert_int_equal(m, n + skip);
    assert_memory_equal(back + skip, text, n);
    free(back);
    free(text);
    ids_free(&l);
}

static void a_megabyte_without_borders_is_no_problem(void **state)
{
    (void)state;
    static const char *const runs[] = {" ",    "a",    "ab",           "\n",
                                       "abb ", "<<x>", "\xe4\xb8\xad", "\xff"};
    struct tiny_vocab *bpe = tiny_bpe(), *spm = tiny_spm();
    const char *grow[] = {"a", "aa", "aaaa", "aaaaaaaa"}, *ab[] = {"ab", "abab"};
    const char *spaces[] = {" ", "  ", "    "};
    for (int i = 0; i < 3; i++)
        tiny_merge(bpe, spaces[i], spaces[i]);
    tiny_merge(bpe, "a", "b");
    for (int i = 0; i < 2; i++)
        tiny_merge(bpe, ab[i], ab[i]);
    for (int i = 0; i < 4; i++)
        tiny_merge(bpe, grow[i], grow[i]);
    static const char *const pieces[] = {"\xe2\x96\x81",
                                         "a",
                                         "b",
                                         "aa",
                                         "aaa",
                                         "aaaaa",
                                         "ab",
                                         "abab",
                                         "a\xe2\x96\x81",
                                         "\xe2\x96\x81\xe2\x96\x81",
                                         "ababab"};
    for (int i = 0; i < 11; i++) // one piece has an inner space, so nothing may be cut before
        tiny_add(spm, pieces[i], TINY_NORMAL, (float)(i % 5));
    tiny_add(bpe, "<<x>", TINY_USER, 0);
    tiny_add(spm, "<x>", TINY_USER, 0);
    struct vocab *v[2] = {tiny_done(bpe), tiny_done(spm)};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        check_long(v[0], runs[i], 1 << 20, 0);
        if (strcmp(runs[i], "<<x>")) // each stretch behind a special token gets a space
            check_long(v[1], runs[i], 1 << 20, 1);
    }
    vocab_free(v[0]);
    vocab_free(v[1]);
}

// Runs of user-defined tokens that contain each other, as some vocabularies have for line feeds.
static void nested_special_tokens_are_no_problem(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    char text[65] = {0};
    for (int i = 0; i < 64; i++) {
        text[i] = 'n';
        tiny_add(t, text, TINY_USER, 0);
    }
    struct vocab *v = tiny_done(t);
    check_long(v, "n", 1 << 18, 0);
    check_long(v, "nnnnnnnnx", 1 << 18, 0);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_vocabularies_get_a_sentence),
        cmocka_unit_test(ids_that_mean_none_are_none),
        cmocka_unit_test(of_equal_texts_the_last_counts),
        cmocka_unit_test(answers_end_at_every_known_end),
        cmocka_unit_test(a_message_is_not_an_answer),
        cmocka_unit_test(texts_beyond_the_limit_are_refused),
        cmocka_unit_test(a_megabyte_without_borders_is_no_problem),
        cmocka_unit_test(nested_special_tokens_are_no_problem),
    };
    return cmocka_run_group_tests_name("vocab", tests, NULL, NULL);
}
