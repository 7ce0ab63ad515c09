// Feed-forward of the reference: gated units (Shazeer, "GLU variants improve Transformer", 2020)
// and mixtures of them (Jiang et al., "Mixtral of Experts", 2024; DeepSeek V2, section 2.2, and V3,
// section 2.1.2, 2024; Qwen2 and Qwen3 technical reports; the gpt-oss model card, 2025).
#include "reference_net.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double reference_glu(enum activation a, double gate, double up)
{
    const double pi = acos(-1);
    switch (a) {
    case ACTIVATION_SILU:
        return gate / (1 + exp(-gate)) * up;
    case ACTIVATION_GELU: // Hendrycks, Gimpel: the form with tanh
        return gate / 2 * (1 + tanh(sqrt(2 / pi) * (gate + 0.044715 * pow(gate, 3)))) * up;
    case ACTIVATION_CLAMPED:
        gate = fmin(gate, 7);
        up = fmin(fmax(up, -7), 7);
        return gate / (1 + exp(-1.702 * gate)) * (up + 1);
    }
    return NAN;
}

static int descending(const double *score, const bool *out, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++)
        if (!out[i] && (best < 0 || score[i] > score[best]))
            best = i;
    return best;
}

// Chooses n of n_all by score into ids, the best first; out[] are those not to be had.
static void best_of(double *gap, const double *score, bool *out, int n_all, int n, int *ids)
{
    for (int i = 0; i < n; i++) {
        ids[i] = descending(score, out, n_all);
        assert_true(ids[i] >= 0);
        out[ids[i]] = true;
    }
    int next = descending(score, out, n_all);
    if (next >= 0)
        *gap = fmin(*gap, score[ids[n - 1]] - score[next]);
}

// Keeps the experts of the best groups. A group's score is that of its best expert (V2), with a
// bias the sum of its two best (V3).
static void drop_groups(struct choice *c, const double *score, bool two, bool *out)
{
    int each = c->n / c->n_groups, kept[REFERENCE_MAX_EXPERTS];
    double group[REFERENCE_MAX_EXPERTS];
    bool taken[REFERENCE_MAX_EXPERTS] = {0};
    for (int g = 0; g < c->n_groups; g++) {
        double first = -INFINITY, second = -INFINITY;
        for (int i = g * each; i < (g + 1) * each; i++) {
            second = fmax(second, fmin(first, score[i]));
            first = fmax(first, score[i]);
        }
        group[g] = two ? first + second : first;
    }
    best_of(&c->gap, group, taken, c->n_groups, c->n_groups_used, kept);
    for (int i = 0; i < c->n; i++)
        out[i] = !taken[i / each];
}

void reference_choose(struct choice *c, const double *logits, const float *bias, int *ids,
                      double *weights)
{
    double score[REFERENCE_MAX_EXPERTS], max = -INFINITY, all = 0, chosen = 0;
    bool out[REFERENCE_MAX_EXPERTS] = {0};
    for (int i = 0; i < c->n; i++) {
        double p = c->scoring == SCORE_SIGMOID ? 1 / (1 + exp(-logits[i])) : logits[i];
        score[i] = p + (bias ? (double)bias[i] : 0);
        max = fmax(max, logits[i]);
    }
    if (c->n_groups > 1)
        drop_groups(c, score, bias, out);
    best_of(&c->gap, score, out, c->n, c->n_used, ids);
    for (int i = 0; i < c->n; i++)
        all += exp(logits[i] - max);
    for (int j = 0; j < c->n_used; j++) { // the bias chooses, it does not weigh
        double x = logits[ids[j]];
        weights[j] = c->scoring == SCORE_SIGMOID ? 1 / (1 + exp(-x)) : exp(x - max) / all;
        chosen += weights[j];
    }
    bool normalize = c->normalize || c->scoring == SCORE_SOFTMAX_CHOSEN;
    for (int j = 0; j < c->n_used; j++)
        weights[j] *= c->scale / (normalize ? chosen : 1);
}

// One gated unit, added to out with a weight. Matrix `mat` of each; biases may be absent.
struct unit {
    const struct matrix *gate, *up, *down, *gate_bias, *up_bias, *down_bias;
};

static void add_unit(enum activation a, const struct unit *u, int mat, double weight,
                     const double *x, double *out)
{
    int ff = u->up->n_out, n_out = u->down->n_out;
    double *gate = reference_numbers((size_t)ff), *up = reference_numbers((size_t)ff);
    double *down = reference_numbers((size_t)n_out);
    reference_multiply(gate, u->gate, mat, x);
    reference_multiply(up, u->up, mat, x);
    reference_add_bias(gate, u->gate_bias, mat);
    reference_add_bias(up, u->up_bias, mat);
    for (int i = 0; i < ff; i++)
        gate[i] = reference_glu(a, gate[i], up[i]);
    reference_multiply(down, u->down, mat, gate);
    reference_add_bias(down, u->down_bias, mat);
    for (int i = 0; i < n_out; i++)
        out[i] += weight * down[i];
    free(gate);
    free(up);
    free(down);
}

static void mixture(struct net *t, const struct layer *l, const double *x, double *out)
{
    static const struct matrix none;
    const struct unit experts = {&l->gates,      &l->ups,      &l->downs,
                                 &l->gates_bias, &l->ups_bias, &l->downs_bias};
    const struct unit shared = {&l->shared_gate, &l->shared_up, &l->shared_down,
                                &none,           &none,         &none};
    double logits[REFERENCE_MAX_EXPERTS], weights[REFERENCE_MAX_EXPERTS], weight = 1;
    int ids[REFERENCE_MAX_EXPERTS];
    assert_true(l->router.n_out == t->choice.n && l->gates.n_mats == t->choice.n);
    reference_multiply(logits, &l->router, 0, x);
    reference_add_bias(logits, &l->router_bias, 0);
    reference_choose(&t->choice, logits, l->choice_bias.w, ids, weights);
    for (int j = 0; j < t->choice.n_used; j++)
        add_unit(t->activation, &experts, ids[j], weights[j], x, out);
    if (l->shared_router.w) { // qwen2moe
        reference_multiply(&weight, &l->shared_router, 0, x);
        weight = 1 / (1 + exp(-weight));
    }
    if (l->shared_up.w)
        add_unit(t->activation, &shared, 0, weight, x, out);
}

void reference_feed_forward(struct net *t, const struct layer *l, const double *x, double *out)
{
    static const struct matrix none;
    memset(out, 0, (size_t)t->n_embd * sizeof *out);
    if (l->router.w) {
        mixture(t, l, x, out);
        return;
    }
    struct matrix gate = l->gate, up = l->up;
    if (!gate.w) { // phi3: rows of the gate, then of the other
        assert_int_equal(up.n_out, 2 * t->n_ff);
        gate = (struct matrix){up.n_in, t->n_ff, 1, l->up.w};
        up = (struct matrix){up.n_in, t->n_ff, 1, l->up.w + (size_t)t->n_ff * (size_t)up.n_in};
    }
    const struct unit unit = {&gate, &up, &l->down, &none, &none, &none};
    add_unit(t->activation, &unit, 0, 1, x, out);
}
