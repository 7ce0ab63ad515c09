// TLS 1.3 between nodes: both sides show a self-signed certificate, and what is compared is the
// SHA-256 of the peer's certificate; names, dates and authorities mean nothing here.
//
// `struct tls_identity` is immutable and shared by all threads. A `struct tls` belongs to one
// thread, works on a non-blocking socket through net_io, and does not close it.
#pragma once

#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TLS_EXPORTER_BYTES = 32, TLS_PEM_MAX = 8192 };

// A private key and its certificate.
struct tls_identity;

// A new P-256 key and its certificate as PEM text, NUL-terminated, in `pem`.
int tls_identity_make(char pem[TLS_PEM_MAX], struct err *e);
// From such a text.
int tls_identity_new(struct tls_identity **out, const char *pem, size_t size, struct err *e);
void tls_identity_free(struct tls_identity *id);
struct digest tls_identity_digest(const struct tls_identity *id); // the node's fingerprint

enum tls_side { TLS_DIALLED, TLS_ACCEPTED };

struct tls;

// `expected`: the peer's fingerprint; NULL: any, and the caller decides by tls_peer before it
// believes a byte.
int tls_new(struct tls **out, const struct tls_identity *id, int fd, enum tls_side side,
            const struct digest *expected, struct err *e);
void tls_free(struct tls *t);

enum {
    TLS_AGAIN = 0,   // nothing now: poll for tls_wants
    TLS_CLOSED = -7, // the peer ended the stream in good order
};

// > 0: done. TLS_AGAIN, or an error.
int tls_handshake(struct tls *t, struct err *e);
// Bytes read or written (> 0), TLS_AGAIN, TLS_CLOSED (read only), or an error. A write that
// answered TLS_AGAIN is repeated with the same bytes.
ssize_t tls_read(struct tls *t, void *data, size_t size, struct err *e);
ssize_t tls_write(struct tls *t, const void *data, size_t size, struct err *e);
short tls_wants(const struct tls *t); // POLLIN or POLLOUT, what the last TLS_AGAIN waits for
void tls_shutdown(struct tls *t);     // says goodbye, without waiting

// After the handshake.
struct digest tls_peer(const struct tls *t); // fingerprint of the peer's certificate
// Bytes that only the two ends of this very connection know (RFC 8446, section 7.5).
int tls_export(const struct tls *t, const char *label, uint8_t out[TLS_EXPORTER_BYTES],
               struct err *e);
