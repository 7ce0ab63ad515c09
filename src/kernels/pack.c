// Packing: see pack.h.
#include "kernels/pack.h"

#include <string.h>

void pack_nibbles(uint8_t qs[16], const uint8_t q[32])
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((q[i] & 15) | (q[16 + i] & 15) << 4);
}

uint32_t pack_fifth_bits(const uint8_t q[32])
{
    uint32_t qh = 0;
    for (int i = 0; i < 32; i++)
        qh |= (uint32_t)(q[i] >> 4) << i;
    return qh;
}

static void pack_k_scales(uint8_t s[12], const uint8_t sc[8], const uint8_t m[8])
{
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(sc[j] | (sc[4 + j] >> 4) << 6);
        s[4 + j] = (uint8_t)(m[j] | (m[4 + j] >> 4) << 6);
        s[8 + j] = (uint8_t)((sc[4 + j] & 15) | (m[4 + j] & 15) << 4);
    }
}

static void pack_k_nibbles(uint8_t qs[128], const uint8_t q[256])
{
    for (int i = 0; i < 128; i++) {
        const uint8_t *from = q + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((from[0] & 15) | (from[32] & 15) << 4);
    }
}

void pack_two_bits(uint8_t qs[64], const uint8_t q[256])
{
    memset(qs, 0, 64);
    for (int i = 0; i < 256; i++)
        qs[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] & 3) << i % 128 / 32 * 2);
}

void pack_q2_k(struct block_q2_k *b, const uint8_t sc[16], const uint8_t m[16],
               const uint8_t q[256])
{
    for (int j = 0; j < 16; j++)
        b->scales[j] = (uint8_t)(sc[j] | m[j] << 4);
    pack_two_bits(b->qs, q);
}

void pack_q3_k(struct block_q3_k *b, const uint8_t sc[16], const uint8_t q[256])
{
    memset(b->scales, 0, sizeof b->scales);
    for (int j = 0; j < 16; j++) {
        b->scales[j % 8] |= (uint8_t)((sc[j] & 15) << j / 8 * 4);
        b->scales[8 + j % 4] |= (uint8_t)((sc[j] >> 4) << j / 4 * 2);
    }
    memset(b->hmask, 0, sizeof b->hmask);
    for (int i = 0; i < 256; i++)
        b->hmask[i % 32] |= (uint8_t)((q[i] >> 2) << i / 32);
    pack_two_bits(b->qs, q);
}

void pack_q4_k(struct block_q4_k *b, const uint8_t sc[8], const uint8_t m[8], const uint8_t q[256])
{
    pack_k_scales(b->scales, sc, m);
    pack_k_nibbles(b->qs, q);
}

void pack_q5_k(struct block_q5_k *b, const uint8_t sc[8], const uint8_t m[8], const uint8_t q[256])
{
    pack_k_scales(b->scales, sc, m);
    pack_k_nibbles(b->qs, q);
    memset(b->qh, 0, sizeof b->qh);
    for (int i = 0; i < 256; i++)
        b->qh[i % 32] |= (uint8_t)((q[i] >> 4) << i / 32);
}

void pack_q6_k(struct block_q6_k *b, const uint8_t q[256])
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *from = q + 128 * h + l;
            b->ql[64 * h + l] = (uint8_t)((from[0] & 15) | (from[64] & 15) << 4);
            b->ql[64 * h + 32 + l] = (uint8_t)((from[32] & 15) | (from[96] & 15) << 4);
            b->qh[32 * h + l] = (uint8_t)(from[0] >> 4 | (from[32] >> 4) << 2 |
                                          (from[64] >> 4) << 4 | (from[96] >> 4) << 6);
        }
}

void pack_iq4_xs(struct block_iq4_xs *b, const uint8_t sc[8], const uint8_t q[256])
{
    uint16_t high = 0;
    memset(b->scales_l, 0, sizeof b->scales_l);
    for (int j = 0; j < 8; j++) {
        b->scales_l[j / 2] |= (uint8_t)((sc[j] & 15) << j % 2 * 4);
        high |= (uint16_t)((sc[j] >> 4) << 2 * j);
        pack_nibbles(b->qs + 16 * j, q + 32 * j);
    }
    b->scales_h = high;
}
