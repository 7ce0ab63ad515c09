// From options to answers: see answer_options.h.
#include "app/answer_options.h"

#include "base/clock.h"

enum { REPEAT_LAST = 64 };

struct sampler_options answer_sampler(const struct options *o)
{
    return (struct sampler_options){
        .temp = (float)options_float(o, OPT_TEMP),
        .top_k = (int)options_int(o, OPT_TOP_K),
        .top_p = (float)options_float(o, OPT_TOP_P),
        .min_p = (float)options_float(o, OPT_MIN_P),
        .repeat_penalty = (float)options_float(o, OPT_REPEAT_PENALTY),
        .repeat_last = REPEAT_LAST,
        .seed = options_given(o, OPT_SEED) ? (uint64_t)options_int(o, OPT_SEED)
                                           : (uint64_t)clock_ns() % 1000000007u,
    };
}

size_t answer_max_tokens(const struct options *o)
{
    return options_given(o, OPT_TOKENS) ? (size_t)options_int(o, OPT_TOKENS) : SIZE_MAX;
}
