// The book of issued tokens and known workers: pure operations, and its file as JSON.
#include "cluster/pairing_book.h"

#include "base/clock.h"
#include "cluster/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    BOOK_VERSION = 1,
    BOOK_BYTES_MAX = 256 * 1024, // a full book is about 70 KiB
    BOOK_KEEP_S = 24 * 3600,     // tokens that are over stay listed for a day
};
#define BOOK_FILE "/pairing.json"
#define BOOK_LOCK "/pairing.lock"

// ---- Pure.

struct pairing_token *pairing_book_token(struct pairing_book *b, uint64_t id)
{
    for (int i = 0; i < b->n_tokens; i++)
        if (b->tokens[i].id == id)
            return &b->tokens[i];
    return NULL;
}

struct pairing_peer *pairing_book_peer(struct pairing_book *b, const struct digest *fingerprint)
{
    for (int i = 0; i < b->n_peers; i++)
        if (memcmp(b->peers[i].fingerprint.bytes, fingerprint->bytes, DIGEST_BYTES) == 0)
            return &b->peers[i];
    return NULL;
}

static void forget_old_tokens(struct pairing_book *b, int64_t now_s)
{
    int n = 0;
    for (int i = 0; i < b->n_tokens; i++) {
        const struct pairing_token *t = &b->tokens[i];
        bool expired = now_s > t->expires_s && now_s - t->expires_s > BOOK_KEEP_S;
        bool revoked = t->revoked_s && now_s > t->revoked_s && now_s - t->revoked_s > BOOK_KEEP_S;
        if (!expired && !revoked)
            b->tokens[n++] = *t;
    }
    b->n_tokens = n;
}

int pairing_book_issue(struct pairing_book *b, uint64_t id,
                       const uint8_t secret[TOKEN_SECRET_BYTES], int64_t now_s, int64_t expires_s,
                       struct err *e)
{
    forget_old_tokens(b, now_s);
    if (b->n_tokens == PAIRING_MAX_TOKENS)
        return err_set(e, ERR_FAILED,
                       "%d tokens are in use, no more fit; revoke some that are not needed",
                       PAIRING_MAX_TOKENS);
    struct pairing_token *t = &b->tokens[b->n_tokens++];
    *t = (struct pairing_token){.id = id, .created_s = now_s, .expires_s = expires_s};
    memcpy(t->secret, secret, TOKEN_SECRET_BYTES);
    return 0;
}

int pairing_book_revoke_token(struct pairing_book *b, uint64_t id, int64_t now_s, struct err *e)
{
    struct pairing_token *t = pairing_book_token(b, id);
    if (!t)
        return err_set(e, ERR_USAGE, "there is no token %016llx; see the list of tokens",
                       (unsigned long long)id);
    if (!t->revoked_s)
        t->revoked_s = now_s;
    return 0;
}

static bool peer_is(const struct pairing_peer *p, const char *which)
{
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(&p->fingerprint, hex);
    size_t n = strlen(which);
    return strcmp(p->name, which) == 0 || (n >= 4 && strncmp(hex, which, n) == 0);
}

int pairing_book_revoke_peer(struct pairing_book *b, const char *which, int64_t now_s,
                             struct err *e)
{
    struct pairing_peer *found = NULL;
    char shown[80];
    err_quote(shown, sizeof shown, which, (int)strnlen(which, 256));
    for (int i = 0; i < b->n_peers; i++)
        if (peer_is(&b->peers[i], which)) {
            if (found)
                return err_set(
                    e, ERR_USAGE,
                    "more than one worker is called \"%s\"; give more of its fingerprint", shown);
            found = &b->peers[i];
        }
    if (!found)
        return err_set(
            e, ERR_USAGE,
            "no worker is called \"%s\"; give its name or the beginning of its fingerprint", shown);
    if (!found->revoked_s)
        found->revoked_s = now_s;
    return 0;
}

void pairing_book_remember(struct pairing_book *b, const struct digest *fingerprint,
                           const char *name, int64_t now_s)
{
    struct pairing_peer *p = pairing_book_peer(b, fingerprint);
    if (!p && b->n_peers < PAIRING_MAX_PEERS) {
        p = &b->peers[b->n_peers++];
        *p = (struct pairing_peer){.paired_s = now_s};
    } else if (!p) {
        p = &b->peers[0];
        for (int i = 1; i < b->n_peers; i++)
            if (b->peers[i].seen_s < p->seen_s)
                p = &b->peers[i];
        *p = (struct pairing_peer){.paired_s = now_s};
    }
    p->fingerprint = *fingerprint;
    p->seen_s = now_s;
    p->revoked_s = 0;
    err_quote(p->name, sizeof p->name, name, (int)strnlen(name, sizeof p->name - 1));
}

// ---- JSON.

static bool hex_read(const char *text, uint8_t *out, size_t size)
{
    if (!text || strlen(text) != 2 * size)
        return false;
    for (size_t i = 0; i < 2 * size; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, text[i]);
        if (!at)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (at - digits));
    }
    return true;
}

static void hex_write(const uint8_t *data, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", data[i]);
}

static bool time_read(const json_t *object, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(object, key);
    *out = json_integer_value(v);
    return json_is_integer(v) && *out >= 0 && *out < INT64_C(1) << 40;
}

static bool token_from(const json_t *o, struct pairing_token *t)
{
    uint8_t id[8] = {0};
    if (!hex_read(json_string_value(json_object_get(o, "id")), id, sizeof id) ||
        !hex_read(json_string_value(json_object_get(o, "secret")), t->secret, sizeof t->secret) ||
        !time_read(o, "created", &t->created_s) || !time_read(o, "expires", &t->expires_s) ||
        !time_read(o, "revoked", &t->revoked_s))
        return false;
    for (size_t i = 0; i < sizeof id; i++)
        t->id = t->id << 8 | id[i];
    return t->id != 0;
}

static bool peer_from(const json_t *o, struct pairing_peer *p)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    if (!name ||
        !hex_read(json_string_value(json_object_get(o, "fingerprint")), p->fingerprint.bytes,
                  DIGEST_BYTES) ||
        !time_read(o, "paired", &p->paired_s) || !time_read(o, "seen", &p->seen_s) ||
        !time_read(o, "revoked", &p->revoked_s))
        return false;
    err_quote(p->name, sizeof p->name, name, (int)strlen(name));
    return true;
}

static bool book_from(struct pairing_book *b, const json_t *root)
{
    const json_t *tokens = json_object_get(root, "tokens"), *peers = json_object_get(root, "peers");
    size_t i;
    json_t *o;
    if (json_integer_value(json_object_get(root, "version")) != BOOK_VERSION ||
        !json_is_array(tokens) || json_array_size(tokens) > PAIRING_MAX_TOKENS ||
        !json_is_array(peers) || json_array_size(peers) > PAIRING_MAX_PEERS)
        return false;
    json_array_foreach(tokens, i, o)
    {
        if (!token_from(o, &b->tokens[b->n_tokens++]))
            return false;
    }
    json_array_foreach(peers, i, o)
    {
        if (!peer_from(o, &b->peers[b->n_peers++]))
            return false;
    }
    return true;
}

int pairing_book_parse(struct pairing_book *b, const char *text, size_t size, struct err *e)
{
    json_error_t why;
    memset(b, 0, sizeof *b);
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    bool good = root && book_from(b, root);
    json_decref(root);
    if (good)
        return 0;
    OPENSSL_cleanse(b, sizeof *b);
    return err_set(e, ERR_FAILED,
                   "the list of tokens and known workers is damaged; delete pairing.json in the "
                   "state folder, then pair the workers again");
}

// NULL: no memory.
static json_t *book_to_json(const struct pairing_book *b)
{
    char a[2 * DIGEST_BYTES + 1], secret[2 * TOKEN_SECRET_BYTES + 1];
    json_t *tokens = json_array(), *peers = json_array();
    int failed = 0;
    for (int i = 0; i < b->n_tokens; i++) {
        const struct pairing_token *t = &b->tokens[i];
        snprintf(a, sizeof a, "%016llx", (unsigned long long)t->id);
        hex_write(t->secret, sizeof t->secret, secret);
        failed |= json_array_append_new(
            tokens, json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", a, "secret", secret, "created",
                              (json_int_t)t->created_s, "expires", (json_int_t)t->expires_s,
                              "revoked", (json_int_t)t->revoked_s));
    }
    for (int i = 0; i < b->n_peers; i++) {
        const struct pairing_peer *p = &b->peers[i];
        digest_hex(&p->fingerprint, a);
        failed |= json_array_append_new(
            peers, json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", p->name, "fingerprint", a,
                             "paired", (json_int_t)p->paired_s, "seen", (json_int_t)p->seen_s,
                             "revoked", (json_int_t)p->revoked_s));
    }
    OPENSSL_cleanse(secret, sizeof secret);
    json_t *root =
        json_pack("{s:i, s:o, s:o}", "version", BOOK_VERSION, "tokens", tokens, "peers", peers);
    if (!failed)
        return root;
    json_decref(root);
    return NULL;
}

// ---- The file.

static int path_of(char out[IDENTITY_PATH], const char *folder, const char *file, struct err *e)
{
    int n = snprintf(out, IDENTITY_PATH, "%s%s", folder, file);
    return n >= 0 && n < IDENTITY_PATH
               ? 0
               : err_set(e, ERR_USAGE, "the name of the state folder is too long");
}

int pairing_book_load(struct pairing_book *b, const char *folder, struct err *e)
{
    char path[IDENTITY_PATH];
    size_t size;
    memset(b, 0, sizeof *b);
    int rc = path_of(path, folder, BOOK_FILE, e);
    char *text = rc ? NULL : malloc(BOOK_BYTES_MAX);
    if (!text)
        return rc ? rc : err_set(e, ERR_NO_MEMORY, "no memory for the list of known workers");
    rc = identity_read_private(path, text, BOOK_BYTES_MAX, &size, e);
    if (rc == 0)
        rc = pairing_book_parse(b, text, size, e);
    OPENSSL_cleanse(text, BOOK_BYTES_MAX);
    free(text);
    return rc == 1 ? 0 : rc; // none yet: an empty book
}

static int store(const struct pairing_book *b, const char *folder, struct err *e)
{
    char path[IDENTITY_PATH];
    int rc = path_of(path, folder, BOOK_FILE, e);
    json_t *root = rc ? NULL : book_to_json(b);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return rc ? rc : err_set(e, ERR_NO_MEMORY, "no memory for the list of known workers");
    rc = identity_write_private(path, text, strlen(text), true, e);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return rc;
}

int pairing_book_change(const char *folder,
                        int (*change)(void *ctx, struct pairing_book *b, struct err *e), void *ctx,
                        struct err *e)
{
    char path[IDENTITY_PATH];
    int rc = path_of(path, folder, BOOK_LOCK, e);
    if (rc)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, ERR_DENIED, "cannot write %s", path);
    while ((rc = flock(fd, LOCK_EX)) && errno == EINTR)
        ;
    struct pairing_book *b = malloc(sizeof *b);
    if (rc)
        rc = err_errno(e, ERR_FAILED, "cannot lock %s", path);
    else if (!b)
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the list of known workers");
    else if ((rc = pairing_book_load(b, folder, e)) == 0 && (rc = change(ctx, b, e)) == 0)
        rc = store(b, folder, e);
    if (b)
        OPENSSL_cleanse(b, sizeof *b);
    free(b);
    close(fd);
    return rc;
}

struct issuing {
    struct token *token;
    int64_t now_s;
};

static int issue(void *ctx, struct pairing_book *b, struct err *e)
{
    struct issuing *i = ctx;
    return pairing_book_issue(b, i->token->id, i->token->secret, i->now_s, i->token->expires_s, e);
}

int pairing_issue(const char *folder, struct token *t, int64_t valid_s, struct err *e)
{
    struct issuing i = {t, clock_wall_s()};
    t->expires_s = (i.now_s + valid_s + 59) / 60 * 60;
    do
        if (RAND_bytes((uint8_t *)&t->id, sizeof t->id) != 1 ||
            RAND_bytes(t->secret, sizeof t->secret) != 1)
            return err_set(e, ERR_FAILED, "this machine gives no random numbers");
    while (t->id == 0);
    return pairing_book_change(folder, issue, &i, e);
}

struct meeting {
    const struct digest *fingerprint;
    const char *name;
    int64_t now_s;
};

static int remember(void *ctx, struct pairing_book *b, struct err *e)
{
    struct meeting *m = ctx;
    (void)e;
    pairing_book_remember(b, m->fingerprint, m->name, m->now_s);
    return 0;
}

int pairing_remember(const char *folder, const struct digest *fingerprint, const char *name,
                     struct err *e)
{
    struct meeting m = {fingerprint, name, clock_wall_s()};
    return pairing_book_change(folder, remember, &m, e);
}
