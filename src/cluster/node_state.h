// The inside of a head, for node.c (the user's thread), node_door.c (the links' threads),
// node_act.c and node_drive.c (the driving thread).
#pragma once

#include "cluster/drift.h"
#include "cluster/edges.h"
#include "cluster/findings.h"
#include "cluster/identity.h"
#include "cluster/inquiry.h"
#include "cluster/liveness.h"
#include "cluster/node.h"
#include "cluster/offer.h"
#include "cluster/surveyor.h"
#include "ring/door.h"

#include <pthread.h>

struct peer {
    struct node *node;
    struct link *link; // NULL: a free place; under lock until it is open
    // Set in `admit`, constant afterwards.
    char name[WIRE_NAME];
    struct digest fingerprint;
    struct net_address address;
    uint16_t port;
    // The driving thread's.
    struct liveness liveness;
    struct wire_have have;
};

struct node {
    struct node_options o;
    char folder[IDENTITY_PATH], host[NET_ADDRESS_TEXT];
    struct tls_identity *identity;
    struct digest fingerprint;
    char name[WIRE_NAME];
    char token[TOKEN_TEXT_MAX];
    struct frame_pool *control;
    struct mailbox *mail;
    struct door *door;
    pthread_t thread;
    bool started;

    // Set by node_begin before the driving thread learns of it.
    struct node_ring ring;
    struct pipeline *pipeline;
    struct offer *offer;
    struct surveyor *surveyor; // NULL: nobody is asked

    // The driving thread's.
    struct deploy deploy;
    struct err why; // of the event at hand: what is told when something ends
    bool connected; // the pipeline has the edges
    struct inquiry inquiry;
    struct findings findings;
    uint32_t survey_epoch; // 0: none is under way
    int64_t survey_deadline_ns;
    int asked[PLAN_MAX_NODES]; // members
    struct drift drift;
    int drift_passes; // that it has seen

    pthread_mutex_t lock; // all below
    pthread_cond_t changed;
    struct peer peers[MEMBERSHIP_MAX]; // by member
    struct edges *edges;
    bool begun, stop;
    // The driving thread writes it, and reads it without the lock.
    struct node_plan plan;
    struct node_survey *surveyed; // NULL: not yet
    struct node_drift drifted;
    const struct node_plan *next; // from node_plan, which waits until it is taken: NULL
    int next_rc;                  // and what came of it
    struct err next_why;
    struct foretold foretell; // from node_foretell, until it is taken
    bool foretells;
    struct node_status status;
    char ring_names[WIRE_MAX_NODES][WIRE_NAME];
    struct node_memory ring_memory[WIRE_MAX_NODES];
};

// node_door.c: the door's `admit`.
int node_admit(void *ctx, struct link *l, const struct wire_header *header,
               const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why);

// node_act.c, the driving thread: lets deploy.c decide and does what it says.
void node_step(struct node *n, const struct deploy_event *event);
void node_note(struct node *n, const char *text);

// node_ask.c, the driving thread: the survey.
void node_ask_begin(struct node *n);
int node_ask_frame(struct node *n, int member, const struct frame *f, struct err *e);
void node_ask_own(struct node *n); // MAIL_SURVEYED
void node_ask_watch(struct node *n, int64_t now_ns);
// The nodes that are asked, or those of the ring, as `receiver` can reach them; the head last.
void node_write_peers(struct node *n, struct wire_peer *out, const int *members, int n_workers,
                      const struct net_address *receiver);

// node_drive.c: the driving thread, until n->stop.
void *node_drive(void *node);
