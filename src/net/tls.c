// TLS 1.3 with pinned certificates over OpenSSL 3, on non-blocking sockets through net_io.
//
// One SSL_CTX per identity, made once; one SSL per connection. OpenSSL reads and writes through a
// BIO of ours that calls net_io, so that faults can be injected below the encryption. The BIO reads
// ahead: a 32 KiB frame is three records and should not cost six system calls.
#include "net/tls.h"

#include "base/check.h"
#include "net/net_io.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum {
    TLS_READ_AHEAD = 1 << 16,
    TLS_MAX_CERTIFICATE = 4096, // what an unknown peer can make us keep
};

struct tls_identity {
    SSL_CTX *context;
    struct digest digest;
};

struct tls {
    SSL *ssl;
    int fd;
    short wants;
    bool pinned, mismatch;
    bool more; // another record follows at once
    bool over; // after a fatal error SSL_shutdown must not be called
    struct digest expected, peer;
    int io_errno; // of the last failed send or recv
};

static int ssl_error(struct err *e, const char *what)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(e, ERR_FAILED, "%s: %s", what, reason ? reason : "OpenSSL gives no reason");
}

// ---- The BIO.

static int bio_read(BIO *b, char *data, int size)
{
    struct tls *t = BIO_get_data(b);
    ssize_t n;
    BIO_clear_retry_flags(b);
    do
        n = net_io->recv(t->fd, data, (size_t)size);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(b);
    else if (n < 0)
        t->io_errno = errno;
    return (int)n;
}

static int bio_write(BIO *b, const char *data, int size)
{
    struct tls *t = BIO_get_data(b);
    ssize_t n;
    BIO_clear_retry_flags(b);
    do
        n = net_io->send(t->fd, data, (size_t)size, t->more);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(b);
    else if (n < 0)
        t->io_errno = errno;
    return (int)n;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rondo socket");
    CHECK(bio_method && BIO_meth_set_read(bio_method, bio_read) &&
          BIO_meth_set_write(bio_method, bio_write) && BIO_meth_set_ctrl(bio_method, bio_ctrl));
}

// ---- Identities.

static bool has_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) & HWCAP_AES;
#else
    return false;
#endif
}

static struct digest certificate_digest(const X509 *x)
{
    struct digest d;
    unsigned size = sizeof d.bytes;
    CHECK(X509_digest(x, EVP_sha256(), d.bytes, &size) && size == sizeof d.bytes);
    return d;
}

// Called by OpenSSL instead of its own chain check. That the peer has the key to the certificate
// is proven by the handshake itself.
static int verify(X509_STORE_CTX *store, void *unused)
{
    (void)unused;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *x = X509_STORE_CTX_get0_cert(store);
    struct tls *t = SSL_get_app_data(ssl);
    if (!x || !t)
        return 0;
    t->peer = certificate_digest(x);
    t->mismatch = t->pinned && memcmp(t->peer.bytes, t->expected.bytes, DIGEST_BYTES) != 0;
    X509_STORE_CTX_set_error(store, t->mismatch ? X509_V_ERR_CERT_UNTRUSTED : X509_V_OK);
    return !t->mismatch;
}

static bool context_configure(SSL_CTX *c)
{
    const char *suites = has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
                                   : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(c, verify, NULL);
    SSL_CTX_set_max_cert_list(c, TLS_MAX_CERTIFICATE);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // A read_ahead buffer takes several records in one recv; moving buffers lets a write that
    // would have blocked go on from a frame's bytes wherever they lie.
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_default_read_buffer_len(c, TLS_READ_AHEAD);
    return SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(c, 0) &&
           SSL_CTX_set_ciphersuites(c, suites) && SSL_CTX_set1_groups_list(c, "X25519:P-256") &&
           SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256");
}

static bool certificate_fill(X509 *x, EVP_PKEY *key)
{
    uint8_t serial[8];
    X509_NAME *name = X509_get_subject_name(x);
    uint64_t number = 0;
    if (RAND_bytes(serial, sizeof serial) != 1)
        return false;
    memcpy(&number, serial, sizeof number);
    return X509_set_version(x, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), number >> 1) &&
           X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"rondo node", -1,
                                      -1, 0) &&
           X509_set_issuer_name(x, name) && X509_set_pubkey(x, key) &&
           X509_sign(x, key, EVP_sha256());
}

int tls_identity_make(char pem[TLS_PEM_MAX], struct err *e)
{
    int rc = 0;
    char *text = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *out = BIO_new(BIO_s_secmem());
    if (!key || !x || !out || !certificate_fill(x, key) ||
        !PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) ||
        !PEM_write_bio_X509(out, x)) {
        rc = ssl_error(e, "cannot make a key and a certificate");
        goto out;
    }
    long size = BIO_get_mem_data(out, &text);
    CHECK(size > 0 && size < TLS_PEM_MAX);
    memcpy(pem, text, (size_t)size);
    pem[size] = 0;
out:
    BIO_free(out);
    X509_free(x);
    EVP_PKEY_free(key);
    return rc;
}

int tls_identity_new(struct tls_identity **out, const char *pem, size_t size, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, bio_method_make);
    int rc = 0;
    struct tls_identity *id = calloc(1, sizeof *id);
    BIO *in = size < TLS_PEM_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)"") : NULL;
    X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    if (!id) {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the node's identity");
    } else if (!key || !x) {
        ERR_clear_error();
        rc = err_set(e, ERR_FAILED, "this is not a private key and a certificate in PEM form");
    } else if (!(id->context = SSL_CTX_new(TLS_method())) || !context_configure(id->context) ||
               SSL_CTX_use_certificate(id->context, x) != 1 ||
               SSL_CTX_use_PrivateKey(id->context, key) != 1) {
        rc = ssl_error(e, "the node's key and certificate cannot be used");
    } else {
        id->digest = certificate_digest(x);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    BIO_free(in);
    if (rc) {
        tls_identity_free(id);
        id = NULL;
    }
    *out = id;
    return rc;
}

void tls_identity_free(struct tls_identity *id)
{
    if (!id)
        return;
    SSL_CTX_free(id->context);
    free(id);
}

struct digest tls_identity_digest(const struct tls_identity *id)
{
    return id->digest;
}

// ---- Connections.

int tls_new(struct tls **out, const struct tls_identity *id, int fd, enum tls_side side,
            const struct digest *expected, struct err *e)
{
    *out = NULL;
    struct tls *t = calloc(1, sizeof *t);
    BIO *b = BIO_new(bio_method);
    if (t)
        t->ssl = SSL_new(id->context);
    if (!t || !t->ssl || !b) {
        BIO_free(b);
        tls_free(t);
        return ssl_error(e, "no memory for an encrypted connection");
    }
    t->fd = fd;
    if (expected) {
        t->pinned = true;
        t->expected = *expected;
    }
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_app_data(t->ssl, t);
    if (side == TLS_DIALLED)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    *out = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    free(t);
}

// What an SSL call that did not succeed means. `doing` begins the sentence.
static int outcome(struct tls *t, int result, const char *doing, struct err *e)
{
    int kind = SSL_get_error(t->ssl, result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        t->wants = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return TLS_AGAIN;
    }
    if (kind == SSL_ERROR_ZERO_RETURN)
        return TLS_CLOSED;
    t->over = true;
    unsigned long code = ERR_peek_error();
    int io_errno = t->io_errno;
    if (t->mismatch) {
        ERR_clear_error();
        return err_set(e, ERR_DENIED,
                       "%s: the other side is not the node that was expected (its certificate is "
                       "another one); make a new token there and join again",
                       doing);
    }
    if (kind == SSL_ERROR_SYSCALL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        if (io_errno)
            return err_set(e, ERR_UNREACHABLE, "%s: %s", doing, strerror(io_errno));
        return err_set(e, ERR_UNREACHABLE, "%s: the other side closed the connection", doing);
    }
    return ssl_error(e, doing);
}

int tls_handshake(struct tls *t, struct err *e)
{
    ERR_clear_error();
    int n = SSL_do_handshake(t->ssl);
    if (n == 1)
        return 1;
    unsigned long alert = ERR_peek_error();
    if (ERR_GET_REASON(alert) == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE) {
        t->over = true;
        ERR_clear_error();
        return err_set(e, ERR_DENIED,
                       "the caller expected another node at this address and does "
                       "not accept this node's certificate");
    }
    n = outcome(t, n, "the encrypted connection was not made", e);
    if (n == TLS_CLOSED)
        return err_set(e, ERR_UNREACHABLE, "the other side closed the connection");
    return n;
}

ssize_t tls_read(struct tls *t, void *data, size_t size, struct err *e)
{
    size_t n;
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, data, size, &n);
    return rc == 1 ? (ssize_t)n : outcome(t, rc, "receiving", e);
}

ssize_t tls_write(struct tls *t, const void *data, size_t size, struct err *e)
{
    size_t n;
    ERR_clear_error();
    // One call writes one record. The peer is woken once for all of them: 32 KiB take 33 us from
    // link to link instead of 58.
    t->more = size > SSL3_RT_MAX_PLAIN_LENGTH;
    int rc = SSL_write_ex(t->ssl, data, size, &n);
    if (rc == 1)
        return (ssize_t)n;
    rc = outcome(t, rc, "sending", e);
    if (rc == TLS_CLOSED)
        return err_set(e, ERR_UNREACHABLE, "sending: the other side closed the connection");
    return rc;
}

short tls_wants(const struct tls *t)
{
    return t->wants;
}

void tls_shutdown(struct tls *t)
{
    if (t->over)
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

struct digest tls_peer(const struct tls *t)
{
    return t->peer;
}

int tls_export(const struct tls *t, const char *label, uint8_t out[TLS_EXPORTER_BYTES],
               struct err *e)
{
    if (SSL_export_keying_material(t->ssl, out, TLS_EXPORTER_BYTES, label, strlen(label), NULL, 0,
                                   0) != 1)
        return ssl_error(e, "TLS exporter");
    return 0;
}
