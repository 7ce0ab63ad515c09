// Tokens to text as a stream: whole characters only, whatever the tokens cut apart.
#include "support.h"

#include "base/guard.h"
#include "base/rng.h"
#include "text/utf8.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

enum { OUT_BYTES = VOCAB_MAX_TOKEN_BYTES + 16 };

static void assert_step(struct detokenizer *d, int32_t id, const char *text)
{
    char out[OUT_BYTES];
    assert_int_equal(detokenize(d, id, out, sizeof out), strlen(text));
    assert_string_equal(out, text);
}

static void assert_end(struct detokenizer *d, const char *text)
{
    char out[OUT_BYTES];
    assert_int_equal(detokenize_end(d, out, sizeof out), strlen(text));
    assert_string_equal(out, text);
}

static void a_split_emoji_comes_in_one(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int end = tiny_merge(t, "\x98", "\x80");
    int both = tiny_merge(t, "a", "\xf0");
    struct vocab *v = tiny_done(t);
    struct detokenizer d = {.vocab = v};
    assert_step(&d, 'x', "x");
    assert_step(&d, 0xf0, "");
    assert_step(&d, 0x9f, "");
    assert_step(&d, end, "\xf0\x9f\x98\x80");
    assert_step(&d, both, "a"); // the part that is whole does not wait
    assert_step(&d, 0x9f, "");
    assert_step(&d, end, "\xf0\x9f\x98\x80");
    assert_end(&d, "");
    vocab_free(v);
}

static void what_can_not_become_a_character_is_replaced(void **state)
{
    (void)state;
    struct vocab *v = tiny_done(tiny_bpe());
    struct detokenizer d = {.vocab = v};
    assert_step(&d, 0xff, "\xef\xbf\xbd");
    assert_step(&d, 0x80, "\xef\xbf\xbd");
    assert_step(&d, 0xc3, "");
    assert_step(&d, 'a', "\xef\xbf\xbd\x61");
    assert_step(&d, 0xed, "");
    assert_step(&d, 0xa0, "\xef\xbf\xbd\xef\xbf\xbd"); // a surrogate
    assert_step(&d, 0xe2, "");
    assert_step(&d, 0x82, "");
    assert_end(&d, "\xef\xbf\xbd");
    assert_end(&d, ""); // once
    vocab_free(v);
}

static void sentencepiece_drops_the_first_space_only(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_spm();
    int a = tiny_add(t, "\xe2\x96\x81\x61", TINY_NORMAL, 0);
    struct vocab *v = tiny_done(t);
    struct detokenizer d = {.vocab = v}, later = {.vocab = v, .any = true};
    assert_step(&d, 1, ""); // BOS is nothing
    assert_step(&d, a, "a");
    assert_step(&d, a, " a");
    assert_step(&d, 3 + 0xc3, "");
    assert_step(&d, 2, ""); // nothing in between
    assert_step(&d, 3 + 0xa4, "\xc3\xa4");
    assert_step(&later, a, " a");
    vocab_free(v);
    t = tiny_spm();
    t->add_space_prefix = 0;
    a = tiny_add(t, "\xe2\x96\x81\x61", TINY_NORMAL, 0);
    v = tiny_done(t);
    d = (struct detokenizer){.vocab = v};
    assert_step(&d, a, " a");
    vocab_free(v);
}

static void ids_that_are_no_tokens_are_nothing(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    int control = tiny_add(t, "<c>", TINY_CONTROL, 0);
    struct vocab *v = tiny_done(t);
    struct detokenizer d = {.vocab = v};
    char out[8];
    assert_step(&d, -1, "");
    assert_step(&d, vocab_size(v), "");
    assert_step(&d, INT32_MAX, "");
    assert_step(&d, control, "");
    assert_int_equal(vocab_decode(v, control, true, out, sizeof out), 3);
    assert_memory_equal(out, "<c>", 3);
    assert_int_equal(vocab_decode(v, control, true, out, 2), 2); // no more than fits
    assert_int_equal(vocab_decode(v, INT32_MIN, true, out, sizeof out), 0);
    assert_int_equal(vocab_token_text(v, -1).length, 0);
    assert_false(vocab_is_end(v, -1) || vocab_is_control(v, vocab_size(v)));
    vocab_free(v);
}

static void the_longest_token_of_broken_bytes_fits(void **state)
{
    (void)state;
    struct tiny_vocab *t = tiny_bpe();
    char bytes[512], text[VOCAB_MAX_STORED_BYTES + 1] = {0};
    memset(bytes, 0xff, sizeof bytes);
    memcpy(text, tiny_bytes(bytes, sizeof bytes), VOCAB_MAX_STORED_BYTES);
    int id = tiny_add(t, text, TINY_NORMAL, 0);
    memset(text, 0xff, VOCAB_MAX_STORED_BYTES);
    int raw = tiny_add(t, text, TINY_CONTROL, 0);
    t->type[raw] = TINY_USER; // its text as it is: 1024 broken bytes
    struct vocab *v = tiny_done(t);
    struct detokenizer d = {.vocab = v};
    char *out = malloc(OUT_BYTES); // exact size, so that asan sees a write past it
    assert_int_equal(detokenize(&d, id, out, OUT_BYTES), 3 * 512);
    assert_int_equal(detokenize(&d, 0xf0, out, OUT_BYTES), 0);
    assert_int_equal(detokenize(&d, raw, out, OUT_BYTES), 3 * 1025);
    assert_int_equal(strlen(out), 3 * 1025);
    free(out);
    vocab_free(v);
}

// Whatever the ids, the stream is valid UTF-8 in each step and holds all valid characters.
static void any_stream_is_utf8_in_every_step(void **state)
{
    (void)state;
    struct vocab *v = tiny_done(tiny_bpe());
    struct rng r;
    rng_init(&r, 17);
    for (int round = 0; round < 200; round++) {
        struct detokenizer d = {.vocab = v};
        char out[OUT_BYTES], all[2000];
        size_t n = 0;
        char text[300];
        for (size_t i = 0; i < sizeof text; i++) // half of it characters, cut into bytes
            text[i] = (char)rng_u64(&r);
        for (size_t i = 0; i + 4 < sizeof text; i += 8)
            memcpy(text + i, i % 16 ? "\xf0\x9f\x98\x80" : "\xe4\xb8\xad.", 4);
        long before = guard_violations();
        guard_enter();
        for (size_t i = 0; i <= sizeof text; i++) {
            size_t m = i < sizeof text ? detokenize(&d, (uint8_t)text[i], out, sizeof out)
                                       : detokenize_end(&d, out, sizeof out);
            for (size_t at = 0; at < m;) {
                int length = utf8_length(out + at, m - at);
                assert_true(length > 0);
                at += (size_t)length;
            }
            memcpy(all + n, out, m);
            n += m;
        }
        guard_leave();
        assert_int_equal(guard_violations(), before);
        size_t at = 0; // the same text, all at once
        for (size_t i = 0; i < sizeof text;) {
            int length = utf8_length(text + i, sizeof text - i);
            const char *expected = length > 0 ? text + i : "\xef\xbf\xbd";
            size_t size = length > 0 ? (size_t)length : 3;
            assert_memory_equal(all + at, expected, size);
            at += size;
            i += length > 0 ? (size_t)length : length == UTF8_INCOMPLETE ? sizeof text - i : 1;
        }
        assert_int_equal(at, n);
    }
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_emoji_comes_in_one),
        cmocka_unit_test(what_can_not_become_a_character_is_replaced),
        cmocka_unit_test(sentencepiece_drops_the_first_space_only),
        cmocka_unit_test(ids_that_are_no_tokens_are_nothing),
        cmocka_unit_test(the_longest_token_of_broken_bytes_fits),
        cmocka_unit_test(any_stream_is_utf8_in_every_step),
    };
    return cmocka_run_group_tests_name("detokenize", tests, NULL, NULL);
}
