// When it is worth a line that a worker gave memory of its weights back in need, or has it again.
// Pure but for the text.
#pragma once

#include "weights/weights.h"

struct given_back {
    uint64_t said;   // bytes that were given back when it was last said; 0: nothing is
    int64_t next_ns; // when to look again
};

// Weights that were just loaded: what was given back meanwhile is news.
void given_back_init(struct given_back *g, int64_t now_ns);
// Whether a second has passed since the last look.
bool given_back_due(struct given_back *g, int64_t now_ns);
// Whether there is something to say: the first bytes given back, clearly more of them, or all of
// them there again.
enum { GIVEN_BACK_TEXT = 200 };
bool given_back_news(struct given_back *g, const struct weights_status *s,
                     char out[GIVEN_BACK_TEXT]);
