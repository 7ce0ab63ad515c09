// The head's book: the tokens it has issued and the workers it knows.
//
// `struct pairing_book` is plain memory and its functions are pure. The file behind it
// (pairing.json in the state folder, mode 0600) is read afresh for every decision and changed under
// a lock, so that `rondo` can revoke in another process.
#pragma once

#include "cluster/token.h"

#include <stdbool.h>

enum { PAIRING_MAX_TOKENS = 64, PAIRING_MAX_PEERS = 256, PAIRING_NAME = 32 };

struct pairing_token {
    uint64_t id;
    uint8_t secret[TOKEN_SECRET_BYTES];
    int64_t created_s, expires_s;
    int64_t revoked_s; // 0: not
};

struct pairing_peer {
    struct digest fingerprint;
    char name[PAIRING_NAME]; // as the worker gave it, printable
    int64_t paired_s, seen_s;
    int64_t revoked_s; // 0: not
};

struct pairing_book {
    int n_tokens, n_peers;
    struct pairing_token tokens[PAIRING_MAX_TOKENS];
    struct pairing_peer peers[PAIRING_MAX_PEERS];
};

// ---- Pure.
struct pairing_token *pairing_book_token(struct pairing_book *b, uint64_t id);
struct pairing_peer *pairing_book_peer(struct pairing_book *b, const struct digest *fingerprint);
// A new token; what has expired or was revoked a day ago makes room. id and secret are random.
int pairing_book_issue(struct pairing_book *b, uint64_t id,
                       const uint8_t secret[TOKEN_SECRET_BYTES], int64_t now_s, int64_t expires_s,
                       struct err *e);
int pairing_book_revoke_token(struct pairing_book *b, uint64_t id, int64_t now_s, struct err *e);
// The one peer whose fingerprint in hexadecimal begins so, or whose name it is.
int pairing_book_revoke_peer(struct pairing_book *b, const char *which, int64_t now_s,
                             struct err *e);
// Known from now on; revoked no longer. The one not seen for longest makes room.
void pairing_book_remember(struct pairing_book *b, const struct digest *fingerprint,
                           const char *name, int64_t now_s);

// ---- The file. `folder`: identity_folder.
int pairing_book_parse(struct pairing_book *b, const char *text, size_t size, struct err *e);
int pairing_book_load(struct pairing_book *b, const char *folder, struct err *e); // absent: empty
// Locks, loads, calls `change`, and stores when it returned 0; returns what it returned.
int pairing_book_change(const char *folder,
                        int (*change)(void *ctx, struct pairing_book *b, struct err *e), void *ctx,
                        struct err *e);

// ---- The two uses a head has for it, in one call each.
// Issues a token that is valid for valid_s seconds: fills id, secret and expiry; the caller has
// filled fingerprint, port and addresses.
int pairing_issue(const char *folder, struct token *t, int64_t valid_s, struct err *e);
int pairing_remember(const char *folder, const struct digest *fingerprint, const char *name,
                     struct err *e);
