// A token: what a worker needs to find the head and to be let in, as one word of text.
//
//   rondo-<base32 of: version, port, expiry, id, secret, fingerprint, addresses, checksum>
//
// Upper and lower case are the same, as are 0 and o, 1 and i and l; a typing error breaks the
// checksum. Whoever has the token can join until it expires or is revoked.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "net/sockets.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TOKEN_VERSION = 1,
    TOKEN_SECRET_BYTES = 16,
    TOKEN_MAX_ADDRESSES = 8,
    TOKEN_TEXT_MAX = 400, // with the NUL
};

struct token {
    uint64_t id;       // names the secret in the head's book; never 0
    int64_t expires_s; // seconds since 1970, full minutes
    uint8_t secret[TOKEN_SECRET_BYTES];
    struct digest fingerprint; // the head's
    uint16_t port;
    int n_addresses;
    struct net_address addresses[TOKEN_MAX_ADDRESSES];
};

void token_write(const struct token *t, char out[TOKEN_TEXT_MAX]);
// Checks form and checksum, not the expiry: the head's clock decides that.
int token_read(struct token *t, const char *text, size_t length, struct err *e);
