// The proof, and the head's decision about who may join.
#include "cluster/pairing.h"

#include "base/check.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const char label[] = "rondo pairing 1"; // with its NUL

void pairing_proof(uint8_t out[PAIRING_PROOF_BYTES], const uint8_t secret[TOKEN_SECRET_BYTES],
                   enum pairing_role prover, const struct pairing_channel *c)
{
    uint8_t message[sizeof label + 1 + TLS_EXPORTER_BYTES + 2 * DIGEST_BYTES], *at = message;
    unsigned size = PAIRING_PROOF_BYTES;
    memcpy(at, label, sizeof label);
    at += sizeof label;
    *at++ = (uint8_t)prover;
    memcpy(at, c->exporter, TLS_EXPORTER_BYTES);
    at += TLS_EXPORTER_BYTES;
    memcpy(at, c->worker.bytes, DIGEST_BYTES);
    memcpy(at + DIGEST_BYTES, c->head.bytes, DIGEST_BYTES);
    CHECK(HMAC(EVP_sha256(), secret, TOKEN_SECRET_BYTES, message, sizeof message, out, &size));
    CHECK(size == PAIRING_PROOF_BYTES);
}

bool pairing_proof_right(const uint8_t proof[PAIRING_PROOF_BYTES],
                         const uint8_t secret[TOKEN_SECRET_BYTES], enum pairing_role prover,
                         const struct pairing_channel *c)
{
    uint8_t right[PAIRING_PROOF_BYTES];
    pairing_proof(right, secret, prover, c);
    bool same = CRYPTO_memcmp(proof, right, sizeof right) == 0;
    OPENSSL_cleanse(right, sizeof right);
    return same;
}

int pairing_same_version(const struct wire_header *header, const struct wire_hello *hello,
                         struct err *why)
{
    if (header->version == WIRE_VERSION)
        return 0;
    return err_set(why, ERR_FAILED,
                   "the head runs rondo %s with protocol version %u, the worker rondo %.*s with "
                   "protocol version %u; run the same version on all machines",
                   RONDO_VERSION, WIRE_VERSION, WIRE_BUILD, hello->build, header->version);
}

static enum pairing_verdict refuse(struct err *why, const char *sentence)
{
    err_set(why, ERR_DENIED, "%s", sentence);
    return PAIRING_REFUSED;
}

// The token that the worker names; NULL and a sentence when it does not open the door.
static const struct pairing_token *valid_token(struct pairing_book *b,
                                               const struct wire_hello *hello,
                                               const struct pairing_channel *c, int64_t now_s,
                                               struct err *why)
{
    static const char wrong[] = "the token's secret is wrong; make a new token on the head and "
                                "join with that one";
    const struct pairing_token *t = pairing_book_token(b, hello->token_id);
    // Only who has the secret learns what became of its token.
    if (!t || !pairing_proof_right(hello->proof, t->secret, PAIRING_WORKER, c))
        refuse(why, wrong);
    else if (t->revoked_s)
        refuse(why, "this token was revoked; make a new one on the head and join with that one");
    else if (now_s >= t->expires_s)
        refuse(why, "this token has expired; make a new one on the head and join with that one");
    else
        return t;
    return NULL;
}

enum pairing_verdict pairing_decide(struct pairing_book *b, const struct wire_header *header,
                                    const struct wire_hello *hello, const struct pairing_channel *c,
                                    int64_t now_s, struct err *why)
{
    if (pairing_same_version(header, hello, why))
        return PAIRING_REFUSED;
    if (hello->purpose != WIRE_JOIN)
        return refuse(why, "this node's ring has not begun, there is nothing to pass on yet");
    const struct pairing_peer *p = pairing_book_peer(b, &c->worker);
    if (p && !p->revoked_s)
        return PAIRING_KNOWN;
    if (!hello->token_id)
        return refuse(why, p ? "this worker was revoked; it needs a new token to join again"
                             : "this head does not know the worker; join with a token that the "
                               "head has printed");
    const struct pairing_token *t = valid_token(b, hello, c, now_s, why);
    if (!t)
        return PAIRING_REFUSED;
    if (p && t->created_s < p->revoked_s)
        return refuse(why, "this worker was revoked after its token was made; make a new token on "
                           "the head and join with that one");
    return PAIRING_PROVEN;
}
