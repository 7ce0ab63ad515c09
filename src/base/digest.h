// SHA-256 through OpenSSL: digests of tensors, of certificates, of logits.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32 };

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

struct digest_state; // one per running sum

struct digest_state *digest_begin(void); // never NULL: no memory ends the program
void digest_add(struct digest_state *s, const void *data, size_t size);
struct digest digest_end(struct digest_state *s); // frees `s`
struct digest digest_of(const void *data, size_t size);

// Lower-case hexadecimal, 2 * DIGEST_BYTES characters and a NUL.
void digest_hex(const struct digest *d, char out[2 * DIGEST_BYTES + 1]);
