// This program as the head of a ring: `rondo run MODEL --workers N`.
#pragma once

#include "app/options.h"
#include "engine/local.h"

#include <jansson.h>

struct head;

// Whether a ring is asked for; ERR_USAGE in `e` when options of a ring are given without one. The
// verb must take --workers, --layers, --even, --rounds, --wire, --name, --listen, --token-file and
// --trace.
bool head_wanted(const struct options *o, struct err *e);

// Listens and loads the head's own layers. `m` outlives the head.
int head_open(struct head **out, const struct model *m, const struct local_options *local,
              const struct options *o, struct err *e);
void head_close(struct head *h);
struct pipeline *head_pipeline(struct head *h); // the head's
// Says on standard error how to join and who is there, until the ring runs; then who runs what. 0,
// the exit code of an interrupt, or an error.
int head_gather(struct head *h, struct err *e);

// Between answers: when tokens took otherwise than foretold for long, the ring is planned anew,
// which may take as long as loading did. 0, the exit code of an interrupt, or an error.
int head_refresh(struct head *h, struct err *e);

// After an answer: what it took each node and each hop, beside what was planned, and the Gantt of
// the last token.
void head_print_times(struct head *h, int64_t ttft_ns, int64_t tpot_ns);
json_t *head_json(struct head *h); // NULL: no memory
// Writes the last passes to the file of --trace, where one is wanted.
int head_trace(struct head *h, struct err *e);
