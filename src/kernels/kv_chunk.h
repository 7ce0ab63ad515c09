// The key-value cache as the kernels see it: how a chunk of one head lies in memory, how positions
// and queries get into their form, and what attention over a chunk is.
//
// A chunk holds KV_CHUNK positions of one key-value head: all keys, then all values. Keys are
// turned, so that neighbours in memory are positions, and values are not, so that neighbours are
// dimensions. Both products of attention then have the same form, in which no sum crosses lanes:
//
//     F32, F16   | keys (head_dim, 64)                             | values (64, head_dim)
//     Q8_0       | keys (words, 64, 4)      key scales (blocks, 64) |
//                | values (64, head_dim)  value scales (blocks, 64) |
//
// Q8_0 has a half-float scale for each position and 32 dimensions (a block). A word is four
// dimensions of a key, each as an unsigned byte q + 128, q in [-127, 127]; values are signed bytes.
// Where head_dim ends inside a word the rest of the word means nothing: the query is zero there.
//
// Scores. q is the query times 1 / sqrt(head_dim), rounded once; in Q8_0 it is quantized then.
//   F32, F16   s = 0; for each d, ascending: s = fmaf(q[d], key[d], s)
//   Q8_0       s = 0; for each block, ascending: s = fmaf(d_q * d_key, (float)isum, s), isum exact
// A cap, where there is one, makes cap * tanh(s / cap) of a score (struct kernels.softcap).
// Weights. max is the largest score of the positions that are seen (a NaN is none; nothing but NaNs
// or minus infinity: 0 is taken for it), w = exp(s - max), 0 for positions that are not seen.
// sum is that of sixteen lanes: l[i] = ((w[i] + w[16+i]) + w[32+i]) + w[48+i], h[i] = l[i] +
// l[8+i], then the tree of the eight-lane sum. Zeros change no sum, so what is not seen leaves no
// trace. Values. acc[d] = 0; for each position that is seen, ascending:
//   F32, F16   acc[d] = fmaf(w, value[d], acc[d])
//   Q8_0       acc[d] = fmaf(w * d_value, (float)q, acc[d])
#pragma once

#include "kernels/kernels.h"

enum { KV_MAX_HEAD_DIM = 2048 };

struct kv_layout {
    size_t key_scales, values, value_scales, bytes; // offsets in a chunk, and its size
};

static inline int kv_blocks(int head_dim)
{
    return (head_dim + BLOCK_SMALL - 1) / BLOCK_SMALL;
}

static inline int kv_words(int head_dim)
{
    return (head_dim + 3) / 4;
}

static inline struct kv_layout kv_layout(enum kv_type type, int head_dim)
{
    size_t numbers = (size_t)KV_CHUNK * (size_t)head_dim, half;
    if (type != KV_Q8_0) {
        half = numbers * (type == KV_F32 ? sizeof(float) : sizeof(uint16_t));
        return (struct kv_layout){.values = half, .bytes = 2 * half};
    }
    size_t words = (size_t)KV_CHUNK * 4 * (size_t)kv_words(head_dim);
    size_t scales = (size_t)KV_CHUNK * sizeof(uint16_t) * (size_t)kv_blocks(head_dim);
    half = words + scales;
    return (struct kv_layout){words, half, half + numbers, half + numbers + scales};
}

const char *kv_type_name(enum kv_type type);

// Writes the key and the value (head_dim) of position `at` of a chunk.
void kv_put(const struct kernels *k, enum kv_type type, uint8_t *chunk, int at, const float *key,
            const float *value, int head_dim);

// A query (head_dim) times `scale` in the form that `attend` multiplies: kv_query_bytes(..), which
// is a multiple of 4. head_dim is at most KV_MAX_HEAD_DIM.
size_t kv_query_bytes(enum kv_type type, int head_dim);
void kv_query(const struct kernels *k, enum kv_type type, void *out, const float *q, float scale,
              int head_dim);
