// The verbs of the program, in the order of its help. Each is a file of its own.
#include "app/verbs.h"

// A line for each, so that adding one changes one line.
// clang-format off
const struct verb *const verbs[] = {
    &verb_run,
    &verb_join,
    &verb_nodes,
    &verb_token,
    &verb_pull,
    &verb_ls,
    &verb_rm,
    &verb_show,
    &verb_tokenize,
    &verb_perplexity,
    &verb_bench,
    &verb_measure,
    &verb_plan,
    &verb_prepack,
    &verb_slice,
    &verb_quantize,
    &verb_imatrix,
    &verb_synth,
    &verb_version,
    NULL,
};
