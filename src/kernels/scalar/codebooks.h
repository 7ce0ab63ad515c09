// The tables over which the IQ formats and MXFP4 are defined.
//
// The nibble formats index 16 values. The grid formats index points of four or eight weights: byte
// k of an entry is the (magnitude of the) k-th weight, the lowest byte first, so that an entry in
// memory reads as an array of int8_t. IQ3 and IQ2 hold magnitudes and store signs apart; IQ1 holds
// -1, 0 and 1.
#pragma once

#include <stdint.h>

extern const int8_t codebook_iq4_nl[16]; // IQ4_XS too
extern const int8_t codebook_mxfp4[16];  // twice the E2M1 number

extern const uint32_t codebook_iq3_xxs[256];
extern const uint32_t codebook_iq3_s[512];
extern const uint64_t codebook_iq2_xxs[256];
extern const uint64_t codebook_iq2_xs[512];
extern const uint64_t codebook_iq2_s[1024];
extern const uint64_t codebook_iq1[2048]; // IQ1_S and IQ1_M

// Seven sign bits and the eighth, which makes the number of negative weights even.
static inline uint8_t codebook_signs(unsigned seven)
{
    return (uint8_t)(seven | (unsigned)__builtin_parity(seven) << 7);
}
