// One answer of a real ring in a home, measured from outside: rondo join on every worker, rondo run
// on the head, and what the head's JSON and the control groups say at the end.
#pragma once

#include "homelab/house.h"

enum { TRIAL_MAX_OPTIONS = 64, TRIAL_PROMPT_BYTES = 1 << 16 };

struct trial {
    const char *file, *model, *rondo; // the description, for the report
    const char *logs;                 // folder for what the nodes say; NULL: that of the notes
    bool json;
    int64_t limit_ms;
    const char *run_options[TRIAL_MAX_OPTIONS], *join_options[TRIAL_MAX_OPTIONS];
    int n_run_options, n_join_options;
    char prompt[TRIAL_PROMPT_BYTES];
};

// A prompt of about `tokens` tokens, as the model counts them.
int trial_make_prompt(struct trial *t, int tokens, struct err *e);

// For house_live; `trial` is a struct trial. Returns the exit code of the head, or its own.
int trial_run(struct house *h, void *trial);

// On standard output. `json_file` is what the head printed.
int trial_report(const struct house *h, const struct trial *t, const char *json_file,
                 int64_t wall_ms, struct err *e);
