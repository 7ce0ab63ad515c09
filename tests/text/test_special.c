// Special tokens in text: who may become one, what wins where they overlap.
#include "support.h"

#include "base/rng.h"
#include "text/special.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

static void control_tokens_need_leave_and_user_defined_ones_do_not(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int start = tiny_add(t, "<|im_start|>", TINY_CONTROL, 0);
    int call = tiny_add(t, "<call>", TINY_USER, 0);
    tiny_add(t, "<pad>", TINY_UNUSED, 0);
    int unk = tiny_add(t, "<?>", TINY_UNKNOWN, 0);
    tiny_add(t, "", TINY_CONTROL, 0); // matches nowhere
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "a<|im_start|>", ENCODE_CONTROL, 'a', start);
    ASSERT_IDS(v, "<call>a<call><call>", 0, call, 'a', call, call);
    ASSERT_IDS(v, "<?>", ENCODE_CONTROL, unk);
    ASSERT_IDS(v, "<?>", 0, '<', '?', '>');
    ASSERT_IDS(v, "<pad>", ENCODE_CONTROL, '<', 'p', 'a', 'd', '>');
    ASSERT_IDS(v, "<|im_start|", ENCODE_CONTROL, '<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't',
               '|');
    struct ids l = {0};
    struct err e = {0};
    assert_ok(vocab_encode(v, "<|im_start|>", 12, 0, &l, &e), &e);
    for (size_t i = 0; i < l.n; i++)
        assert_false(vocab_is_control(v, l.id[i]));
    ids_free(&l);
    vocab_free(v);
}

static void spaces_follow_special_tokens_in_sentencepiece(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    int space = tiny_add(t, "\xe2\x96\x81", TINY_NORMAL, -1), a = tiny_add(t, "a", TINY_NORMAL, -1);
    int user = tiny_add(t, "<x>", TINY_USER, 0);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "a<x>a<x><x>", 0, space, a, user, space, a, user, user);
    ASSERT_IDS(v, "<x>", 0, user); // no text, no space
    ASSERT_IDS(v, "<s>a", ENCODE_CONTROL, 1, space, a);
    vocab_free(v);
}

static void the_longest_wins_in_the_whole_text(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int ab = tiny_add(t, "ab", TINY_USER, 0), bcd = tiny_add(t, "bcd", TINY_USER, 0);
    int abab = tiny_add(t, "abab", TINY_USER, 0), c = tiny_add(t, "c", TINY_USER, 0);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "abcd", 0, 'a', bcd);
    ASSERT_IDS(v, "abcb", 0, ab, c, 'b');
    ASSERT_IDS(v, "ababab", 0, abab, ab);
    ASSERT_IDS(v, "ababcd", 0, abab, c, 'd'); // bcd would cut into abab
    ASSERT_IDS(v, "xabxc", 0, 'x', ab, 'x', c);
    vocab_free(v);
}

static void phi_3_takes_the_space_behind(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    t->name = "My Phi-3 tune";
    t->add_space_prefix = 0;
    int a = tiny_add(t, "a", TINY_NORMAL, 0);
    int user = tiny_add(t, "<|user|>", TINY_CONTROL, 0);
    int end = tiny_add(t, "<|endoftext|>", TINY_CONTROL, 0);
    struct vocab *v = tiny_done(t);
    ASSERT_IDS(v, "<|user|> \n\ta", ENCODE_CONTROL, user, a);
    ASSERT_IDS(v, "<|user|>  ", ENCODE_CONTROL, user);
    ASSERT_IDS(v, "<|user|> <|user|>\n", ENCODE_CONTROL, user, user);
    ASSERT_IDS(v, "<|endoftext|>\na", ENCODE_CONTROL, end, 3 + '\n', a);
    vocab_free(v);
}

// The definition: token after token, the longest first, each from left to right in the pieces of
// text that are left.
static size_t slow_find(const struct special *s, const char *text, size_t n,
                        struct special_match *out)
{
    bool taken[256] = {0};
    int32_t owner[256] = {0};
    for (uint32_t size = s->longest; size; size--)
        for (size_t at = 0; at + size <= n; at++)
            for (int32_t k = 0; k < s->n; k++) {
                const struct span *key = &s->keys[s->ids[k]];
                bool fits = key->n == size && !memcmp(s->bytes + key->at, text + at, size);
                for (size_t i = at; fits && i < at + size; i++)
                    fits = !taken[i];
                if (!fits)
                    continue;
                memset(taken + at, true, size);
                owner[at] = s->ids[k] + 1;
            }
    size_t found = 0;
    for (size_t at = 0; at < n; at++)
        if (owner[at])
            out[found++] = (struct special_match){
                .at = at, .end = at + s->keys[owner[at] - 1].n, .id = owner[at] - 1};
    return found;
}

static void finding_is_what_its_definition_says(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 21);
    for (int round = 0; round < 200; round++) {
        char bytes[256];
        struct span keys[12];
        bool member[12];
        uint32_t used = 0;
        for (int k = 0; k < 12; k++) {
            keys[k] = (struct span){used, (uint32_t)rng_below(&r, 7)}; // some are empty
            member[k] = rng_below(&r, 4) > 0;
            for (uint32_t i = 0; i < keys[k].n; i++)
                bytes[used++] = (char)('a' + rng_below(&r, 2 + (uint64_t)round % 3));
            for (int j = 0; j < k; j++) // equal ones are not what is looked at here
                if (keys[j].n == keys[k].n &&
                    !memcmp(bytes + keys[j].at, bytes + keys[k].at, keys[k].n))
                    member[k] = false;
        }
        struct special s;
        assert_int_equal(special_init(&s, bytes, keys, NULL, member, 12), 0);
        for (int i = 0; i < 50; i++) {
            char text[200];
            size_t n = rng_below(&r, sizeof text);
            for (size_t j = 0; j < n; j++)
                text[j] = (char)('a' + rng_below(&r, 2 + (uint64_t)round % 3));
            struct special_match expected[256];
            struct special_matches got;
            size_t n_expected = slow_find(&s, text, n, expected);
            assert_int_equal(special_find(&s, text, n, &got), 0);
            assert_int_equal(got.n, n_expected);
            for (size_t j = 0; j < n_expected; j++) {
                assert_int_equal(got.match[j].at, expected[j].at);
                assert_int_equal(got.match[j].end, expected[j].end);
                assert_int_equal(got.match[j].id, expected[j].id);
            }
            free(got.match);
        }
        special_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_tokens_need_leave_and_user_defined_ones_do_not),
        cmocka_unit_test(spaces_follow_special_tokens_in_sentencepiece),
        cmocka_unit_test(the_longest_wins_in_the_whole_text),
        cmocka_unit_test(phi_3_takes_the_space_behind),
        cmocka_unit_test(finding_is_what_its_definition_says),
    };
    return cmocka_run_group_tests_name("special", tests, NULL, NULL);
}
