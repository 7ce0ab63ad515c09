// Tokens as bytes and as text.
//
//   bytes: version 1 | port 2 | expiry in minutes since 1970 4 | id 8 | secret 16 | fingerprint 32
//   |
//          number of addresses 1 | each: family 1, 4 or 16 bytes | checksum 4
//
// The text is base32 in Crockford's alphabet (no i, l, o, u), most significant bits first; the bits
// that fill the last character are zero.
#include "cluster/token.h"

#include "base/bytes.h"
#include "base/check.h"

#include <openssl/crypto.h>
#include <string.h>

enum {
    CHECKSUM = 4,
    BYTES_MAX = 1 + 2 + 4 + 8 + 16 + 32 + 1 + 17 * TOKEN_MAX_ADDRESSES + CHECKSUM
};
_Static_assert(6 + (BYTES_MAX * 8 + 4) / 5 + 1 <= TOKEN_TEXT_MAX, "the text has room");

static const char prefix[] = "rondo-";
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    if (c == 'o')
        return 0;
    if (c == 'i' || c == 'l')
        return 1;
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

static size_t to_bytes(const struct token *t, uint8_t out[BYTES_MAX])
{
    uint8_t *at = out, version = TOKEN_VERSION, n = (uint8_t)t->n_addresses;
    uint32_t minutes = (uint32_t)(t->expires_s / 60);
    CHECK(t->n_addresses >= 0 && t->n_addresses <= TOKEN_MAX_ADDRESSES && t->id);
    CHECK(t->expires_s >= 0 && t->expires_s / 60 <= UINT32_MAX);
    at = put(at, &version, 1);
    at = put(at, &t->port, 2);
    at = put(at, &minutes, 4);
    at = put(at, &t->id, 8);
    at = put(at, t->secret, TOKEN_SECRET_BYTES);
    at = put(at, t->fingerprint.bytes, DIGEST_BYTES);
    at = put(at, &n, 1);
    for (int i = 0; i < t->n_addresses; i++) {
        const struct net_address *a = &t->addresses[i];
        at = put(at, &a->family, 1);
        at = put(at, a->bytes, a->family == 4 ? 4 : 16);
    }
    struct digest sum = digest_of(out, (size_t)(at - out));
    at = put(at, sum.bytes, CHECKSUM);
    return (size_t)(at - out);
}

void token_write(const struct token *t, char out[TOKEN_TEXT_MAX])
{
    uint8_t bytes[BYTES_MAX];
    size_t size = to_bytes(t, bytes);
    unsigned pending = 0, n_pending = 0;
    char *at = out + (sizeof prefix - 1);
    memcpy(out, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < size; i++) {
        pending = (pending << 8 | bytes[i]) & 0xfff;
        for (n_pending += 8; n_pending >= 5;)
            *at++ = alphabet[pending >> (n_pending -= 5) & 31];
    }
    if (n_pending)
        *at++ = alphabet[pending << (5 - n_pending) & 31];
    *at = 0;
    OPENSSL_cleanse(bytes, sizeof bytes);
}

static int damaged(struct err *e)
{
    return err_set(e, ERR_USAGE,
                   "this token has a typing error or is cut off; copy the whole line that the head "
                   "node printed");
}

// The number of bytes, or -1: not base32, or too long.
static int from_text(const char *text, size_t length, uint8_t out[BYTES_MAX])
{
    unsigned pending = 0, n_pending = 0;
    int n = 0;
    for (size_t i = 0; i < length; i++) {
        int d = digit(text[i]);
        if (d < 0)
            return -1;
        pending = (pending << 5 | (unsigned)d) & 0xfff;
        if ((n_pending += 5) < 8)
            continue;
        if (n == BYTES_MAX)
            return -1;
        out[n++] = (uint8_t)(pending >> (n_pending -= 8));
    }
    bool padded = n_pending < 5 && (pending & ((1u << n_pending) - 1)) == 0;
    return padded ? n : -1;
}

static bool read_addresses(struct token *t, struct cursor *c)
{
    uint8_t n = cursor_u8(c);
    if (c->bad || n > TOKEN_MAX_ADDRESSES)
        return false;
    for (t->n_addresses = 0; t->n_addresses < n; t->n_addresses++) {
        struct net_address *a = &t->addresses[t->n_addresses];
        a->family = cursor_u8(c);
        const uint8_t *bytes = cursor_take(c, a->family == 4 ? 4 : 16);
        if (!bytes)
            return false;
        memcpy(a->bytes, bytes, a->family == 4 ? 4 : 16);
        if (!net_address_valid(a))
            return false;
    }
    return true;
}

static int from_bytes(struct token *t, const uint8_t *bytes, size_t size, struct err *e)
{
    if (size <= CHECKSUM)
        return damaged(e);
    size -= CHECKSUM;
    struct digest sum = digest_of(bytes, size);
    if (memcmp(sum.bytes, bytes + size, CHECKSUM) != 0)
        return damaged(e);
    struct cursor c = cursor_of(bytes, size);
    uint8_t version = cursor_u8(&c);
    if (version != TOKEN_VERSION)
        return err_set(e, ERR_USAGE,
                       "this token is of version %u, this rondo knows version %u; run the same "
                       "version of rondo on all machines",
                       version, TOKEN_VERSION);
    memset(t, 0, sizeof *t);
    t->port = cursor_u16(&c);
    t->expires_s = (int64_t)cursor_u32(&c) * 60;
    t->id = cursor_u64(&c);
    const uint8_t *secret = cursor_take(&c, TOKEN_SECRET_BYTES);
    const uint8_t *fingerprint = cursor_take(&c, DIGEST_BYTES);
    if (!secret || !fingerprint || !t->port || !t->id)
        return damaged(e);
    memcpy(t->secret, secret, TOKEN_SECRET_BYTES);
    memcpy(t->fingerprint.bytes, fingerprint, DIGEST_BYTES);
    if (!read_addresses(t, &c) || cursor_left(&c))
        return damaged(e);
    return 0;
}

int token_read(struct token *t, const char *text, size_t length, struct err *e)
{
    uint8_t bytes[BYTES_MAX];
    while (length && strchr(" \t\r\n", text[0]) && text[0])
        text++, length--;
    while (length && strchr(" \t\r\n", text[length - 1]) && text[length - 1])
        length--;
    for (size_t i = 0; i < sizeof prefix - 1; i++)
        if (i >= length || (text[i] | 0x20) != (prefix[i] | 0x20))
            return err_set(e, ERR_USAGE,
                           "this is not a token; it begins with %s and is what the head node "
                           "prints behind 'rondo join'",
                           prefix);
    int n = from_text(text + sizeof prefix - 1, length - (sizeof prefix - 1), bytes);
    int rc = n < 0 ? damaged(e) : from_bytes(t, bytes, (size_t)n, e);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return rc;
}
