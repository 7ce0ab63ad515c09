// What decides who is let in, on every input: the text of a token, a HELLO that the head judges,
// and the book on disk. The first byte chooses.
#include "cluster/pairing.h"
#include "ring/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t secret[TOKEN_SECRET_BYTES] = "a secret of 128";

// Whatever is believed says, written again, the same.
static void token(const uint8_t *data, size_t size)
{
    struct token t, again;
    char text[TOKEN_TEXT_MAX];
    char *copy = malloc(size ? size : 1); // exact size
    memcpy(copy, data, size);
    if (token_read(&t, copy, size, NULL) == 0) {
        token_write(&t, text);
        if (token_read(&again, text, strlen(text), NULL) || memcmp(&t, &again, sizeof t) != 0)
            abort();
    }
    free(copy);
}

// A stranger without the secret never gets in, whatever it sends.
static void hello(const uint8_t *data, size_t size)
{
    static struct pairing_book book;
    struct pairing_channel c = {{1}, {{2}}, {{3}}};
    struct wire_header h;
    struct wire_hello m;
    _Alignas(8) uint8_t frame[256];
    if (size > sizeof frame)
        return;
    memcpy(frame, data, size);
    if (frame_read_hello(&h, &m, frame, size, NULL))
        return;
    memset(&book, 0, sizeof book);
    pairing_book_issue(&book, m.token_id ? m.token_id : 1, secret, 0, 100, NULL);
    struct err why = {0};
    if (pairing_decide(&book, &h, &m, &c, 50, &why) != PAIRING_REFUSED || why.code >= 0)
        abort();
    // And with it, it does.
    if (h.version != WIRE_VERSION || m.purpose != WIRE_JOIN || !m.token_id)
        return;
    pairing_proof(m.proof, secret, PAIRING_WORKER, &c);
    if (pairing_decide(&book, &h, &m, &c, 50, NULL) != PAIRING_PROVEN)
        abort();
}

static void book(const uint8_t *data, size_t size)
{
    static struct pairing_book b;
    struct err e = {0};
    int rc = pairing_book_parse(&b, (const char *)data, size, &e);
    if (rc && (b.n_tokens || b.n_peers || !e.code))
        abort();
    for (int i = 0; i < b.n_peers; i++)
        if (!memchr(b.peers[i].name, 0, sizeof b.peers[i].name))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        token(data + 1, size - 1);
        break;
    case 1:
        hello(data + 1, size - 1);
        break;
    default:
        book(data + 1, size - 1);
    }
    return 0;
}
