// Scoring a text: see score.h.
#include "app/score.h"

#include "base/check.h"
#include "engine/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scoring_state {
    struct score *score;
    const int32_t *window; // its tokens, BOS included
    size_t n, first;       // positions [first, n - 1) predict what is scored
    size_t n_vocab;
    bool bad; // a logit that is not a number
};

// -log p(id) by the logits, summed in double precision.
static double surprise(const float *logits, size_t n, int32_t id)
{
    float max = logits[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)max);
    return log(sum) - ((double)logits[id] - (double)max);
}

static void score_row(void *arg, size_t position, const float *logits)
{
    struct scoring_state *s = arg;
    if (position < s->first || position + 1 >= s->n)
        return;
    double nll = surprise(logits, s->n_vocab, s->window[position + 1]);
    s->bad |= !isfinite(nll);
    s->score->sum += nll;
    s->score->sum_squares += nll * nll;
    s->score->n_scored++;
}

static int score_window(struct scoring_state *state, struct session *s, struct err *e)
{
    session_truncate(s, 0);
    int rc = session_prompt(s, state->window, state->n - 1, NULL, NULL, e); // none predicts a next
    if (!rc && state->bad)
        rc = err_set(e, ERR_FAILED,
                     "the model computed a logit that is not a number; its file is damaged");
    state->score->n_windows += !rc;
    return rc;
}

static int score_windows(struct scoring_state *state, struct session *s, const struct ids *tokens,
                         int32_t bos, enum scoring scoring, size_t ctx, score_progress *progress,
                         void *arg, struct err *e)
{
    bool every = scoring == SCORING_EVERY;
    size_t front = every && bos >= 0, step = ctx - front; // text tokens of a window
    int32_t *window = malloc(ctx * sizeof *window);
    int rc = window ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for a window of %zu tokens", ctx);
    state->window = window;
    state->first = every ? 0 : ctx / 2;
    for (size_t at = 0; !rc && at < tokens->n; at += step) {
        size_t n = tokens->n - at < step ? tokens->n - at : step;
        state->n = front + n;
        if (state->n < 2 || (!every && n < step))
            break;
        memcpy(window + front, tokens->id + at, n * sizeof *window);
        if (bos >= 0)
            window[0] = bos;
        rc = score_window(state, s, e);
        if (!progress(arg, state->score, rc ? at : at + n)) {
            rc = 0; // also of a pass that was given up in its middle
            break;
        }
    }
    free(window);
    return rc;
}

int score_tokens(struct score *s, struct loaded *l, const struct ids *tokens, enum scoring scoring,
                 int ctx, score_progress *progress, void *arg, struct err *e)
{
    int32_t bos = vocab_adds_bos(l->vocab) ? vocab_bos(l->vocab) : -1;
    struct scoring_state state = {.score = s,
                                  .n_vocab = (size_t)l->pipeline->info.hparams->n_vocab};
    struct session_options o = {.rows = score_row, .rows_arg = &state};
    struct session *session;
    CHECK(ctx >= 2 && ctx <= l->pipeline->info.max_context);
    *s = (struct score){.n_tokens = tokens->n};
    int rc = session_new(&session, l->pipeline, &o, e);
    if (rc)
        return rc;
    rc = score_windows(&state, session, tokens, bos, scoring, (size_t)ctx, progress, arg, e);
    session_free(session);
    if (!rc && !s->n_scored)
        rc = err_set(e, ERR_FAILED,
                     "%zu tokens are too few to score in windows of %d; use a longer text or a "
                     "smaller --ctx",
                     tokens->n, ctx);
    return rc;
}

double score_nll(const struct score *s)
{
    return s->sum / (double)s->n_scored;
}

double score_perplexity(const struct score *s)
{
    return exp(score_nll(s));
}

double score_uncertainty(const struct score *s)
{
    double mean = score_nll(s), n = (double)s->n_scored;
    double variance = n > 1 ? (s->sum_squares / n - mean * mean) / (n - 1) : 0;
    return exp(mean) * sqrt(variance > 0 ? variance : 0);
}
