// Angles of rotation: see rope.h.
#include "model/rope.h"

#include <math.h>

// The n-th root of x > 0 by halving: products and comparisons only.
static double nth_root(double x, int n)
{
    double lo = 0, hi = x > 1 ? x : 1;
    for (;;) {
        double middle = lo + (hi - lo) / 2, power = 1;
        if (middle <= lo || middle >= hi)
            return lo;
        for (int i = 0; i < n && power <= x + 1; i++)
            power *= middle;
        if (power < x)
            lo = middle;
        else
            hi = middle;
    }
}

// x = m * 2^k with m near 1; ln m = 2 artanh((m - 1) / (m + 1)), whose series loses a factor of 30
// with each term.
double rope_ln(double x)
{
    const double ln2 = 0.693147180559945309417;
    int k;
    double m = frexp(x, &k); // exact; [0.5, 1)
    if (m < 0.70710678118654752440) {
        m *= 2;
        k--;
    }
    double t = (m - 1) / (m + 1), square = t * t, power = t, sum = 0;
    for (int i = 1; i < 40; i += 2, power *= square)
        sum += power / i;
    return 2 * sum + k * ln2;
}

// The dimension whose angle turns `turns` times over the original context.
static double turning(const struct hparams *h, double turns)
{
    const double pi = 3.14159265358979323846;
    return h->n_rot * rope_ln(h->yarn.original_context / (turns * 2 * pi)) /
           (2 * rope_ln((double)h->rope_theta));
}

struct ramp {
    double lo, hi; // pairs below lo keep their angle, those from hi on are stretched
};

static struct ramp yarn_ramp(const struct hparams *h)
{
    double lo = turning(h, (double)h->yarn.beta_fast), hi = turning(h, (double)h->yarn.beta_slow);
    if (h->yarn.whole) {
        lo = floor(lo);
        hi = ceil(hi);
    }
    lo = lo > 0 ? lo : 0;
    hi = hi < h->n_rot - 1 ? hi : h->n_rot - 1;
    return (struct ramp){lo, hi > lo + 0.001 ? hi : lo + 0.001};
}

static double stretched(const struct hparams *h, const struct ramp *r, int i, double angle)
{
    double share = (i - r->lo) / (r->hi - r->lo);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return angle * (double)h->rope_scale * share + angle * (1 - share);
}

int rope_angles(float *out, const struct hparams *h, bool local, const float *factors)
{
    int n = h->n_rot / 2;
    bool own = local && h->local_theta > 0, yarn = !own && h->rope_scaling == ROPE_SCALING_YARN;
    struct ramp ramp = {0};
    if (yarn)
        ramp = yarn_ramp(h);
    double step = nth_root((double)(own ? h->local_theta : h->rope_theta), n);
    double turns = own || yarn ? 1 : (double)h->rope_scale;
    for (int i = 0; i < n; i++, turns /= step) {
        double angle = yarn ? stretched(h, &ramp, i, turns) : turns;
        double factor = factors ? (double)factors[i] : 1;
        out[i] = (float)(angle / factor);
        if (!(factor > 0) || !isfinite(out[i]))
            return i;
    }
    return -1;
}
