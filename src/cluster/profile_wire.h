// A machine's profile on the wire and back.
#pragma once

#include "plan/profile.h"
#include "ring/messages.h"

void profile_to_wire(struct wire_profile *out, const struct plan_machine *m);
// Without name and groups.
void profile_from_wire(struct plan_machine *out, const struct wire_profile *m);
