// Numbers of a machine as the wire has them: see profile_wire.h.
#include "cluster/profile_wire.h"

#include <string.h>

_Static_assert((int)WIRE_TYPES == (int)PLAN_TYPES && sizeof(((struct wire_speed *)0)->product) ==
                                                         sizeof(((struct plan_speed *)0)->product),
               "weight types of a profile");

static void speed_to_wire(struct wire_speed *out, const struct plan_speed *s)
{
    memcpy(out->product, s->product, sizeof out->product);
    out->layer = s->layer;
    out->token = s->token;
    out->attend = s->attend;
    out->launch = s->launch;
}

static void speed_from_wire(struct plan_speed *out, const struct wire_speed *s)
{
    memcpy(out->product, s->product, sizeof out->product);
    out->layer = s->layer;
    out->token = s->token;
    out->attend = s->attend;
    out->launch = s->launch;
}

void profile_to_wire(struct wire_profile *out, const struct plan_machine *m)
{
    *out = (struct wire_profile){.memory = m->memory,
                                 .base = m->base,
                                 .vram = m->vram,
                                 .disk = m->disk,
                                 .copy = m->copy,
                                 .known = 1};
    speed_to_wire(&out->cpu, &m->cpu);
    speed_to_wire(&out->gpu, &m->gpu);
}

void profile_from_wire(struct plan_machine *out, const struct wire_profile *m)
{
    *out = (struct plan_machine){.memory = m->memory,
                                 .base = m->base,
                                 .vram = m->vram,
                                 .disk = m->disk,
                                 .copy = m->copy,
                                 .disk_group = -1,
                                 .net_group = -1,
                                 .core_group = -1};
    speed_from_wire(&out->cpu, &m->cpu);
    speed_from_wire(&out->gpu, &m->gpu);
}
