// How well a model predicts a text: the negative log-likelihood of its tokens, in windows.
//
//   every  windows of ctx - 1 tokens with BOS in front of each; every token of a window is scored.
//          The last window may be shorter. A model without BOS leaves the first one unscored.
//   half   windows of ctx tokens, the first replaced by BOS where the model wants one; only tokens
//          behind the middle are scored, so that each has some context. What fills no window is
//          left out. Comparable to the figures that llama.cpp prints.
#pragma once

#include "app/loaded.h"

enum scoring { SCORING_EVERY, SCORING_HALF };

struct score {
    double sum, sum_squares; // of the negative log-likelihoods
    size_t n_scored, n_tokens, n_windows;
};

// Told after each window, and after one that could not be computed to its end; false ends it there
// without an error.
typedef bool score_progress(void *arg, const struct score *s, size_t done);

// `tokens`: the text, without BOS for SCORING_EVERY and with it for SCORING_HALF, as
// vocab_encode makes them without and with ENCODE_SPECIAL.
int score_tokens(struct score *s, struct loaded *l, const struct ids *tokens, enum scoring scoring,
                 int ctx, score_progress *progress, void *arg, struct err *e);

double score_nll(const struct score *s);         // mean
double score_perplexity(const struct score *s);  // exp of it
double score_uncertainty(const struct score *s); // standard error of the perplexity
