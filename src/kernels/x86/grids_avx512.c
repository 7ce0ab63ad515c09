// IQ3, IQ2, IQ1 and TQ1_0 with AVX-512: formats that are no words of fields.
//
// A block of 16 raw rows becomes the lane block of a format that does not exist outside this file,
// from which k_avx512.h goes on as from any other: 64 words of weights, ready to multiply, and what
// the scales need.
//
//   | w:64x4 | sc:16x2 | d:4 |      (TQ1_0 has one scale only)
//
// Grid weights are moved up by 64. A few tokens are not worth the turning: they are left to AVX2.
#include "kernels/x86/grids_avx2.h"
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/x86.h"

enum { GRID_OFFSET = 64, SC_AT = 256, D_AT = 288, BYTES = 292 };
_Static_assert((int)BYTES <= (int)K_MAX_BLOCK, "room for a lane block");

AVX512_INLINE int sub_at(int stage, int plane)
{
    return 4 * stage + plane;
}

AVX512_INLINE void words16(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    AVX512_UNROLL
    for (int p = 0; p < 4; p++)
        w[p] = avx512_word(lanes, 0, 4 * sub_at(stage, p) + i);
}

AVX512_INLINE void words32(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    AVX512_UNROLL
    for (int p = 0; p < 4; p++)
        w[p] = avx512_word(lanes, 0, 8 * sub_at(stage, p) + i);
}

// A word holds the scales, none negative, of two sub-blocks of 16.
AVX512_INLINE void scales16(struct k_scales *s, const uint8_t *lanes)
{
    AVX512_UNROLL
    for (int j = 0; j < 8; j++) {
        __m512i pair = avx512_word(lanes, SC_AT, j);
        s->scale[2 * j] = _mm512_and_si512(pair, _mm512_set1_epi32(0xffff));
        s->scale[2 * j + 1] = _mm512_srli_epi32(pair, 16);
        s->pair[j] = _mm512_mullo_epi16(pair, _mm512_set1_epi16(-GRID_OFFSET));
    }
    s->d = _mm512_loadu_ps(lanes + LANE_ROWS * D_AT);
    s->dmin = _mm512_setzero_ps();
}

// The same, where both are one of 32.
AVX512_INLINE void scales32(struct k_scales *s, const uint8_t *lanes)
{
    AVX512_UNROLL
    for (int j = 0; j < 8; j++)
        s->scale[j] = _mm512_srli_epi32(avx512_word(lanes, SC_AT, j), 16);
    AVX512_UNROLL
    for (int j = 0; j < 4; j++) {
        __m512i odd = _mm512_slli_epi32(s->scale[2 * j + 1], 16);
        __m512i both = _mm512_or_si512(s->scale[2 * j], odd);
        s->pair[j] = _mm512_mullo_epi16(both, _mm512_set1_epi16(-GRID_OFFSET));
    }
    s->d = _mm512_loadu_ps(lanes + LANE_ROWS * D_AT);
    s->dmin = _mm512_setzero_ps();
}

// Turns the rows written out as bytes, and adds the scales that `d` gives of eight rows.
AVX512_INLINE void finish(uint8_t *turned, const struct grid_bytes bytes[LANE_ROWS],
                          const struct avx512_source *s, size_t at,
                          __m256 (*d)(const struct avx2_rows *rows, size_t at))
{
    const uint8_t *row[LANE_ROWS];
    for (int i = 0; i < LANE_ROWS; i++)
        row[i] = bytes[i].w;
    for (int i = 0; i < D_AT; i += 16)
        avx512_turn16(turned + LANE_ROWS * i, row, (size_t)i);
    for (int v = 0; v < 2; v++) {
        struct avx2_rows rows = {.in_lanes = false};
        for (int i = 0; i < 8; i++)
            rows.row[i] = s->row[8 * v + i];
        _mm256_storeu_ps((float *)(void *)(turned + LANE_ROWS * D_AT + 32 * v), d(&rows, at));
    }
}

// `sub`: weights under a scale, 16 or 32.
#define GRID_FORMAT(name, size, sub, weights, d)                                                 \
    AVX512_INLINE const uint8_t *block_##name(const struct avx512_source *s, size_t b,           \
                                              uint8_t *turned)                                   \
    {                                                                                            \
        struct grid_bytes bytes[LANE_ROWS];                                                      \
        for (int i = 0; i < LANE_ROWS; i++)                                                      \
            grid_write(bytes + i, s->row[i] + b * size, grid_read_##name, weights, GRID_OFFSET); \
        finish(turned, bytes, s, b *size, d);                                                    \
        return turned;                                                                           \
    }                                                                                            \
    static const struct k_format name = {.fields = {.bytes = BYTES},                             \
                                         .sub_words = sub / 4,                                   \
                                         .planes = 4,                                            \
                                         .sub_at = sub_at,                                       \
                                         .block = block_##name,                                  \
                                         .few = avx2_matmul_##name,                              \
                                         .words = words##sub,                                    \
                                         .scales = scales##sub};                                 \
    void avx512_matmul_##name(const struct matmul_args *a)                                       \
    {                                                                                            \
        k_matmul(a, &name, false);                                                               \
    }

GRID_FORMAT(iq3_xxs, 98, 32, grid_weights_iq3_xxs, grid_quarter_d)
GRID_FORMAT(iq3_s, 110, 32, grid_weights_iq3_s, avx2_row_halves)
GRID_FORMAT(iq2_xxs, 66, 32, grid_weights_iq2_xxs, grid_eighth_d)
GRID_FORMAT(iq2_xs, 74, 16, grid_weights_iq2_xs, grid_eighth_d)
GRID_FORMAT(iq2_s, 82, 16, grid_weights_iq2_s, grid_eighth_d)
GRID_FORMAT(iq1_s, 50, 32, grid_weights_iq1, grid_eighth_d)
GRID_FORMAT(iq1_m, 56, 16, grid_weights_iq1, grid_d_iq1_m)

// ---- TQ1_0 -------------------------------------------------------------------------------------

static const struct avx512_fields tq1_0_fields = {54, 0, 13, 2};

// The first digit of every byte: 3 * byte / 256.
AVX512_INLINE __m512i first_digit(__m512i v)
{
    __m512i one = _mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(v, avx512_u8(86)), avx512_u8(1));
    return _mm512_mask_mov_epi8(one, _mm512_cmpge_epu8_mask(v, avx512_u8(171)), avx512_u8(2));
}

// Words first, first + step, ...: the digits of packed words.
AVX512_INLINE void put_digits(uint8_t *out, __m512i packed, int first, int digits, int step)
{
    AVX512_UNROLL
    for (int n = 0; n < digits; n++) {
        _mm512_storeu_si512(out + 64 * (first + n * step), first_digit(packed));
        packed = _mm512_add_epi8(packed, _mm512_add_epi8(packed, packed));
    }
}

AVX512_INLINE const uint8_t *block_tq1_0(const struct avx512_source *s, size_t b, uint8_t *turned)
{
    uint8_t packed[LANE_ROWS * 64];
    const uint8_t *lanes = avx512_block(s, &tq1_0_fields, b, packed);
    for (int g = 0; g < 8; g++)
        put_digits(turned, avx512_word(lanes, 0, g), g, 5, 8);
    for (int g = 0; g < 4; g++)
        put_digits(turned, avx512_word(lanes, 0, 8 + g), 40 + g, 5, 4);
    put_digits(turned, avx512_word(lanes, 0, 12), 60, 4, 1);
    _mm512_storeu_ps(turned + LANE_ROWS * D_AT, avx512_halves(lanes, 52));
    return turned;
}

AVX512_INLINE void scales_tq1_0(struct k_scales *s, const uint8_t *lanes)
{
    for (int j = 0; j < 8; j++)
        s->scale[j] = _mm512_set1_epi32(1);
    for (int j = 0; j < 4; j++)
        s->pair[j] = _mm512_set1_epi16(-1);
    s->d = _mm512_loadu_ps(lanes + LANE_ROWS * D_AT);
    s->dmin = _mm512_setzero_ps();
}

static const struct k_format tq1_0 = {.fields = {.bytes = BYTES},
                                      .sub_words = 8,
                                      .planes = 4,
                                      .sub_at = sub_at,
                                      .block = block_tq1_0,
                                      .words = words32,
                                      .scales = scales_tq1_0};

void avx512_matmul_tq1_0(const struct matmul_args *a)
{
    k_matmul(a, &tq1_0, false);
}
