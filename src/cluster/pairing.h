// Pairing: whether a node that says hello is let in. Pure functions; no clock, no files, no
// sockets.
//
//   worker                                             head
//     | TLS 1.3, pins the fingerprint of the token       | any certificate
//     | HELLO {token id, HMAC(secret, role, exporter,    |
//     |        worker's and head's fingerprint)}  -----> | known fingerprint, or the right proof
//     | <----------------------------- WELCOME or REFUSE | remembers the fingerprint
//
// The exporter binds the proof to this one TLS connection, the role keeps it from being reflected,
// and the worker's fingerprint is in it because a TLS 1.3 exporter does not cover the client's
// certificate.
#pragma once

#include "cluster/pairing_book.h"
#include "net/tls.h"
#include "ring/messages.h"

enum pairing_role { PAIRING_WORKER = 1, PAIRING_HEAD };

enum { PAIRING_PROOF_BYTES = 32 };

// What both ends of a connection know.
struct pairing_channel {
    uint8_t exporter[TLS_EXPORTER_BYTES];
    struct digest worker, head; // fingerprints
};

void pairing_proof(uint8_t out[PAIRING_PROOF_BYTES], const uint8_t secret[TOKEN_SECRET_BYTES],
                   enum pairing_role prover, const struct pairing_channel *c);
// In constant time.
bool pairing_proof_right(const uint8_t proof[PAIRING_PROOF_BYTES],
                         const uint8_t secret[TOKEN_SECRET_BYTES], enum pairing_role prover,
                         const struct pairing_channel *c);

enum pairing_verdict {
    PAIRING_KNOWN,  // its fingerprint is in the book
    PAIRING_PROVEN, // it has the secret: remember it
    PAIRING_REFUSED,
};

// The head's decision about a JOIN; `why` is the sentence for both sides. The book must be fresh.
enum pairing_verdict pairing_decide(struct pairing_book *b, const struct wire_header *header,
                                    const struct wire_hello *hello, const struct pairing_channel *c,
                                    int64_t now_s, struct err *why);

// Any listener, any purpose: 0, or ERR_FAILED and a sentence that names both versions.
int pairing_same_version(const struct wire_header *header, const struct wire_hello *hello,
                         struct err *why);
