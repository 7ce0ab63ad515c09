// Tokens: there and back, and every kind of typing error.
#include "support.h"

#include "base/rng.h"
#include "cluster/token.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct token sample(struct rng *r, int n_addresses)
{
    struct token t = {.id = rng_u64(r) | 1,
                      .expires_s = (int64_t)rng_below(r, 1u << 30) * 60,
                      .port = (uint16_t)(1 + rng_below(r, 65535)),
                      .n_addresses = n_addresses};
    for (size_t i = 0; i < sizeof t.secret; i++)
        t.secret[i] = (uint8_t)rng_u64(r);
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        t.fingerprint.bytes[i] = (uint8_t)rng_u64(r);
    for (int i = 0; i < n_addresses; i++) {
        struct net_address *a = &t.addresses[i];
        a->family = rng_below(r, 2) ? 4 : 6;
        for (int k = 0; k < (a->family == 4 ? 4 : 16); k++)
            a->bytes[k] = (uint8_t)(1 + rng_below(r, 200));
    }
    return t;
}

static void assert_same(const struct token *a, const struct token *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->expires_s, b->expires_s);
    assert_int_equal(a->port, b->port);
    assert_memory_equal(a->secret, b->secret, TOKEN_SECRET_BYTES);
    assert_memory_equal(a->fingerprint.bytes, b->fingerprint.bytes, DIGEST_BYTES);
    assert_int_equal(a->n_addresses, b->n_addresses);
    for (int i = 0; i < a->n_addresses; i++)
        assert_true(net_address_equal(&a->addresses[i], &b->addresses[i]));
}

static int read_text(struct token *t, const char *text, struct err *e)
{
    return token_read(t, text, strlen(text), e);
}

static void a_token_says_everything_it_was_made_of(void **state)
{
    struct rng r;
    (void)state;
    rng_init(&r, 1);
    for (int i = 0; i < 900; i++) {
        struct token t = sample(&r, i % (TOKEN_MAX_ADDRESSES + 1)), back;
        char text[TOKEN_TEXT_MAX];
        struct err e = {0};
        token_write(&t, text);
        assert_true(strlen(text) < TOKEN_TEXT_MAX);
        assert_ok(read_text(&back, text, &e), &e);
        assert_same(&t, &back);
    }
}

static void case_and_lookalikes_do_not_matter(void **state)
{
    struct rng r;
    struct token t, back;
    char text[TOKEN_TEXT_MAX], padded[TOKEN_TEXT_MAX + 8];
    struct err e = {0};
    (void)state;
    rng_init(&r, 2);
    t = sample(&r, 2);
    token_write(&t, text);
    for (char *c = text; *c; c++) {
        if (c - text >= 6 && *c == '0')
            *c = 'o';
        else if (c - text >= 6 && *c == '1')
            *c = rng_below(&r, 2) ? 'l' : 'I';
        *c = (char)(rng_below(&r, 2) ? toupper(*c) : tolower(*c));
    }
    snprintf(padded, sizeof padded, " \t%s\r\n", text);
    assert_ok(read_text(&back, padded, &e), &e);
    assert_same(&t, &back);
}

static void every_wrong_character_is_noticed(void **state)
{
    const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz-u!";
    struct rng r;
    struct token t, back;
    char text[TOKEN_TEXT_MAX];
    (void)state;
    rng_init(&r, 3);
    t = sample(&r, 3);
    token_write(&t, text);
    for (size_t i = 0; text[i]; i++)
        for (const char *c = alphabet; *c; c++) {
            char right = text[i];
            struct err e = {0};
            if (*c == right)
                continue;
            text[i] = *c;
            assert_int_equal(read_text(&back, text, &e), ERR_USAGE);
            assert_true(strlen(e.text) > 20);
            text[i] = right;
        }
}

static void a_token_cut_swapped_or_prolonged_is_noticed(void **state)
{
    struct rng r;
    struct token t, back;
    char text[TOKEN_TEXT_MAX + 8];
    (void)state;
    rng_init(&r, 4);
    t = sample(&r, 3);
    token_write(&t, text);
    size_t length = strlen(text);
    for (size_t n = 0; n < length; n++) {
        char *cut = malloc(n + 1); // exact size for the address sanitizer
        memcpy(cut, text, n);
        assert_int_equal(token_read(&back, cut, n, NULL), ERR_USAGE);
        free(cut);
    }
    for (size_t i = 6; i + 1 < length; i++) {
        if (text[i] == text[i + 1])
            continue;
        char a = text[i];
        text[i] = text[i + 1];
        text[i + 1] = a;
        assert_int_equal(read_text(&back, text, NULL), ERR_USAGE);
        text[i + 1] = text[i];
        text[i] = a;
    }
    for (int more = 1; more < 7; more++) {
        memset(text + length, '0', (size_t)more);
        text[length + (size_t)more] = 0;
        assert_int_equal(read_text(&back, text, NULL), ERR_USAGE);
    }
}

static void what_is_no_token_is_called_so(void **state)
{
    const char *const texts[] = {"", "hello", "rondo", "r", "http://x", "rond0-abc"};
    struct token t;
    char huge[100000];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e = {0};
        assert_int_equal(read_text(&t, texts[i], &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "not a token"));
    }
    memset(huge, 'a', sizeof huge);
    memcpy(huge, "rondo-", 6);
    assert_int_equal(token_read(&t, huge, sizeof huge, NULL), ERR_USAGE);
    assert_int_equal(token_read(&t, "rondo-\0\0\0\0", 10, NULL), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_everything_it_was_made_of),
        cmocka_unit_test(case_and_lookalikes_do_not_matter),
        cmocka_unit_test(every_wrong_character_is_noticed),
        cmocka_unit_test(a_token_cut_swapped_or_prolonged_is_noticed),
        cmocka_unit_test(what_is_no_token_is_called_so),
    };
    return cmocka_run_group_tests_name("cluster/token", tests, NULL, NULL);
}
