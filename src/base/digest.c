// SHA-256: a thin face over OpenSSL's EVP.
#include "base/digest.h"

#include "base/check.h"

#include <openssl/evp.h>

struct digest_state *digest_begin(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
    return (struct digest_state *)ctx;
}

void digest_add(struct digest_state *s, const void *data, size_t size)
{
    CHECK(EVP_DigestUpdate((EVP_MD_CTX *)s, data, size));
}

struct digest digest_end(struct digest_state *s)
{
    struct digest d;
    CHECK(EVP_DigestFinal_ex((EVP_MD_CTX *)s, d.bytes, NULL));
    EVP_MD_CTX_free((EVP_MD_CTX *)s);
    return d;
}

struct digest digest_of(const void *data, size_t size)
{
    struct digest_state *s = digest_begin();
    digest_add(s, data, size);
    return digest_end(s);
}

void digest_hex(const struct digest *d, char out[2 * DIGEST_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->bytes[i] >> 4];
        out[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    out[2 * DIGEST_BYTES] = 0;
}
