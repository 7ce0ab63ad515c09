// Choosing the next token from logits.
//
// In this order: the logits of recent tokens are made less likely (repeat penalty: a positive logit
// is divided by it, a negative one multiplied); at temperature 0 the best token is taken. Otherwise
// the top_k best are kept; of those the fewest that together have probability top_p; of those the
// ones with at least min_p times the probability of the best; then temperature and the dice. Equal
// logits count as ordered by token id, so that the same logits and seed give the same tokens.
//
// Threads: a sampler belongs to one thread. Nothing is allocated after sampler_new.
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { SAMPLER_MAX_RECENT = 1024 };

struct sampler_options {
    float temp;           // >= 0; 0: greedy
    int top_k;            // 0: all
    float top_p;          // 1: all
    float min_p;          // 0: all
    float repeat_penalty; // > 0; 1: off
    int repeat_last;      // tokens that count as recent, up to SAMPLER_MAX_RECENT
    uint64_t seed;
};

struct sampler;

int sampler_new(struct sampler **out, int n_vocab, const struct sampler_options *o, struct err *e);
void sampler_free(struct sampler *s);

// Tells of a token that the text now has, drawn or from the prompt.
void sampler_accept(struct sampler *s, int32_t id);

// The next token, or an error when logits (n_vocab) are not numbers. Changes `logits`.
int32_t sampler_draw(struct sampler *s, float *logits, struct err *e);
