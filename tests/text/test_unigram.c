// Unigram vocabularies: the best of all ways, what is unknown, and how text is normalized.
#include "support.h"

#include "tiny_vocab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\xe2\x96\x81" // U+2581, as pieces write a space

static void the_best_sum_wins(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_unigram();
    int a = tiny_add(t, "a", TINY_NORMAL, -3), b = tiny_add(t, "b", TINY_NORMAL, -3);
    int ab = tiny_add(t, "ab", TINY_NORMAL, -4), bc = tiny_add(t, "bc", TINY_NORMAL, -2);
    int c = tiny_add(t, "c", TINY_NORMAL, -5);
    tiny_add(t, "abcd", TINY_NORMAL, -20);
    int d = tiny_add(t, "d", TINY_UNUSED, -1);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "", 0, );
    ASSERT_IDS(v, "ab", 0, ab);         // -4, not -6
    ASSERT_IDS(v, "abc", 0, a, bc);     // -5, not -9: the longest first would be wrong
    ASSERT_IDS(v, "abcd", 0, a, bc, d); // -6
    ASSERT_IDS(v, "ba", 0, b, a);
    ASSERT_IDS(v, "cab", 0, c, ab);
    assert_string_equal(vocab_kind(v), "unigram");
    vocab_free(v);
}

enum { N_PIECES = 40, N_RANDOM = 300 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

// The best sum of all ways to cut text[at..n) into pieces, by trying them all.
static double best_sum(const struct tiny_vocab *t, const char *text, int unknown, double worst)
{
    double best = -INFINITY;
    bool single = false;
    if (!*text)
        return 0;
    for (int i = unknown + 1; i < t->n; i++) {
        size_t n = t->token[i].length;
        if (strncmp(text, t->token[i].text, n) != 0)
            continue;
        single |= n == 1;
        best = fmax(best, (double)t->score[i] + best_sum(t, text + n, unknown, worst));
    }
    if (!single)
        best = fmax(best, worst - 10 + best_sum(t, text + 1, unknown, worst));
    return best;
}

static void all_ways_have_been_tried(void **state)
{
    (void)state;
    uint32_t seed = 7;
    struct tiny_vocab *t = tiny_unigram();
    double worst = 0;
    int unk = (int)t->unk;
    tiny_add(t, "a", TINY_NORMAL, -6); // b and c are unknown unless they come up below
    for (int i = 0; i < N_PIECES; i++) {
        char piece[6] = {0};
        int n = 2 + (int)(next_random(&seed) % 4);
        for (int k = 0; k < n; k++)
            piece[k] = "abc"[next_random(&seed) % 3];
        bool fresh = true;
        for (int k = 0; k < t->n; k++)
            fresh &= strcmp(t->token[k].text, piece) != 0;
        if (fresh)
            tiny_add(t, piece, TINY_NORMAL, -(float)(next_random(&seed) % 100000) / 7000);
    }
    for (int i = unk + 1; i < t->n; i++)
        worst = fmin(worst, (double)t->score[i]);
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    for (int i = 0; i < N_RANDOM; i++) {
        char text[16] = {0};
        int n = 1 + (int)(next_random(&seed) % 14);
        for (int k = 0; k < n; k++)
            text[k] = "abc"[next_random(&seed) % 3];
        struct ids l = {0};
        assert_ok(vocab_encode(v, text, (size_t)n, 0, &l, &e), &e);
        // One token of what is unknown may stand for several characters: each costs.
        double sum = 0;
        size_t known = 0;
        for (size_t k = 0; k < l.n; k++) {
            sum += l.id[k] == unk ? 0 : (double)t->score[l.id[k]];
            known += l.id[k] == unk ? 0 : t->token[l.id[k]].length;
        }
        sum += (double)((size_t)n - known) * (worst - 10);
        double best = best_sum(t, text, unk, worst);
        if (fabs(sum - best) > 1e-6)
            fail_msg("'%s': %f, not %f", text, sum, best);
        ids_free(&l);
    }
    vocab_free(v);
    tiny_free(t);
}

static void what_is_unknown_is_one_token_or_bytes(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_unigram();
    int unk = (int)t->unk, a = tiny_add(t, "a", TINY_NORMAL, -1);
    int space = tiny_add(t, SPACE, TINY_NORMAL, -2);
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "axyza", 0, a, unk, a);
    ASSERT_IDS(v, "xy", 0, unk);
    ASSERT_IDS(v, "\xe4\xb8\xad\xe6\x96\x87", 0, unk);
    ASSERT_IDS(v, "x y", 0, unk, space, unk);
    vocab_free(v);
    int byte[3];
    for (int i = 0; i < 3; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)(uint8_t) "\xe4\xb8\xad"[i]);
        byte[i] = tiny_add(t, text, TINY_BYTE, 0);
    }
    v = tiny_done(t);
    ASSERT_IDS(v, "a\xe4\xb8\xad", 0, a, byte[0], byte[1], byte[2]);
    ASSERT_IDS(v, "axa", 0, a, unk, a); // no byte for it
    char out[4];
    assert_int_equal(vocab_decode(v, byte[0], false, out, sizeof out), 1);
    vocab_free(v);
}

static void spaces_go_by_the_flags(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_unigram();
    int a = tiny_add(t, "a", TINY_NORMAL, -1), sa = tiny_add(t, SPACE "a", TINY_NORMAL, -1);
    int s = tiny_add(t, SPACE, TINY_NORMAL, -1), ss = tiny_add(t, SPACE SPACE, TINY_NORMAL, -1);
    int user = tiny_add(t, "<u>", TINY_USER, 0);
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "a  a ", 0, a, s, sa, s);
    ASSERT_IDS(v, "  ", 0, ss);
    ASSERT_IDS(v, "a" SPACE "a", 0, a, sa);
    vocab_free(v);
    t->add_space_prefix = 1;
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "a a", 0, sa, sa);
    ASSERT_IDS(v, " a", 0, s, sa);
    ASSERT_IDS(v, "a<u>a", 0, sa, user, sa);
    assert_true(vocab_adds_space(v));
    vocab_free(v);
    t->merges_spaces = 1;
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "  a   a  ", 0, sa, sa);
    ASSERT_IDS(v, "   ", 0, );
    ASSERT_IDS(v, "aa", 0, sa, a);
    ASSERT_IDS(v, "a" SPACE "  a", 0, sa, s, sa); // U+2581 merges with nothing
    vocab_free(v);
    t->add_space_prefix = 0;
    v = tiny_done(t);
    ASSERT_IDS(v, "  a   a  ", 0, a, sa);
    vocab_free(v);
}

static void sequences_of_characters_are_replaced(void **state)
{
    (void)state;
    static const char *const keys[] = {"\t", "\xef\xac\x81", "e\xcc\x81", "e", "xyz", "x", "-"};
    static const char *const becomes[] = {" ", "fi", "\xc3\xa9", "E", "Q", "", "a a"};
    struct tiny_vocab *t = tiny_unigram();
    void *charsmap = tiny_charsmap(7, keys, becomes, &t->n_charsmap);
    t->charsmap = charsmap;
    int a = tiny_add(t, "a", TINY_NORMAL, -1), fi = tiny_add(t, "fi", TINY_NORMAL, -1);
    int acute = tiny_add(t, "\xc3\xa9", TINY_NORMAL, -1), big = tiny_add(t, "E", TINY_NORMAL, -1);
    int q = tiny_add(t, "Q", TINY_NORMAL, -1), y = tiny_add(t, "y", TINY_NORMAL, -1);
    int sa = tiny_add(t, SPACE "a", TINY_NORMAL, -1);
    int bad = tiny_add(t, "\xef\xbf\xbd", TINY_NORMAL, -1);
    struct vocab *v = tiny_done(t);
    free(charsmap);
    ASSERT_IDS(v, "a\ta", 0, a, sa);
    ASSERT_IDS(v, "\xef\xac\x81", 0, fi);
    ASSERT_IDS(v, "e\xcc\x81", 0, acute); // the longest key
    ASSERT_IDS(v, "ea", 0, big, a);
    ASSERT_IDS(v, "xyz", 0, q);
    ASSERT_IDS(v, "xya", 0, y, a); // no more than x
    ASSERT_IDS(v, "x", 0, );
    ASSERT_IDS(v, "-", 0, a, sa);
    ASSERT_IDS(v, "a\xff\xe2\x82", 0, a, bad, bad, bad);
    vocab_free(v);
}

static void refuse_charsmap(const void *bytes, size_t n, const char *part)
{
    struct tiny_vocab *t = tiny_unigram();
    struct vocab *v;
    struct err e = {0};
    t->charsmap = bytes;
    t->n_charsmap = n;
    assert_int_equal(tiny_open(t, &v, &e), ERR_FAILED);
    assert_null(v);
    if (!strstr(e.text, part))
        fail_msg("'%s' does not say '%s'", e.text, part);
    tiny_free(t);
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {"a"}, *const becomes[] = {"b"};
    size_t n;
    uint8_t *bytes = tiny_charsmap(1, keys, becomes, &n);
    refuse_charsmap(bytes, 3, "shorter");
    refuse_charsmap(bytes, n / 2, "shorter");
    refuse_charsmap(bytes, n - 1, "without an end");
    refuse_charsmap("\0\0\0\0", 4, "shorter");
    refuse_charsmap("\3\0\0\0abc", 7, "shorter");
    char *endless = calloc(1, 8 + 300);
    memcpy(endless, "\4\0\0\0", 4);
    memset(endless + 8, 'x', 299);
    refuse_charsmap(endless, 308, "without an end");
    free(endless);
    free(bytes);
}

// Units that lead out of the table, or round in it, replace nothing.
static void tables_that_lead_nowhere_do_no_harm(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        uint32_t table[1 + 512] = {2048};
        uint32_t *unit = table + 1;
        unit[0] = 256u << 10;
        unit[256 ^ 'a'] = kind == 0   ? 'a' | 1u << 8 | 0x1fffffu << 10     // far out
                          : kind == 1 ? 'a' | 1u << 9 | 0x3fffffu << 10     // farther
                          : kind == 2 ? 'a' | (uint32_t)'a' << 10           // back to the same
                                      : 'a' | 1u << 8 | (256u ^ 'a') << 10; // a value out of range
        unit[0x100] = kind == 3 ? 1u << 31 | 1000 : 0;
        uint8_t bytes[sizeof table + 1] = {0};
        memcpy(bytes, table, sizeof table);
        struct tiny_vocab *t = tiny_unigram();
        int a = tiny_add(t, "a", TINY_NORMAL, -1);
        t->charsmap = bytes;
        t->n_charsmap = sizeof bytes;
        struct vocab *v = tiny_done(t);
        ASSERT_IDS(v, "aa", 0, a, a);
        vocab_free(v);
    }
}

static void an_end_is_added_unless_the_file_says_otherwise(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_unigram();
    int a = tiny_add(t, "a", TINY_NORMAL, -1), sa = tiny_add(t, SPACE "a", TINY_NORMAL, -1);
    int unk = (int)t->unk, eos = (int)t->eos;
    struct vocab *v;
    struct err e = {0};
    assert_ok(tiny_open(t, &v, &e), &e);
    ASSERT_IDS(v, "a", ENCODE_SPECIAL, a);
    ASSERT_IDS(v, "a</s>", ENCODE_CONTROL, a, eos);
    ASSERT_IDS(v, "a</s>", 0, a, unk);
    vocab_free(v);
    t->add_eos = t->add_space_prefix = t->eos = t->unk = TINY_ABSENT; // as T5 is
    v = tiny_done(t);
    ASSERT_IDS(v, "a", ENCODE_SPECIAL, sa, 1);
    ASSERT_IDS(v, "?", ENCODE_SPECIAL, 2, 1);
    assert_true(vocab_is_end(v, 1));
    assert_int_equal(vocab_bos(v), -1);
    vocab_free(v);
}

static void a_megabyte_is_no_problem(void **state)
{
    (void)state;
    static const char *const runs[] = {"a", " ", "ab", "\xe4\xb8\xad", "?", "a ", "\xff", "ba"};
    struct tiny_vocab *t = tiny_unigram();
    char piece[65] = {0};
    for (int n = 1; n <= 64; n++) {
        memset(piece, 'a', (size_t)n);
        tiny_add(t, piece, TINY_NORMAL, -(float)n);
    }
    tiny_add(t, SPACE, TINY_NORMAL, -1);
    tiny_add(t, SPACE SPACE SPACE SPACE, TINY_NORMAL, -2);
    struct vocab *v = tiny_done(t);
    size_t n = 1 << 20;
    char *text = malloc(n);
    for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) {
        for (size_t i = 0; i < n; i++)
            text[i] = runs[k][i % strlen(runs[k])];
        struct ids l = {0};
        struct err e = {0};
        assert_ok(vocab_encode(v, text, n, 0, &l, &e), &e);
        assert_true(l.n > 0);
        ids_free(&l);
    }
    free(text);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_sum_wins),
        cmocka_unit_test(all_ways_have_been_tried),
        cmocka_unit_test(what_is_unknown_is_one_token_or_bytes),
        cmocka_unit_test(spaces_go_by_the_flags),
        cmocka_unit_test(sequences_of_characters_are_replaced),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(tables_that_lead_nowhere_do_no_harm),
        cmocka_unit_test(an_end_is_added_unless_the_file_says_otherwise),
        cmocka_unit_test(a_megabyte_is_no_problem),
    };
    return cmocka_run_group_tests_name("unigram", tests, NULL, NULL);
}
