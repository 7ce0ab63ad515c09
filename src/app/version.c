// rondo version: what this binary is.
#include "app/verbs.h"

#include <stdio.h>

static int run(const struct options *o, struct err *e)
{
    (void)o, (void)e;
    puts("rondo " RONDO_VERSION);
    return 0;
}

const struct verb verb_version = {
    .name = "version",
    .summary = "what this binary is",
    .usage = "",
    .run = run,
};
