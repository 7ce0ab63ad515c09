// Who is with a head: a table of workers and what each is doing, and the epoch of the plan. Pure.
//
//   GONE -> PAIRED -> OFFERED -> READY -> LINKED -> RUNNING
//             ^ |        |         |        |          |
//             | +--------+-> UNFIT: cannot take it     |
//             +--------- the ring ended ---------------+
//
// From every state a member can go (GONE). Each new plan has the next epoch, and what belongs to an
// earlier one is dropped by everybody.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MEMBERSHIP_MAX = 48 }; // more than a ring takes: the others wait

enum member_state {
    MEMBER_GONE,    // a free place
    MEMBER_PAIRED,  // let in, waits for a plan
    MEMBER_OFFERED, // loads its windows
    MEMBER_READY,   // has loaded them
    MEMBER_LINKED,  // its edge to the next node is open
    MEMBER_RUNNING,
    MEMBER_UNFIT, // refused the offer; not asked again
    MEMBER_STATE_COUNT,
};

struct membership {
    uint32_t epoch;  // never 0 once a plan was made
    uint64_t joined; // counts all who ever came
    struct member {
        enum member_state state;
        uint64_t order; // of joining
    } members[MEMBERSHIP_MAX];
};

// `epoch`: what the last head may have used; the first plan has another.
void membership_init(struct membership *m, uint32_t epoch);
uint32_t membership_next_epoch(struct membership *m);

// `member` is a free place, and PAIRED from now on.
void membership_join(struct membership *m, int member);
// The move must be one of the drawing's.
void membership_move(struct membership *m, int member, enum member_state state);
enum member_state membership_state(const struct membership *m, int member);
// Members in this state, the earliest first; returns their number, at most `max`.
int membership_list(const struct membership *m, enum member_state state, int *out, int max);
const char *membership_name(enum member_state state); // for people: "waiting", "loading"
