// Who is with a head: see membership.h.
#include "cluster/membership.h"

#include "base/check.h"

#define TO(state) (1u << (state))

// Where a member may go from each state.
static const uint8_t moves[MEMBER_STATE_COUNT] = {
    [MEMBER_GONE] = TO(MEMBER_PAIRED),
    [MEMBER_PAIRED] = TO(MEMBER_GONE) | TO(MEMBER_OFFERED) | TO(MEMBER_UNFIT),
    [MEMBER_OFFERED] = TO(MEMBER_GONE) | TO(MEMBER_PAIRED) | TO(MEMBER_READY) | TO(MEMBER_UNFIT),
    [MEMBER_READY] = TO(MEMBER_GONE) | TO(MEMBER_PAIRED) | TO(MEMBER_LINKED),
    [MEMBER_LINKED] = TO(MEMBER_GONE) | TO(MEMBER_PAIRED) | TO(MEMBER_RUNNING),
    [MEMBER_RUNNING] = TO(MEMBER_GONE) | TO(MEMBER_PAIRED),
    [MEMBER_UNFIT] = TO(MEMBER_GONE),
};

void membership_init(struct membership *m, uint32_t epoch)
{
    *m = (struct membership){.epoch = epoch};
}

uint32_t membership_next_epoch(struct membership *m)
{
    m->epoch++;
    m->epoch += m->epoch == 0;
    return m->epoch;
}

void membership_join(struct membership *m, int member)
{
    membership_move(m, member, MEMBER_PAIRED);
    m->members[member].order = m->joined++;
}

void membership_move(struct membership *m, int member, enum member_state state)
{
    CHECK(member >= 0 && member < MEMBERSHIP_MAX);
    CHECK(moves[m->members[member].state] & TO(state));
    m->members[member].state = state;
}

enum member_state membership_state(const struct membership *m, int member)
{
    CHECK(member >= 0 && member < MEMBERSHIP_MAX);
    return m->members[member].state;
}

int membership_list(const struct membership *m, enum member_state state, int *out, int max)
{
    int n = 0;
    for (int i = 0; i < MEMBERSHIP_MAX; i++) {
        if (m->members[i].state != state)
            continue;
        int at = n < max ? n : max;
        for (; at > 0 && m->members[out[at - 1]].order > m->members[i].order; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = i;
        n += n < max;
    }
    return n;
}

const char *membership_name(enum member_state state)
{
    static const char *const names[MEMBER_STATE_COUNT] = {
        [MEMBER_GONE] = "gone",
        [MEMBER_PAIRED] = "waiting",
        [MEMBER_OFFERED] = "loading",
        [MEMBER_READY] = "loaded",
        [MEMBER_LINKED] = "linked",
        [MEMBER_RUNNING] = "running",
        [MEMBER_UNFIT] = "cannot take part",
    };
    return names[state];
}
