// Quantized weights into the bytes of their blocks (blocks.h draws them): what the encoders that
// round (encode.h) and those that search (fit.h) share. q are the stored numbers, offsets included.
#pragma once

#include "kernels/blocks.h"

void pack_nibbles(uint8_t qs[16], const uint8_t q[32]);
uint32_t pack_fifth_bits(const uint8_t q[32]);
void pack_two_bits(uint8_t qs[64], const uint8_t q[256]);

// sc and m as stored, six bits each; of Q2_K four.
void pack_q2_k(struct block_q2_k *b, const uint8_t sc[16], const uint8_t m[16],
               const uint8_t q[256]);
void pack_q3_k(struct block_q3_k *b, const uint8_t sc[16], const uint8_t q[256]);
void pack_q4_k(struct block_q4_k *b, const uint8_t sc[8], const uint8_t m[8], const uint8_t q[256]);
void pack_q5_k(struct block_q5_k *b, const uint8_t sc[8], const uint8_t m[8], const uint8_t q[256]);
void pack_q6_k(struct block_q6_k *b, const uint8_t q[256]);
void pack_iq4_xs(struct block_iq4_xs *b, const uint8_t sc[8], const uint8_t q[256]);
