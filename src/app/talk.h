// rondo run without a prompt, at a terminal: a conversation in turns, with commands that begin with
// a slash.
#pragma once

#include "app/conversation.h"
#include "app/options.h"

// Standard input and output are a terminal. Until the user ends it; `o` has the options of
// `rondo run`. With --session it is kept there at the end. 0, the exit code of an interrupt when
// the program was asked to end, or an error.
int talk_run(struct conversation *c, struct loaded *l, const struct options *o, struct err *e);
