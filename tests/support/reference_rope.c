// Rotary positions of the reference and their scalings: linear (Chen et al., "Extending Context
// Window of Large Language Models via Positional Interpolation", 2023), YaRN (Peng et al., 2023,
// section 3.4), and files that give a divisor for each pair (Llama 3.1; LongRoPE, Ding et al.
// 2024).
#include "reference_net.h"
#include "support.h"

#include <math.h>

// The pair, as a real number, that turns `turns` times within the original context.
static double pair_of(double turns, int n_rot, double base, double context)
{
    return n_rot * log(context / (turns * 2 * acos(-1))) / (2 * log(base));
}

void reference_rotation_init(struct rotation *r, int n_rot, bool halves, double base,
                             const struct scaling_rules *s, const float *factors)
{
    assert_true(n_rot > 0 && n_rot <= REFERENCE_MAX_ROT && n_rot % 2 == 0);
    *r = (struct rotation){.n_rot = n_rot, .halves = halves, .scale = 1};
    double low = 0, high = 0;
    if (s->kind == SCALING_YARN) {
        low = pair_of(s->beta_fast, n_rot, base, s->original_context);
        high = pair_of(s->beta_slow, n_rot, base, s->original_context);
        if (s->whole) {
            low = floor(low);
            high = ceil(high);
        }
        low = fmax(low, 0);
        high = fmin(high, n_rot - 1);
        if (high - low < 0.001)
            high = low + 0.001;
    }
    for (int i = 0; i < n_rot / 2; i++) {
        double turns = pow(base, -2.0 * i / n_rot), stretch = s->kind == SCALING_LINEAR;
        if (s->kind == SCALING_YARN)
            stretch = fmin(fmax((i - low) / (high - low), 0), 1);
        if (factors)
            turns /= (double)factors[i];
        r->freq[i] = stretch > 0 ? turns * (1 - stretch) + turns / s->factor * stretch : turns;
    }
}

void reference_rotate(const struct rotation *r, double *x, int pos)
{
    int half = r->n_rot / 2;
    for (int i = 0; i < half; i++) {
        double c = r->scale * cos(pos * r->freq[i]), s = r->scale * sin(pos * r->freq[i]);
        int a = r->halves ? i : 2 * i, b = r->halves ? i + half : 2 * i + 1;
        double xa = x[a], xb = x[b];
        x[a] = xa * c - xb * s;
        x[b] = xa * s + xb * c;
    }
}
