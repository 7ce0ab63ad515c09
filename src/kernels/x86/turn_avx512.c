// Turning raw rows into lane blocks with AVX-512.
#include "kernels/x86/avx512.h"

// The 16 elements of `size` bytes (1 or 2) at row[i] + at, side by side.
AVX512_INLINE void turn_small(uint8_t *out, const uint8_t *const row[LANE_ROWS], size_t at,
                              int size)
{
#define PAIR(i) (size == 2 ? load_u16(row[i] + at) : row[i][at])
    __m256i v = _mm256_setr_epi16(PAIR(0), PAIR(1), PAIR(2), PAIR(3), PAIR(4), PAIR(5), PAIR(6),
                                  PAIR(7), PAIR(8), PAIR(9), PAIR(10), PAIR(11), PAIR(12), PAIR(13),
                                  PAIR(14), PAIR(15));
#undef PAIR
    if (size == 2)
        _mm256_storeu_si256((void *)out, v);
    else
        _mm_storeu_si128((void *)out, _mm256_cvtepi16_epi8(v));
}

void avx512_turn(uint8_t *out, const struct avx512_source *s, const struct avx512_fields *f,
                 size_t at)
{
    for (size_t line = (at + 63) / 64 * 64; line < at + (size_t)f->bytes; line += 64)
        for (int i = 0; i < LANE_ROWS; i++)
            _mm_prefetch((const void *)(s->row[i] + s->ahead + line), _MM_HINT_T1);
    int end = f->words_at + 4 * f->words, word = f->words_at;
    for (int i = 0; i < f->words_at; i += f->rest)
        turn_small(out + LANE_ROWS * i, s->row, at + (size_t)i, f->rest);
    for (; word + 16 <= end; word += 16)
        avx512_turn16(out + LANE_ROWS * word, s->row, at + (size_t)word);
    if (word < end) // the last four words, some of them again
        avx512_turn16(out + LANE_ROWS * (end - 16), s->row, at + (size_t)(end - 16));
    for (int i = end; i < f->bytes; i += f->rest)
        turn_small(out + LANE_ROWS * i, s->row, at + (size_t)i, f->rest);
}
