// Every verb, by the name of its file.
#pragma once

#include "app/options.h"

extern const struct verb verb_run;
extern const struct verb verb_show;
extern const struct verb verb_pull;
extern const struct verb verb_ls;
extern const struct verb verb_rm;
extern const struct verb verb_prepack;
extern const struct verb verb_slice;
extern const struct verb verb_quantize;
extern const struct verb verb_imatrix;
extern const struct verb verb_synth;
extern const struct verb verb_bench;
extern const struct verb verb_measure;
extern const struct verb verb_plan;
extern const struct verb verb_perplexity;
extern const struct verb verb_tokenize;
extern const struct verb verb_join;
extern const struct verb verb_nodes;
extern const struct verb verb_token;
extern const struct verb verb_version;
