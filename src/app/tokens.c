// rondo token: what this head has issued and whom it knows.
#include "app/output.h"
#include "app/verbs.h"
#include "base/clock.h"
#include "cluster/identity.h"
#include "cluster/pairing_book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHORT_FINGERPRINT = 16 };

static const char *token_state(const struct pairing_token *t, int64_t now_s)
{
    return t->revoked_s ? "revoked" : now_s >= t->expires_s ? "expired" : "valid";
}

static const char *time_text(int64_t seconds, char out[32])
{
    time_t t = (time_t)seconds;
    struct tm parts;
    if (!localtime_r(&t, &parts) || !strftime(out, 32, "%Y-%m-%d %H:%M", &parts))
        snprintf(out, 32, "%lld", (long long)seconds);
    return out;
}

static void print_book(const struct pairing_book *b, int64_t now_s)
{
    char made[32], expires[32], hex[2 * DIGEST_BYTES + 1];
    if (!b->n_tokens)
        puts("No tokens: rondo run MODEL --workers 2 makes one.");
    else
        printf("%-18s %-18s %-18s %s\n", "TOKEN", "MADE", "EXPIRES", "STATE");
    for (int i = 0; i < b->n_tokens; i++) {
        const struct pairing_token *t = &b->tokens[i];
        printf("%016llx   %-18s %-18s %s\n", (unsigned long long)t->id,
               time_text(t->created_s, made), time_text(t->expires_s, expires),
               token_state(t, now_s));
    }
    if (b->n_peers)
        printf("\n%-18s %-32s %-18s %s\n", "WORKER", "NAME", "SEEN", "STATE");
    for (int i = 0; i < b->n_peers; i++) {
        const struct pairing_peer *p = &b->peers[i];
        digest_hex(&p->fingerprint, hex);
        printf("%.*s   %-32s %-18s %s\n", SHORT_FINGERPRINT, hex, p->name,
               time_text(p->seen_s, made), p->revoked_s ? "revoked" : "known");
    }
}

static json_t *json_book(const struct pairing_book *b, int64_t now_s)
{
    json_t *tokens = json_array(), *workers = json_array();
    char hex[2 * DIGEST_BYTES + 1];
    for (int i = 0; i < b->n_tokens; i++) {
        const struct pairing_token *t = &b->tokens[i];
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)t->id);
        json_array_append_new(
            tokens, json_pack("{s:s, s:I, s:I, s:s}", "id", hex, "made", (json_int_t)t->created_s,
                              "expires", (json_int_t)t->expires_s, "state", token_state(t, now_s)));
    }
    for (int i = 0; i < b->n_peers; i++) {
        const struct pairing_peer *p = &b->peers[i];
        digest_hex(&p->fingerprint, hex);
        json_array_append_new(workers, json_pack("{s:s, s:s, s:I, s:b}", "fingerprint", hex, "name",
                                                 p->name, "seen", (json_int_t)p->seen_s, "revoked",
                                                 p->revoked_s != 0));
    }
    return json_pack("{s:o, s:o}", "tokens", tokens, "workers", workers);
}

static int list(const char *folder, bool json, struct err *e)
{
    struct pairing_book *b = calloc(1, sizeof *b);
    int64_t now_s = clock_wall_s();
    int rc = b ? pairing_book_load(b, folder, e) : err_set(e, ERR_NO_MEMORY, "out of memory");
    if (!rc && json)
        rc = output_json(json_book(b, now_s), e);
    else if (!rc)
        print_book(b, now_s);
    free(b);
    return rc;
}

struct change {
    const char *which;
    bool is_id;
    uint64_t id;
    int64_t now_s;
};

static struct pairing_token *find_token(const struct change *c, struct pairing_book *b)
{
    return c->is_id ? pairing_book_token(b, c->id) : NULL;
}

static int expire(void *ctx, struct pairing_book *b, struct err *e)
{
    const struct change *c = ctx;
    struct pairing_token *t = find_token(c, b);
    if (!t)
        return err_set(e, ERR_FAILED, "there is no token '%s'; 'rondo token list' shows them",
                       c->which);
    if (t->expires_s > c->now_s)
        t->expires_s = c->now_s;
    return 0;
}

static int revoke(void *ctx, struct pairing_book *b, struct err *e)
{
    const struct change *c = ctx;
    if (find_token(c, b))
        return pairing_book_revoke_token(b, c->id, c->now_s, e);
    return pairing_book_revoke_peer(b, c->which, c->now_s, e);
}

static int run(const struct options *o, struct err *e)
{
    const char *what = options_arg(o, 0);
    struct change c = {.which = options_arg(o, 1), .now_s = clock_wall_s()};
    char folder[IDENTITY_PATH], *end = NULL;
    bool known = !strcmp(what, "list") || !strcmp(what, "expire") || !strcmp(what, "revoke");
    if (!known || !strcmp(what, "list") != !c.which)
        return err_set(e, ERR_USAGE,
                       "wanted: rondo token list, rondo token expire TOKEN, or rondo token revoke "
                       "TOKEN-OR-WORKER; see 'rondo help token'");
    int rc = identity_folder(folder, e);
    if (rc)
        return rc;
    if (!c.which)
        return list(folder, options_flag(o, OPT_JSON), e);
    c.id = strtoull(c.which, &end, 16);
    c.is_id = strlen(c.which) == 16 && !*end;
    return pairing_book_change(folder, *what == 'e' ? expire : revoke, &c, e);
}

const struct verb verb_token = {
    .name = "token",
    .summary = "list, expire and revoke what lets workers in",
    .usage = "list | expire TOKEN | revoke TOKEN-OR-WORKER",
    .text = "Tokens are named by their 16 digits, workers by their name or the beginning of their "
            "fingerprint, as 'rondo token list' shows them. An expired token lets nobody new in. A "
            "revoked worker needs a new token; one that is in a ring now stays until that ends.",
    .options = (const struct verb_option[]){{OPT_JSON, NULL}, {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
