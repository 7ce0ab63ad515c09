// Q8_0 with AVX2. The byte product takes unsigned by signed, so magnitudes of weights are
// multiplied with activations that carry the weights' signs. |w| <= 128 and |x| <= 127: a pair of
// products is at most 32512 and does not saturate, but two pairs would, so every pair goes to 32
// bits at once.
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

AVX2_INLINE __m256i dot(const uint8_t *block, __m256i x)
{
    __m256i w = avx2_load(block + 2);
    return avx2_pairs(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
}

AVX2_INLINE void unpack(struct small_panel *p, int v, const struct avx2_rows *rows, size_t at)
{
    avx2_turn16(p->sign[v], rows, at + 2);
    avx2_turn16(p->sign[v] + 4, rows, at + 18);
    for (int g = 0; g < 8; g++)
        p->w[v][g] = _mm256_abs_epi8(p->sign[v][g]);
}

void avx2_matmul_q8_0(const struct matmul_args *a)
{
    static const struct small_format f = {
        .bytes = 34, .groups = 1, .is_signed = true, .dot = dot, .unpack = unpack};
    small_matmul(a, &f);
}
