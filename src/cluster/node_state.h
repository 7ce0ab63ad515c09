// The inside of a head, for node.c (the user's thread), node_door.c (the links' threads),
// node_act.c and node_drive.c (the driving thread).
#pragma once

#include "cluster/edges.h"
#include "cluster/identity.h"
#include "cluster/liveness.h"
#include "cluster/node.h"
#include "cluster/offer.h"
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
    struct liveness liveness; // the driving thread's
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

    // The driving thread's.
    struct deploy deploy;
    struct err why; // of the event at hand: what is told when something ends
    bool connected; // the pipeline has the edges

    pthread_mutex_t lock; // all below
    pthread_cond_t changed;
    struct peer peers[MEMBERSHIP_MAX]; // by member
    struct edges *edges;
    bool begun, stop;
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

// node_drive.c: the driving thread, until n->stop.
void *node_drive(void *node);
