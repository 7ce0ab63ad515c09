// The governor: gives memory back before the machine or a control group runs out of it.
//
// With anonymous memory and no swap there is no sign before somebody is killed, so it looks every
// 20 ms at what is free (budget.h), and every 5 ms in need; where the kernel tells of pressure
// (pressure.h) it looks at once. When less is free than the floor, or soon will be at the pace at
// which others take memory, it lowers the limit of resident bytes by what is missing. When there is
// room again and has been for a while, it raises the limit slowly, as the disk has to bring back
// what was let go of.
//
// Deciding is pure: governor_decide takes state, time and numbers. One thread reads and acts.
#pragma once

#include "base/err.h"
#include "weights/budget.h"

#include <stdbool.h>
#include <stdint.h>

// Of one source, since the last decision.
struct governor_trend {
    bool known;
    uint64_t free;
    double pace; // bytes per second that others take; falls off slowly
};

struct governor_state {
    bool grow;      // the limit may be raised again
    uint64_t limit; // resident bytes in force; UINT64_MAX: none
    bool hurry;     // look again soon
    int cause;      // the source of the last need
    int64_t now_ns, need_ns, raise_ns;
    uint64_t ours; // resident, and besides
    int n_sources;
    struct governor_trend trends[BUDGET_MAX_SOURCES];
};

struct governor_view {
    int64_t now_ns;
    const struct budget_source *sources;
    int n_sources;
    bool others;               // the sources are others than at the last decision
    uint64_t resident, wanted; // bytes now, and as planned
    uint64_t besides;          // anonymous memory of this process that is not resident weights
};

void governor_init(struct governor_state *s, bool grow);
// The new limit of resident bytes, as in s->limit; UINT64_MAX: the plan is the limit.
uint64_t governor_decide(struct governor_state *s, const struct governor_view *v);

// What is governed. Both are called from the governor's thread. What is resident is counted as that
// until the system has it back.
struct governor_calls {
    void *ctx;
    void (*limit)(void *ctx, uint64_t bytes);
    void (*status)(void *ctx, uint64_t *resident, uint64_t *wanted);
};

struct governor;
// `root`: as in budget.h. `grow`: false where the user has said how much memory to take, so that
// only need changes it.
int governor_start(struct governor **out, const char *root, bool grow,
                   const struct governor_calls *calls, struct err *e);
void governor_stop(struct governor *g); // waits for the thread; NULL is allowed
