// How a worker follows its head: joins it, takes part in its rings, and waits for the next one when
// it ends. Pure: an event and the time in, actions out; cluster/worker.c carries them out, the
// simulator in tests/cluster pretends to.
//
//   AWAY <-> DIALLING -> WAITING -> LOADING -> READY -> LINKING -> RUNNING
//                          ^ ^         |         |         |          |
//                          | +---------+         |         +-> BROKEN (said so, and why)
//                          |  cannot load        |                |
//                          +------- END: this ring is over -------+
//
// Losing the head drops the ring and leads to AWAY from everywhere. A worker has one ring at a
// time: an offer of another epoch drops the one before it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    FOLLOW_RETRY_MIN_MS = 250, // before dialling again; doubles
    FOLLOW_RETRY_MAX_MS = 2000,
    FOLLOW_MAX_ACTIONS = 4,
};

enum follow_state {
    FOLLOW_AWAY,
    FOLLOW_DIALLING,
    FOLLOW_WAITING,
    FOLLOW_LOADING,
    FOLLOW_READY,
    FOLLOW_LINKING,
    FOLLOW_RUNNING,
    FOLLOW_BROKEN,
};

enum follow_event_kind {
    FOLLOW_HEAD_OPEN,
    FOLLOW_HEAD_LOST,   // the link to the head ended, or never opened
    FOLLOW_OFFERED,     // epoch: offer, plan and roster are complete
    FOLLOW_LOADED,      // epoch
    FOLLOW_LOAD_FAILED, // epoch
    FOLLOW_GO,          // epoch
    FOLLOW_EDGE_OPEN,   // epoch: the edge to the next node
    FOLLOW_EDGE_LOST,   // epoch: one of the two edges, or it never opened
    FOLLOW_PASS_FAILED, // epoch
    FOLLOW_END,         // epoch
    FOLLOW_TICK,
};

struct follow_event {
    enum follow_event_kind kind;
    uint32_t epoch;
};

enum follow_action {
    FOLLOW_DO_DIAL_HEAD,
    FOLLOW_DO_LOAD, // what was offered, for follow.epoch
    FOLLOW_DO_SAY_READY,
    FOLLOW_DO_SAY_NOT_READY,
    FOLLOW_DO_DIAL_EDGE,
    FOLLOW_DO_SAY_LINKED,
    FOLLOW_DO_SAY_FAILED,
    FOLLOW_DO_DROP, // stop computing, close the edges, free the windows
};

struct follow_actions {
    int n;
    enum follow_action list[FOLLOW_MAX_ACTIONS];
};

struct follow {
    enum follow_state state;
    uint32_t epoch; // of the ring that it has, LOADING and later
    int64_t retry_ns, backoff_ms;
};

void follow_init(struct follow *f, int64_t now_ns);
// Replaces what is in `out`.
void follow_step(struct follow *f, const struct follow_event *event, int64_t now_ns,
                 struct follow_actions *out);
