// Positions and queries on their way into the form of the key-value cache: see kv_chunk.h.
// Scattering is the same on every instruction set; rounding and quantizing are the table's.
#include "kernels/kv_chunk.h"

#include "base/bytes.h"
#include "base/check.h"

#include <string.h>

static const char *const names[KV_TYPE_COUNT] = {"f32", "f16", "q8_0"};

const char *kv_type_name(enum kv_type type)
{
    CHECK(type < KV_TYPE_COUNT);
    return names[type];
}

// A head as blocks of 32; behind its end zeros.
static void quantize(const struct kernels *k, struct act_q8 *out, const float *x, int head_dim)
{
    size_t whole = (size_t)head_dim / BLOCK_SMALL * BLOCK_SMALL, rest = (size_t)head_dim - whole;
    if (whole)
        k->quantize[ACT_Q8](out, x, whole);
    if (rest) {
        float last[BLOCK_SMALL] = {0};
        memcpy(last, x + whole, rest * sizeof *last);
        k->quantize[ACT_Q8](out + whole / BLOCK_SMALL, last, BLOCK_SMALL);
    }
}

static void put_f32(uint8_t *chunk, int at, const float *key, const float *value, int head_dim)
{
    float *keys = (float *)chunk + at, *values = (float *)chunk + KV_CHUNK * head_dim;
    for (int d = 0; d < head_dim; d++)
        keys[d * KV_CHUNK] = key[d];
    memcpy(values + at * head_dim, value, (size_t)head_dim * sizeof *value);
}

static void put_f16(const struct kernels *k, uint8_t *chunk, int at, const float *key,
                    const float *value, int head_dim)
{
    uint16_t *keys = (uint16_t *)chunk + at, *values = (uint16_t *)chunk + KV_CHUNK * head_dim;
    uint16_t halves[KV_MAX_HEAD_DIM];
    k->f32_to_f16(halves, key, (size_t)head_dim);
    for (int d = 0; d < head_dim; d++)
        keys[d * KV_CHUNK] = halves[d];
    k->f32_to_f16(values + at * head_dim, value, (size_t)head_dim);
}

static void put_q8_0(const struct kernels *k, uint8_t *chunk, int at, const float *key,
                     const float *value, int head_dim)
{
    struct act_q8 blocks[KV_MAX_HEAD_DIM / BLOCK_SMALL];
    struct kv_layout l = kv_layout(KV_Q8_0, head_dim);
    uint16_t *key_scales = (uint16_t *)(chunk + l.key_scales) + at;
    uint16_t *value_scales = (uint16_t *)(chunk + l.value_scales) + at;
    int words = kv_words(head_dim), n_blocks = kv_blocks(head_dim);
    quantize(k, blocks, key, head_dim);
    for (int b = 0; b < n_blocks; b++)
        k->f32_to_f16(key_scales + b * KV_CHUNK, &blocks[b].d, 1);
    for (int w = 0; w < words; w++) // as unsigned bytes: the sign bit flipped
        store_u32(chunk + ((size_t)w * KV_CHUNK + (size_t)at) * 4,
                  load_u32((const uint8_t *)blocks[w / 8].q + w % 8 * 4) ^ 0x80808080);
    quantize(k, blocks, value, head_dim);
    uint8_t *row = chunk + l.values + (size_t)at * (size_t)head_dim;
    for (int b = 0; b < n_blocks; b++) {
        int rest = head_dim - b * BLOCK_SMALL;
        k->f32_to_f16(value_scales + b * KV_CHUNK, &blocks[b].d, 1);
        memcpy(row + b * BLOCK_SMALL, blocks[b].q, rest < BLOCK_SMALL ? (size_t)rest : BLOCK_SMALL);
    }
}

void kv_put(const struct kernels *k, enum kv_type type, uint8_t *chunk, int at, const float *key,
            const float *value, int head_dim)
{
    if (type == KV_F32)
        put_f32(chunk, at, key, value, head_dim);
    else if (type == KV_F16)
        put_f16(k, chunk, at, key, value, head_dim);
    else
        put_q8_0(k, chunk, at, key, value, head_dim);
}

size_t kv_query_bytes(enum kv_type type, int head_dim)
{
    if (type == KV_Q8_0)
        return (size_t)kv_blocks(head_dim) * sizeof(struct act_q8);
    return (size_t)head_dim * sizeof(float);
}

void kv_query(const struct kernels *k, enum kv_type type, void *out, const float *q, float scale,
              int head_dim)
{
    float scaled[KV_MAX_HEAD_DIM], *to = type == KV_Q8_0 ? scaled : out;
    for (int d = 0; d < head_dim; d++)
        to[d] = q[d] * scale;
    if (type == KV_Q8_0)
        quantize(k, out, scaled, head_dim);
}
