// What the options of a verb say about answers.
#pragma once

#include "app/options.h"
#include "engine/sampler.h"

// The verb takes --temp, --top-k, --top-p, --min-p, --repeat-penalty and --seed; without the last
// each call has a seed of its own.
struct sampler_options answer_sampler(const struct options *o);
// --tokens; SIZE_MAX without it.
size_t answer_max_tokens(const struct options *o);
