// A head: lets workers in, makes a ring of them, watches over it, and has the pipeline that runs
// round it.
//
//   node_open: listens, makes a token       node_begin: loads its own windows, offers the rest
//   node_wait: until something changes      node_pipeline: tokens in, logits out
//
// Where the windows are to be planned, node_begin has no table: when enough workers have come and
// have said what they can do (DEPLOY_PLANNING), node_survey tells it and node_plan says who runs
// what. node_plan may say so again while the ring runs, between answers.
//
// Threads: node_* are for one thread, the user's, where nothing else is said. A driving thread of
// its own makes the ring as cluster/deploy.c decides and watches everybody; links and the door have
// threads too. When a worker is lost the driving thread ends the passes of the pipeline with a
// sentence.
#pragma once

#include "cluster/deploy.h"
#include "cluster/foretold.h"
#include "cluster/timings.h"
#include "cluster/token.h"
#include "engine/local.h"
#include "plan/profile.h"
#include "ring/messages.h"

#include <stdbool.h>

enum {
    NODE_PORT = 7667, // of a head, when nobody says another
    NODE_TOKEN_S = 24 * 3600,
    NODE_NOTES = 8,
};

struct node;

struct node_options {
    const char *folder; // identity_folder
    const char *name;   // for people; NULL: the machine's
    const char *host;   // to listen on; NULL: all interfaces
    uint16_t port;      // 0: any
};

int node_open(struct node **out, const struct node_options *o, struct err *e);
// Ends the ring, tells the workers, closes everything; frees the pipeline.
void node_close(struct node *n);
// A token of this head, new in each node_open.
const char *node_token(const struct node *n);
uint16_t node_port(const struct node *n);

struct node_ring {
    const struct model *model; // outlives the node
    struct window_table table; // the head last; n_nodes 0: it is planned
    int n_workers;             // that are waited for, when it is planned
    // Everybody is asked what it can do; where `known`, only what was measured before. Planned
    // windows need it.
    bool survey, known;
    struct local_options engine;
    enum wire_activation activation;
    struct timings_report predicted; // of one token, by whoever made the table; pass_ms 0: none
    int drift_ms; // that a ring is off its prediction before that counts; 0: DRIFT_LONG_MS
};

// Once per node.
int node_begin(struct node *n, const struct node_ring *r, struct err *e);
struct pipeline *node_pipeline(struct node *n); // of node_begin; the node's

// What the nodes said of themselves, in the order in which they came; the head last.
struct node_survey {
    bool known; // false: somebody could not say, and the rest is not filled
    struct plan_cluster cluster;
    struct layer_set has[PLAN_MAX_NODES]; // layers of their files
    int members[PLAN_MAX_NODES];          // for node_plan
};
// 0; 1: there is none (yet).
int node_survey(struct node *n, struct node_survey *out);

struct node_plan {
    struct window_table table;   // the head last, and perhaps alone
    int members[PLAN_MAX_NODES]; // of node_survey, for each worker of the table
    uint64_t slots[PLAN_MAX_NODES], memory[PLAN_MAX_NODES]; // bytes; 0: as the node finds right
    int chunk; // tokens of a prompt that go together; 0: as many as a pass may have
    struct foretold foretold;
};
// While DEPLOY_PLANNING, or while the ring runs and nobody waits for a pass: hands the plan out and
// loads the head's own windows. Sessions keep their tokens and are computed anew. 1: it came too
// late, somebody left.
int node_plan(struct node *n, const struct node_plan *p, struct err *e);
// Predictions for the ring that runs, when they come after its table.
void node_foretell(struct node *n, const struct foretold *f);

// Whether the ring takes longer, or less, than foretold, and has for long (drift.h).
struct node_drift {
    bool drifted;
    struct timings_report seen; // what its last tokens took
    int position;               // of the last of them
    int worst;                  // node that is off most; -1: the pass as a whole
    double ratio;               // measured over predicted, of that
};
void node_drift(struct node *n, struct node_drift *out);

struct node_status {
    uint32_t version; // counts changes; 0: nothing has happened yet
    enum deploy_phase phase;
    int n_wanted;  // workers
    int n_members; // in all
    struct node_member {
        char name[WIRE_NAME];
        enum member_state state;
    } members[MEMBERSHIP_MAX];
    // What was worth telling; note i is in notes[i % NODE_NOTES].
    uint32_t n_notes;
    char notes[NODE_NOTES][512];
    struct err ended; // why the ring ended, once it ran
};

// Waits until the status is another than `out` has, or timeout_ms have passed. Zeros first. Any
// thread.
void node_wait(struct node *n, int timeout_ms, struct node_status *out);

// How a node keeps its weights.
struct node_memory {
    uint64_t resident, streamed, slots; // bytes; streamed: read from disk for each pass
};

// Who runs what in the present ring, or ran in the last one; in the plan's order, the head last.
struct node_report {
    struct window_table table;
    enum wire_activation activation;
    char names[WIRE_MAX_NODES][WIRE_NAME];
    struct node_memory memory[WIRE_MAX_NODES];
    struct timings_report decode, prompts;
    struct timings_report predicted; // for the positions of the last tokens
};

// Any thread, from the end of node_begin to node_close; so are node_last and node_recent.
void node_report(struct node *n, struct node_report *out);
// The last token and the last passes as timelines (cluster/timings.h).
int node_last(struct node *n, struct timings_trace *out, struct err *e);
int node_recent(struct node *n, struct timings_trace *out, struct err *e);
