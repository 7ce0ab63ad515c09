// A head: lets workers in, makes a ring of them, watches over it, and has the pipeline that runs
// round it.
//
//   node_open: listens, makes a token       node_begin: loads its own windows, offers the rest
//   node_wait: until something changes      node_pipeline: tokens in, logits out
//
// Threads: node_* are for one thread, the user's, where nothing else is said. A driving thread of
// its own makes the ring as cluster/deploy.c decides and watches everybody; links and the door have
// threads too. When a worker is lost the driving thread ends the passes of the pipeline with a
// sentence.
#pragma once

#include "cluster/deploy.h"
#include "cluster/timings.h"
#include "cluster/token.h"
#include "engine/local.h"
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
    struct window_table table; // the head last
    struct local_options engine;
    enum wire_activation activation;
    struct timings_report predicted; // of one token, by a plan; pass_ms 0: none
};

// Once per node.
int node_begin(struct node *n, const struct node_ring *r, struct err *e);
struct pipeline *node_pipeline(struct node *n); // of node_begin; the node's

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
    struct timings_report predicted; // of node_ring
};

// Any thread, from the end of node_begin to node_close; so are node_last and node_recent.
void node_report(struct node *n, struct node_report *out);
// The last token and the last passes as timelines (cluster/timings.h).
int node_last(struct node *n, struct timings_trace *out, struct err *e);
int node_recent(struct node *n, struct timings_trace *out, struct err *e);
