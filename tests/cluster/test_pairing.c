// The proof, the decision, and the book behind it.
#include "support.h"

#include "base/rng.h"
#include "cluster/pairing.h"
#include "faulty_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void randomise(struct rng *r, void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = (uint8_t)rng_u64(r);
}

static struct pairing_channel channel(struct rng *r)
{
    struct pairing_channel c;
    randomise(r, &c, sizeof c);
    return c;
}

static void a_proof_holds_for_one_connection_one_role_and_one_secret(void **state)
{
    struct rng r;
    uint8_t secret[TOKEN_SECRET_BYTES], proof[PAIRING_PROOF_BYTES];
    (void)state;
    rng_init(&r, 1);
    randomise(&r, secret, sizeof secret);
    struct pairing_channel c = channel(&r), other;
    pairing_proof(proof, secret, PAIRING_WORKER, &c);
    assert_true(pairing_proof_right(proof, secret, PAIRING_WORKER, &c));
    assert_false(pairing_proof_right(proof, secret, PAIRING_HEAD, &c)); // reflected
    for (size_t i = 0; i < sizeof c; i++) { // replayed on another connection, or by another node
        other = c;
        ((uint8_t *)&other)[i] ^= 1;
        assert_false(pairing_proof_right(proof, secret, PAIRING_WORKER, &other));
    }
    other = c;
    other.worker = c.head;
    other.head = c.worker;
    assert_false(pairing_proof_right(proof, secret, PAIRING_WORKER, &other));
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] ^= 0x80;
        assert_false(pairing_proof_right(proof, secret, PAIRING_WORKER, &c));
        secret[i] ^= 0x80;
    }
    for (size_t i = 0; i < sizeof proof; i++) {
        proof[i] ^= 1;
        assert_false(pairing_proof_right(proof, secret, PAIRING_WORKER, &c));
        proof[i] ^= 1;
    }
}

// A head with one token, and a worker that has it.
struct meeting {
    struct pairing_book book;
    struct wire_header header;
    struct wire_hello hello;
    struct pairing_channel channel;
    uint8_t secret[TOKEN_SECRET_BYTES];
    struct err why;
};

enum { MADE = 1000, EXPIRES = 5000 };

static void meet(struct meeting *m)
{
    struct rng r;
    rng_init(&r, 7);
    memset(m, 0, sizeof *m);
    randomise(&r, m->secret, sizeof m->secret);
    m->channel = channel(&r);
    assert_int_equal(pairing_book_issue(&m->book, 42, m->secret, MADE, EXPIRES, NULL), 0);
    m->header.version = WIRE_VERSION;
    m->hello.purpose = WIRE_JOIN;
    m->hello.token_id = 42;
    pairing_proof(m->hello.proof, m->secret, PAIRING_WORKER, &m->channel);
}

static enum pairing_verdict decide(struct meeting *m, int64_t now_s)
{
    m->why.code = 0;
    enum pairing_verdict v =
        pairing_decide(&m->book, &m->header, &m->hello, &m->channel, now_s, &m->why);
    assert_true((v == PAIRING_REFUSED) == (m->why.code < 0));
    return v;
}

static void assert_refused(struct meeting *m, int64_t now_s, const char *word)
{
    assert_int_equal(decide(m, now_s), PAIRING_REFUSED);
    if (!strstr(m->why.text, word))
        fail_msg("'%s' does not say '%s'", m->why.text, word);
}

static void the_right_secret_opens_and_is_not_needed_again(void **state)
{
    struct meeting m;
    (void)state;
    meet(&m);
    assert_int_equal(decide(&m, MADE + 1), PAIRING_PROVEN);
    pairing_book_remember(&m.book, &m.channel.worker, "attic", MADE + 1);
    m.hello.token_id = 0;
    memset(m.hello.proof, 0, sizeof m.hello.proof);
    assert_int_equal(decide(&m, EXPIRES + 100000), PAIRING_KNOWN);
    m.channel.worker.bytes[0] ^= 1; // somebody else without a secret
    assert_refused(&m, MADE + 1, "does not know");
}

static void a_wrong_secret_is_refused(void **state)
{
    struct meeting m;
    (void)state;
    meet(&m);
    m.hello.proof[3] ^= 1;
    assert_refused(&m, MADE + 1, "wrong");
    assert_int_equal(m.why.code, ERR_DENIED);
    meet(&m);
    m.hello.token_id = 43;
    assert_refused(&m, MADE + 1, "wrong");
    meet(&m);
    m.channel.exporter[0] ^= 1; // a proof heard on another connection
    assert_refused(&m, MADE + 1, "wrong");
    meet(&m);
    m.channel.worker.bytes[0] ^= 1; // sent on by another node
    assert_refused(&m, MADE + 1, "wrong");
    meet(&m);
    pairing_proof(m.hello.proof, m.secret, PAIRING_HEAD, &m.channel);
    assert_refused(&m, MADE + 1, "wrong");
}

static void tokens_end(void **state)
{
    struct meeting m;
    (void)state;
    meet(&m);
    assert_int_equal(decide(&m, EXPIRES - 1), PAIRING_PROVEN);
    assert_refused(&m, EXPIRES, "expired");
    meet(&m);
    assert_int_equal(pairing_book_revoke_token(&m.book, 42, MADE + 5, NULL), 0);
    assert_refused(&m, MADE + 6, "revoked");
    struct err e = {0};
    assert_int_equal(pairing_book_revoke_token(&m.book, 9, MADE + 5, &e), ERR_USAGE);
    m.hello.proof[0] ^= 1; // who has not the secret learns nothing of the token
    assert_refused(&m, MADE + 6, "wrong");
}

static void a_revoked_worker_needs_a_newer_token(void **state)
{
    struct meeting m;
    uint8_t fresh[TOKEN_SECRET_BYTES] = {5};
    (void)state;
    meet(&m);
    pairing_book_remember(&m.book, &m.channel.worker, "attic", MADE + 1);
    assert_int_equal(pairing_book_revoke_peer(&m.book, "attic", MADE + 10, NULL), 0);
    assert_refused(&m, MADE + 11, "after its token was made");
    m.hello.token_id = 0;
    assert_refused(&m, MADE + 11, "revoked");
    assert_int_equal(pairing_book_issue(&m.book, 50, fresh, MADE + 20, EXPIRES, NULL), 0);
    m.hello.token_id = 50;
    pairing_proof(m.hello.proof, fresh, PAIRING_WORKER, &m.channel);
    assert_int_equal(decide(&m, MADE + 21), PAIRING_PROVEN);
    pairing_book_remember(&m.book, &m.channel.worker, "attic", MADE + 21);
    m.hello.token_id = 0;
    assert_int_equal(decide(&m, MADE + 22), PAIRING_KNOWN);
}

static void another_version_is_told_both(void **state)
{
    struct meeting m;
    (void)state;
    meet(&m);
    m.header.version = WIRE_VERSION + 1;
    strcpy(m.hello.build, "9.9.9");
    assert_refused(&m, MADE + 1, "9.9.9 with protocol version 5");
    assert_refused(&m, MADE + 1, RONDO_VERSION " with protocol version 4");
    meet(&m);
    m.hello.purpose = WIRE_EDGE; // the head's door to workers is not the ring's
    assert_refused(&m, MADE + 1, "ring");
}

static void workers_are_found_by_name_or_fingerprint(void **state)
{
    struct pairing_book b = {0};
    struct digest d[3] = {{{0xab, 0xcd, 1}}, {{0xab, 0xcd, 2}}, {{0x11}}};
    struct err e = {0};
    (void)state;
    pairing_book_remember(&b, &d[0], "one", 1);
    pairing_book_remember(&b, &d[1], "two", 2);
    pairing_book_remember(&b, &d[2], "two", 3);
    assert_int_equal(pairing_book_revoke_peer(&b, "abcd", 5, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "more than one"));
    assert_int_equal(pairing_book_revoke_peer(&b, "two", 5, NULL), ERR_USAGE);
    assert_int_equal(pairing_book_revoke_peer(&b, "three", 5, NULL), ERR_USAGE);
    assert_int_equal(pairing_book_revoke_peer(&b, "abc", 5, NULL), ERR_USAGE); // too short
    assert_int_equal(pairing_book_revoke_peer(&b, "abcd02", 5, NULL), 0);
    assert_int_equal(pairing_book_peer(&b, &d[1])->revoked_s, 5);
    assert_int_equal(pairing_book_peer(&b, &d[0])->revoked_s, 0);
}

static void a_full_book_makes_room(void **state)
{
    struct pairing_book b = {0};
    uint8_t secret[TOKEN_SECRET_BYTES] = {1};
    struct err e = {0};
    struct digest d = {{0}};
    (void)state;
    for (int i = 0; i < PAIRING_MAX_TOKENS; i++)
        assert_int_equal(pairing_book_issue(&b, (uint64_t)i + 1, secret, 0, 1000 + i, NULL), 0);
    assert_int_equal(pairing_book_issue(&b, 900, secret, 0, 1000, &e), ERR_FAILED);
    int64_t later = 1010 + 24 * 3600; // ten have been over for a day
    assert_int_equal(pairing_book_issue(&b, 900, secret, later, later + 1, NULL), 0);
    assert_null(pairing_book_token(&b, 10));
    assert_non_null(pairing_book_token(&b, 11));
    for (int i = 0; i < PAIRING_MAX_PEERS + 1; i++) {
        memcpy(d.bytes, &i, sizeof i);
        pairing_book_remember(&b, &d, "x", 100 + i);
    }
    int first = 0, second = 1;
    memcpy(d.bytes, &first, sizeof first);
    assert_null(pairing_book_peer(&b, &d)); // not seen for longest
    memcpy(d.bytes, &second, sizeof second);
    assert_non_null(pairing_book_peer(&b, &d));
}

// ---- The file.

static const char *fresh(const char *name)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    assert_int_equal(mkdir(folder, 0700), 0);
    return folder;
}

static struct pairing_book loaded(const char *folder)
{
    struct pairing_book b;
    struct err e = {0};
    assert_ok(pairing_book_load(&b, folder, &e), &e);
    return b;
}

static void the_book_is_kept(void **state)
{
    const char *folder = fresh("kept");
    struct token t[2] = {{.port = 1}, {.port = 2}};
    struct digest d = {{7, 8}};
    struct stat s;
    char path[4200];
    struct err e = {0};
    (void)state;
    assert_int_equal(loaded(folder).n_tokens, 0); // none yet: empty
    assert_ok(pairing_issue(folder, &t[0], 3600, &e), &e);
    assert_ok(pairing_issue(folder, &t[1], 60, &e), &e);
    assert_ok(pairing_remember(folder, &d, "the \"attic\"\\", &e), &e);
    assert_int_not_equal(t[0].id, t[1].id);
    assert_memory_not_equal(t[0].secret, t[1].secret, TOKEN_SECRET_BYTES);
    assert_int_equal(t[0].expires_s % 60, 0);
    struct pairing_book b = loaded(folder);
    assert_int_equal(b.n_tokens, 2);
    for (int i = 0; i < 2; i++) {
        const struct pairing_token *p = pairing_book_token(&b, t[i].id);
        assert_non_null(p);
        assert_memory_equal(p->secret, t[i].secret, TOKEN_SECRET_BYTES);
        assert_int_equal(p->expires_s, t[i].expires_s);
        assert_true(p->created_s > 0 && p->created_s < p->expires_s);
    }
    assert_string_equal(pairing_book_peer(&b, &d)->name, "the \"attic\"\\");
    snprintf(path, sizeof path, "%s/pairing.json", folder);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(pairing_book_load(&b, folder, &e), ERR_DENIED);
}

struct crowd {
    const char *folder;
    int first;
};

static void *remember_some(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < 10; i++) {
        struct digest d = {{0}};
        int number = c->first + i;
        memcpy(d.bytes, &number, sizeof number);
        if (pairing_remember(c->folder, &d, "x", NULL))
            return arg;
    }
    return NULL;
}

static void changes_at_the_same_time_are_all_kept(void **state)
{
    const char *folder = fresh("crowd");
    pthread_t threads[4];
    struct crowd c[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        c[i] = (struct crowd){folder, i * 10};
        assert_int_equal(pthread_create(&threads[i], NULL, remember_some, &c[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(loaded(folder).n_peers, 40);
}

static void a_damaged_book_is_one_sentence(void **state)
{
    const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"version\":2,\"tokens\":[],\"peers\":[]}",
        "{\"version\":1,\"tokens\":{},\"peers\":[]}",
        "{\"version\":1,\"tokens\":[],\"peers\":[],\"peers\":[]}",
        "{\"version\":1,\"tokens\":[1],\"peers\":[]}",
        "{\"version\":1,\"tokens\":[{\"id\":\"00\"}],\"peers\":[]}",
        "{\"version\":1,\"tokens\":[],\"peers\":[{\"name\":\"x\",\"fingerprint\":\"zz\"}]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct pairing_book b;
        struct err e = {0};
        assert_int_equal(pairing_book_parse(&b, texts[i], strlen(texts[i]), &e), ERR_FAILED);
        assert_non_null(strstr(e.text, "pairing.json"));
        assert_int_equal(b.n_tokens + b.n_peers, 0);
    }
    struct pairing_book b;
    char many[40000] = "{\"version\":1,\"peers\":[],\"tokens\":[";
    for (int i = 0; i <= PAIRING_MAX_TOKENS; i++)
        strcat(many, i ? ",{}" : "{}");
    strcat(many, "]}");
    assert_int_equal(pairing_book_parse(&b, many, strlen(many), NULL), ERR_FAILED);
}

static void a_disk_that_fails_keeps_the_old_book(void **state)
{
    const enum disk_call calls[] = {DISK_OPEN, DISK_PREAD, DISK_PWRITE, DISK_FSYNC, DISK_RENAME};
    struct digest d[2] = {{{1}}, {{2}}};
    (void)state;
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++)
        for (long n = 0;; n++) {
            char name[32];
            struct err e = {0};
            snprintf(name, sizeof name, "disk-%zu-%ld", k, n);
            const char *folder = fresh(name);
            assert_ok(pairing_remember(folder, &d[0], "old", &e), &e);
            faulty_disk((struct disk_faults){.call = calls[k], .nth = n, .error = ENOSPC});
            int rc = pairing_remember(folder, &d[1], "new", &e);
            bool happened = faulty_disk_end();
            struct pairing_book b = loaded(folder);
            assert_non_null(pairing_book_peer(&b, &d[0]));
            assert_int_equal(pairing_book_peer(&b, &d[1]) != NULL, !happened);
            assert_int_equal(rc < 0, happened);
            if (!happened)
                break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proof_holds_for_one_connection_one_role_and_one_secret),
        cmocka_unit_test(the_right_secret_opens_and_is_not_needed_again),
        cmocka_unit_test(a_wrong_secret_is_refused),
        cmocka_unit_test(tokens_end),
        cmocka_unit_test(a_revoked_worker_needs_a_newer_token),
        cmocka_unit_test(another_version_is_told_both),
        cmocka_unit_test(workers_are_found_by_name_or_fingerprint),
        cmocka_unit_test(a_full_book_makes_room),
        cmocka_unit_test(the_book_is_kept),
        cmocka_unit_test(changes_at_the_same_time_are_all_kept),
        cmocka_unit_test(a_damaged_book_is_one_sentence),
        cmocka_unit_test(a_disk_that_fails_keeps_the_old_book),
    };
    return cmocka_run_group_tests_name("cluster/pairing", tests, NULL, NULL);
}
