// How a head makes a ring out of the workers that joined it, and what it does when one is lost.
// Pure: an event and the time in, actions out; cluster/node.c carries them out, the simulator in
// tests/cluster pretends to.
//
//   IDLE -> GATHERING: enough workers? -> LOADING: all READY? -> LINKING: all LINKED? -> RUNNING
//            ^                       |     ^ |                     |                      | |
//            |              planned: |     | |                     |                      | |
//            |                 SURVEYING -> PLANNING               |      planned anew <--+ |
//            |                       |      |                      |                        |
//            +---- a worker lost or unfit: END to the others ------+                      IDLE
//
// Where the windows are planned, those who came first are asked what they can do (inquiry.h), and
// whoever plans says who runs what; it may be the head alone. The others stay, idle. A ring that
// runs is replaced by another in the same way, without an error.
//
// Losing anybody while the ring runs ends the ring; whoever drives says when to begin again. Events
// of an older epoch are ignored, so a late answer cannot be taken for one to the present plan.
#pragma once

#include "cluster/membership.h"
#include "plan/layer_set.h"

enum {
    DEPLOY_LINK_MS = 15000, // from GO until every edge is open
    DEPLOY_PAUSE_MS = 1000, // before the next try when linking failed
    DEPLOY_MAX_ACTIONS = 2 * PLAN_MAX_NODES + 8,
};

enum deploy_phase {
    DEPLOY_IDLE,
    DEPLOY_GATHERING,
    DEPLOY_SURVEYING,
    DEPLOY_PLANNING,
    DEPLOY_LOADING,
    DEPLOY_LINKING,
    DEPLOY_RUNNING,
};

enum deploy_event_kind {
    DEPLOY_BEGIN,     // a ring of `n_workers` and the head is wanted
    DEPLOY_JOINED,    // member
    DEPLOY_HAS,       // member: the layers of its file; before, it is given nothing
    DEPLOY_UNFIT,     // member: cannot be asked what it can do
    DEPLOY_SURVEYED,  // epoch: all that were asked have answered
    DEPLOY_PLANNED,   // table and members: who is which node
    DEPLOY_LOST,      // member: its link ended, or it is silent or hung
    DEPLOY_READY,     // member, epoch
    DEPLOY_NOT_READY, // member, epoch: cannot load, or cannot reach its next node
    DEPLOY_LINKED,    // member, epoch
    DEPLOY_FAILED,    // member, epoch: a pass or an edge of it went wrong
    DEPLOY_EDGE_OPEN, // epoch: the head's own edge
    DEPLOY_EDGE_LOST, // epoch: one of the head's two edges
    DEPLOY_TICK,
    DEPLOY_STOP, // the ring is no longer wanted
};

struct deploy_event {
    enum deploy_event_kind kind;
    int member, n_workers;
    uint32_t epoch;
    bool planned;                     // BEGIN: who runs what is planned when enough have come
    bool survey;                      // BEGIN: those who come are asked; planned rings need it
    const struct window_table *table; // BEGIN: who needs which layers; NULL: nobody needs any
    const int *members;               // PLANNED: (table->n_nodes - 1)
    const struct layer_set *layers;   // HAS
};

enum deploy_action_kind {
    DEPLOY_DO_SURVEY, // of members.epoch: ask ring[0 .. n_wanted - 1] and yourself
    DEPLOY_DO_REST,   // another plan follows: disconnect the passes, close the edges
    DEPLOY_DO_MAKE,   // get ready for the plan of members.epoch: edges that may be dialled
    DEPLOY_DO_OFFER,  // send `member` OFFER, PLAN and ROSTER as node `node`
    DEPLOY_DO_GO,     // send `member` GO
    DEPLOY_DO_DIAL,   // dial the first worker
    DEPLOY_DO_START,  // passes may be sent
    DEPLOY_DO_CLOSE,  // the ring is over: end its passes, close the edges
    DEPLOY_DO_END,    // send `member` END
};

struct deploy_action {
    enum deploy_action_kind kind;
    int member, node;
    uint32_t epoch; // of the ring that it belongs to
};

struct deploy_actions {
    int n;
    struct deploy_action list[DEPLOY_MAX_ACTIONS];
};

struct deploy {
    enum deploy_phase phase;
    struct membership members;
    bool planned, survey;
    int n_wanted;                           // workers that are waited for
    int n_workers;                          // of the ring: the same, or as planned
    int ring[PLAN_MAX_NODES];               // the member that is node i, from LOADING on;
                                            // SURVEYING and PLANNING: who is asked
    struct layer_set needs[PLAN_MAX_NODES]; // by node
    struct layer_set has[MEMBERSHIP_MAX];   // by member
    bool told[MEMBERSHIP_MAX];              // a member has said what it has
    bool edge_open;                         // the head's own
    int64_t not_before_ns;                  // GATHERING: a pause
    int64_t link_deadline_ns;               // LINKING
};

void deploy_init(struct deploy *d, uint32_t epoch);
// Replaces what is in `out`.
void deploy_step(struct deploy *d, const struct deploy_event *event, int64_t now_ns,
                 struct deploy_actions *out);
// How many of the workers' nodes wait for somebody who has their layers although enough have come;
// *node is the first such. 0 when that is not the matter.
int deploy_unserved(const struct deploy *d, int *node);
// The node that a member is in the present plan; -1: none.
int deploy_node(const struct deploy *d, int member);
