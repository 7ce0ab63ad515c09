// Tokens to text as a stream. Tokens may end in the middle of a character, so bytes that may still
// become one are held back until they do, or cannot any more.
#include "base/check.h"
#include "text/tables.h"
#include "text/utf8.h"

#include <string.h>

static size_t put_replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3); // U+FFFD
    return 3;
}

// Moves whole characters of `in` to `out`, holds back what may become one. Returns their bytes.
static size_t put_characters(struct detokenizer *d, const char *in, size_t n, char *out)
{
    size_t at = 0, to = 0;
    d->n_held = 0;
    while (at < n) {
        int length = utf8_length(in + at, n - at);
        if (length == UTF8_INCOMPLETE) {
            d->n_held = (int)(n - at); // at most 3
            memcpy(d->held, in + at, n - at);
            break;
        }
        if (length == UTF8_INVALID) {
            to += put_replacement(out + to);
            at++;
            continue;
        }
        memcpy(out + to, in + at, (size_t)length);
        to += (size_t)length;
        at += (size_t)length;
    }
    out[to] = 0;
    return to;
}

size_t detokenize(struct detokenizer *d, int32_t id, char *out, size_t size)
{
    CHECK(size >= VOCAB_MAX_TOKEN_BYTES + 16);
    char in[sizeof d->held + VOCAB_MAX_STORED_BYTES];
    _Static_assert(3 * sizeof in < VOCAB_MAX_TOKEN_BYTES, "a token of invalid bytes must fit");
    size_t n_held = (size_t)d->n_held;
    memcpy(in, d->held, n_held);
    size_t n = vocab_decode(d->vocab, id, false, in + n_held, VOCAB_MAX_STORED_BYTES);
    if (n && !d->any && d->vocab->add_space_prefix && in[n_held] == ' ')
        memmove(in + n_held, in + n_held + 1, --n);
    else if (!n) { // nothing to show: what is held stays so
        out[0] = 0;
        return 0;
    }
    d->any = true;
    return put_characters(d, in, n_held + n, out);
}

size_t detokenize_end(struct detokenizer *d, char *out, size_t size)
{
    CHECK(size >= 4);
    size_t n = d->n_held ? put_replacement(out) : 0;
    d->n_held = 0;
    out[n] = 0;
    return n;
}
