// TLS between two ends in one thread, over a pair of sockets.
#include "support.h"

#include "faulty_net.h"
#include "net/tls.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tls_identity *identity(void)
{
    char pem[TLS_PEM_MAX];
    struct tls_identity *id;
    struct err e = {0};
    assert_ok(tls_identity_make(pem, &e), &e);
    assert_ok(tls_identity_new(&id, pem, strlen(pem), &e), &e);
    return id;
}

struct ends {
    struct tls *a, *b; // a dialled
    int fds[2];
};

static void ends_open(struct ends *s, const struct tls_identity *a, const struct tls_identity *b,
                      const struct digest *a_expects, const struct digest *b_expects)
{
    struct err e = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fds), 0);
    assert_ok(tls_new(&s->a, a, s->fds[0], TLS_DIALLED, a_expects, &e), &e);
    assert_ok(tls_new(&s->b, b, s->fds[1], TLS_ACCEPTED, b_expects, &e), &e);
}

static void ends_close(struct ends *s)
{
    tls_free(s->a);
    tls_free(s->b);
    close(s->fds[0]);
    close(s->fds[1]);
}

// Both handshakes until they are done or one fails. 0, or the first error.
static int shake(struct ends *s, struct err *e)
{
    int a = 0, b = 0;
    for (int i = 0; i < 100000 && (a <= 0 || b <= 0); i++) {
        if (a == 0 && (a = tls_handshake(s->a, e)) < 0)
            return a;
        if (b == 0 && (b = tls_handshake(s->b, e)) < 0)
            return b;
    }
    assert_true(a == 1 && b == 1);
    return 0;
}

static void both_ends_see_the_other_certificate_and_one_exporter(void **state)
{
    struct tls_identity *a = identity(), *b = identity();
    struct digest da = tls_identity_digest(a), db = tls_identity_digest(b);
    uint8_t first[TLS_EXPORTER_BYTES], second[TLS_EXPORTER_BYTES], other[TLS_EXPORTER_BYTES];
    struct ends s;
    struct err e = {0};
    (void)state;
    assert_memory_not_equal(da.bytes, db.bytes, DIGEST_BYTES);
    for (int pinned = 0; pinned < 2; pinned++) {
        ends_open(&s, a, b, pinned ? &db : NULL, pinned ? &da : NULL);
        assert_ok(shake(&s, &e), &e);
        struct digest seen = tls_peer(s.a);
        assert_memory_equal(seen.bytes, db.bytes, DIGEST_BYTES);
        seen = tls_peer(s.b);
        assert_memory_equal(seen.bytes, da.bytes, DIGEST_BYTES);
        assert_ok(tls_export(s.a, "EXPORTER-x", first, &e), &e);
        assert_ok(tls_export(s.b, "EXPORTER-x", second, &e), &e);
        assert_memory_equal(first, second, sizeof first);
        assert_ok(tls_export(s.b, "EXPORTER-y", second, &e), &e);
        assert_memory_not_equal(first, second, sizeof first);
        if (pinned)
            assert_memory_not_equal(first, other, sizeof first); // each connection its own
        memcpy(other, first, sizeof other);
        ends_close(&s);
    }
    tls_identity_free(a);
    tls_identity_free(b);
}

static void a_wrong_fingerprint_ends_the_handshake_on_either_side(void **state)
{
    struct tls_identity *a = identity(), *b = identity();
    (void)state;
    for (int side = 0; side < 2; side++)
        for (int bit = 0; bit < 256; bit += 51) {
            struct digest da = tls_identity_digest(a), db = tls_identity_digest(b);
            struct ends s;
            struct err e = {0};
            struct digest *wrong = side ? &da : &db;
            wrong->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ends_open(&s, a, b, &db, &da);
            assert_int_equal(shake(&s, &e), ERR_DENIED);
            assert_non_null(strstr(e.text, "certificate"));
            ends_close(&s);
        }
    tls_identity_free(a);
    tls_identity_free(b);
}

// `size` bytes from one end to the other, in whatever pieces they come.
static void carry(struct ends *s, size_t size)
{
    static uint8_t out[200000], in[200000];
    struct err e = {0};
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t done = 0, got = 0; got < size;) {
        if (done < size) {
            ssize_t n = tls_write(s->a, out + done, size - done, &e);
            assert_true(n >= 0);
            done += (size_t)n;
        }
        ssize_t n = tls_read(s->b, in + got, size - got, &e);
        assert_true(n >= 0);
        got += (size_t)n;
    }
    assert_memory_equal(in, out, size);
}

static void bytes_arrive_whole_over_good_and_bad_sockets(void **state)
{
    struct tls_identity *a = identity(), *b = identity();
    const struct net_faults faults[] = {
        {.most = 0}, {.most = 1}, {.most = 7, .again_every = 3}, {.most = 3000, .again_every = 5}};
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct ends s;
        struct err e = {0};
        faulty_net(faults[i]);
        ends_open(&s, a, b, NULL, NULL);
        assert_ok(shake(&s, &e), &e);
        carry(&s, 1);
        carry(&s, faults[i].most == 1 ? 5000 : 200000);
        ends_close(&s);
        faulty_net_end();
    }
    tls_identity_free(a);
    tls_identity_free(b);
}

static void a_goodbye_is_told_from_a_broken_line(void **state)
{
    struct tls_identity *a = identity(), *b = identity();
    (void)state;
    for (int polite = 0; polite < 2; polite++) {
        struct ends s;
        struct err e = {0};
        char c;
        ends_open(&s, a, b, NULL, NULL);
        assert_ok(shake(&s, &e), &e);
        if (polite)
            tls_shutdown(s.a);
        shutdown(s.fds[0], SHUT_RDWR);
        assert_int_equal(tls_read(s.b, &c, 1, &e), polite ? TLS_CLOSED : ERR_UNREACHABLE);
        assert_int_equal(e.code, polite ? 0 : ERR_UNREACHABLE);
        ends_close(&s);
    }
    tls_identity_free(a);
    tls_identity_free(b);
}

static void damaged_bytes_are_an_error(void **state)
{
    struct tls_identity *a = identity(), *b = identity();
    struct ends s;
    struct err e = {0};
    uint8_t record[64] = {23, 3, 3, 0, 59};
    char c;
    (void)state;
    ends_open(&s, a, b, NULL, NULL);
    assert_ok(shake(&s, &e), &e);
    assert_int_equal(write(s.fds[0], record, sizeof record), sizeof record); // never encrypted
    assert_int_equal(tls_read(s.b, &c, 1, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "receiving"));
    ends_close(&s);
    tls_identity_free(a);
    tls_identity_free(b);
}

static void an_identity_is_the_same_after_it_was_kept(void **state)
{
    char pem[TLS_PEM_MAX];
    struct tls_identity *a, *b;
    struct err e = {0};
    (void)state;
    assert_ok(tls_identity_make(pem, &e), &e);
    assert_ok(tls_identity_new(&a, pem, strlen(pem), &e), &e);
    assert_ok(tls_identity_new(&b, pem, strlen(pem), &e), &e);
    struct digest da = tls_identity_digest(a), db = tls_identity_digest(b);
    assert_memory_equal(da.bytes, db.bytes, DIGEST_BYTES);
    tls_identity_free(a);
    tls_identity_free(b);
}

static void what_is_no_identity_is_refused(void **state)
{
    char pem[TLS_PEM_MAX], other[TLS_PEM_MAX], mixed[2 * TLS_PEM_MAX];
    struct tls_identity *id = (void *)1;
    (void)state;
    assert_int_equal(tls_identity_make(pem, NULL), 0);
    assert_int_equal(tls_identity_make(other, NULL), 0);
    for (size_t n = 0; n < strlen(pem) - 5; n += 37) {
        struct err e = {0};
        assert_true(tls_identity_new(&id, pem, n, &e) < 0);
        assert_null(id);
        assert_true(e.code < 0);
    }
    // One node's key with another's certificate.
    const char *certificate = strstr(other, "-----BEGIN CERTIFICATE");
    size_t key = (size_t)(strstr(pem, "-----BEGIN CERTIFICATE") - pem);
    memcpy(mixed, pem, key);
    strcpy(mixed + key, certificate);
    struct err e = {0};
    assert_true(tls_identity_new(&id, mixed, strlen(mixed), &e) < 0);
    assert_null(id);
    assert_true(tls_identity_new(&id, mixed, sizeof mixed, &e) < 0); // longer than any
}

// A peer with another version of TLS, or none of our certificates.
static int shake_with(SSL_CTX *c, const struct tls_identity *id, struct err *e)
{
    int fds[2], rc = 0, theirs = 0;
    struct tls *t;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_ok(tls_new(&t, id, fds[1], TLS_ACCEPTED, NULL, e), e);
    SSL *ssl = SSL_new(c);
    SSL_set_fd(ssl, fds[0]);
    for (int i = 0; i < 1000 && rc == 0; i++) {
        if (theirs != 1)
            theirs = SSL_connect(ssl);
        rc = tls_handshake(t, e);
    }
    SSL_free(ssl);
    tls_free(t);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static void only_tls_1_3_with_a_certificate_is_spoken(void **state)
{
    struct tls_identity *id = identity();
    struct err e = {0};
    (void)state;
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    assert_true(shake_with(c, id, &e) < 0); // no certificate
    SSL_CTX_free(c);
    e.code = 0;
    c = SSL_CTX_new(TLS_client_method());
    assert_true(SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION));
    assert_true(shake_with(c, id, &e) < 0);
    assert_non_null(strstr(e.text, "protocol"));
    SSL_CTX_free(c);
    tls_identity_free(id);
}

// A certificate long out of date: what counts is the fingerprint.
static void dates_mean_nothing(void **state)
{
    char pem[TLS_PEM_MAX], *text;
    struct tls_identity *old, *id = identity();
    struct err e = {0};
    struct ends s;
    (void)state;
    assert_ok(tls_identity_make(pem, &e), &e);
    BIO *in = BIO_new_mem_buf(pem, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
    assert_true(ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20000101000000Z"));
    assert_true(ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "20010101000000Z"));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_true(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL));
    assert_true(PEM_write_bio_X509(out, x));
    long size = BIO_get_mem_data(out, &text);
    assert_ok(tls_identity_new(&old, text, (size_t)size, &e), &e);
    struct digest d = tls_identity_digest(old);
    ends_open(&s, id, old, &d, NULL);
    assert_ok(shake(&s, &e), &e);
    ends_close(&s);
    X509_free(x);
    EVP_PKEY_free(key);
    BIO_free(in);
    BIO_free(out);
    tls_identity_free(old);
    tls_identity_free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_see_the_other_certificate_and_one_exporter),
        cmocka_unit_test(a_wrong_fingerprint_ends_the_handshake_on_either_side),
        cmocka_unit_test(bytes_arrive_whole_over_good_and_bad_sockets),
        cmocka_unit_test(a_goodbye_is_told_from_a_broken_line),
        cmocka_unit_test(damaged_bytes_are_an_error),
        cmocka_unit_test(an_identity_is_the_same_after_it_was_kept),
        cmocka_unit_test(what_is_no_identity_is_refused),
        cmocka_unit_test(only_tls_1_3_with_a_certificate_is_spoken),
        cmocka_unit_test(dates_mean_nothing),
    };
    return cmocka_run_group_tests_name("net/tls", tests, NULL, NULL);
}
