// Sampling: see sampler.h.
//
// Candidates are put on a heap, best first, and taken off one by one until a limit says that the
// rest does not matter: O(n_vocab) for the heap and a logarithm for each candidate kept.
#include "engine/sampler.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct candidate {
    float logit;
    int32_t id;
};

struct sampler {
    struct sampler_options o;
    int n_vocab;
    struct rng rng;
    struct arena arena;
    struct candidate *heap; // (n_vocab)
    struct candidate *kept; // (n_vocab), best first
    double *weight;         // (n_vocab), of the kept
    int32_t recent[SAMPLER_MAX_RECENT];
    uint64_t n_accepted;
};

int sampler_new(struct sampler **out, int n_vocab, const struct sampler_options *o, struct err *e)
{
    CHECK(n_vocab > 0 && o->temp >= 0 && o->repeat_penalty > 0);
    CHECK(o->repeat_last >= 0 && o->repeat_last <= SAMPLER_MAX_RECENT);
    size_t n = (size_t)n_vocab, candidates = n * sizeof(struct candidate);
    size_t weights = n * sizeof(double);
    struct sampler *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s || arena_init(&s->arena,
                         arena_plan(arena_plan(arena_plan(0, candidates), candidates), weights))) {
        sampler_free(s);
        return err_set(e, ERR_NO_MEMORY, "no memory to choose among %d tokens", n_vocab);
    }
    s->o = *o;
    s->n_vocab = n_vocab;
    s->heap = arena_take(&s->arena, candidates);
    s->kept = arena_take(&s->arena, candidates);
    s->weight = arena_take(&s->arena, weights);
    rng_init(&s->rng, o->seed);
    *out = s;
    return 0;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    arena_fini(&s->arena);
    free(s);
}

void sampler_accept(struct sampler *s, int32_t id)
{
    if (s->o.repeat_last)
        s->recent[s->n_accepted++ % (uint64_t)s->o.repeat_last] = id;
}

static void penalize(struct sampler *s, float *logits)
{
    if (s->o.repeat_penalty == 1)
        return;
    uint64_t last = (uint64_t)s->o.repeat_last;
    int n = (int)(s->n_accepted < last ? s->n_accepted : last);
    for (int i = 0; i < n; i++) {
        int32_t id = s->recent[i];
        bool earlier = id < 0 || id >= s->n_vocab;
        for (int j = 0; j < i && !earlier; j++)
            earlier = s->recent[j] == id;
        if (!earlier) // each token once
            logits[id] = logits[id] > 0 ? logits[id] / s->o.repeat_penalty
                                        : logits[id] * s->o.repeat_penalty;
    }
}

// The best token, or -1 when there is none. Minus infinity means never; all else must be numbers.
static int32_t best(const struct sampler *s, const float *logits, struct err *e)
{
    int32_t at = -1;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return err_set(e, ERR_FAILED,
                           "the model computed a logit that is not a number (token %d); its file "
                           "is damaged, or its architecture is not supported as it should be",
                           i);
        if (logits[i] > -INFINITY && (at < 0 || logits[i] > logits[at]))
            at = i;
    }
    if (at < 0)
        return err_set(e, ERR_FAILED, "the model rules out every token; its file is damaged");
    return at;
}

static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift(struct candidate *heap, int n, int at)
{
    if (at >= n)
        return;
    struct candidate c = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], c))
            break;
        heap[at] = heap[child];
    }
    heap[at] = c;
}

// Fills the heap and returns its size; minus infinity is left out.
static int heap_fill(struct sampler *s, const float *logits)
{
    int n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++)
        if (logits[i] > -INFINITY)
            s->heap[n++] = (struct candidate){logits[i], i};
    for (int i = n / 2 - 1; i >= 0; i--)
        sift(s->heap, n, i);
    return n;
}

static struct candidate pop(struct sampler *s, int *n)
{
    struct candidate c = s->heap[0];
    s->heap[0] = s->heap[--*n];
    sift(s->heap, *n, 0);
    return c;
}

// Moves the best candidates to `kept` until top_k, top_p or min_p end it; returns how many.
static int keep(struct sampler *s, int n, float max)
{
    bool few = s->o.top_k > 0 && s->o.top_k < n;
    int limit = few ? s->o.top_k : n;
    const struct candidate *all = few ? s->kept : s->heap; // what top_p is a share of
    double total = 0, sum = 0;
    for (int i = 0; i < limit && few; i++)
        s->kept[i] = pop(s, &n);
    for (int i = 0; i < limit; i++)
        total += exp((double)all[i].logit - max);
    for (int i = 0; i < limit; i++) {
        if (!few)
            s->kept[i] = pop(s, &n);
        double p = exp((double)s->kept[i].logit - max);
        if (i > 0 && (p < (double)s->o.min_p || sum >= (double)s->o.top_p * total))
            return i;
        sum += p;
    }
    return limit;
}

int32_t sampler_draw(struct sampler *s, float *logits, struct err *e)
{
    penalize(s, logits);
    int32_t top = best(s, logits, e);
    if (top < 0 || s->o.temp == 0)
        return top;
    int n = heap_fill(s, logits);
    const struct candidate *c = s->heap; // nothing to leave out: any order does, and is the same
    if ((s->o.top_k > 0 && s->o.top_k < n) || s->o.top_p < 1 || s->o.min_p > 0) {
        n = keep(s, n, logits[top]);
        c = s->kept;
    }
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weight[i] = exp(((double)c[i].logit - logits[top]) / (double)s->o.temp);
    double at = rng_double(&s->rng) * sum;
    for (int i = 0; i < n; i++) {
        at -= s->weight[i];
        if (at < 0)
            return c[i].id;
    }
    return top; // rounding ate the last candidate
}
