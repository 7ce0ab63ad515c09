// rondo version: what this binary is, and what it can talk to.
#include "app/version.h"

#include "app/output.h"
#include "app/verbs.h"
#include "kernels/kernels.h"
#include "ring/messages.h"

#include <stdio.h>

const char *version_commit(void)
{
    return RONDO_COMMIT;
}

static int run(const struct options *o, struct err *e)
{
    const char *isa = isa_name(isa_detect());
    if (options_flag(o, OPT_JSON))
        return output_json(json_pack("{s:s, s:s, s:i, s:s, s:s}", "version", RONDO_VERSION,
                                     "commit", version_commit(), "protocol", (int)WIRE_VERSION,
                                     "isa", isa, "compiler", __VERSION__),
                           e);
    printf("rondo %s\ncommit %s\nprotocol %d\nkernels %s\ncompiler %s\n", RONDO_VERSION,
           version_commit(), (int)WIRE_VERSION, isa, __VERSION__);
    return 0;
}

const struct verb verb_version = {
    .name = "version",
    .summary = "what this binary is, and which nodes it can talk to",
    .usage = "",
    .text = "Nodes work together when they speak the same protocol. kernels is the instruction set "
            "that --isa auto picks on this machine.",
    .options = (const struct verb_option[]){{OPT_JSON, NULL}, {OPT_END, NULL}},
    .run = run,
};
