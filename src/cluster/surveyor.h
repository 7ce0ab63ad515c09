// What a node finds out about itself and its surroundings when a head asks: one thread, one
// question at a time.
//
//   surveyor_profile, _link, _disk: the question, returns at once
//           -> thread -> MAIL_SURVEYED -> surveyor_answer
//
// Belongs to the driving thread of a worker or a head.
#pragma once

#include "cluster/duty.h"
#include "cluster/mailbox.h"
#include "cluster/probe.h"

struct surveyor;

struct surveyor_options {
    const struct tls_identity *identity;
    struct mailbox *mail;
    const char *folder;      // identity_folder: what was measured is kept there
    struct frame_pool *pool; // of links that are measured by others
    int n_threads;           // as the engine's, and the next three
    enum isa isa;
    enum pin pin;
    struct weights_options weights; // whose memory is what the node may take
};

int surveyor_new(struct surveyor **out, const struct surveyor_options *o, struct err *e);
void surveyor_free(struct surveyor *s); // waits for the question at hand

// A survey begins: who may measure the way to this node, in echo_admit. Ends the one before.
int surveyor_begin(struct surveyor *s, uint32_t epoch, int index, const struct wire_peer *peers,
                   int n, struct err *e);
void surveyor_end(struct surveyor *s);
// Waits for the question at hand; afterwards no model that was given is used.
void surveyor_settle(struct surveyor *s);
// Any thread.
int surveyor_admit(struct surveyor *s, struct link *l, const struct wire_header *header,
                   const struct wire_hello *hello, struct err *why);

// The next question. One that is at hand is answered first, for nobody. The model stays until
// surveyor_settle.
void surveyor_profile(struct surveyor *s, const struct model *m, const struct wire_survey *asked);
void surveyor_link(struct surveyor *s, const struct wire_measure *asked);
void surveyor_disk(struct surveyor *s, const struct model *m, int ms);

struct surveyor_answer {
    uint32_t epoch;
    enum { SURVEYED_PROFILE, SURVEYED_LINK, SURVEYED_DISK } what;
    int node; // LINK: the way to it
    int rc;
    struct err why;
    bool known;  // PROFILE
    bool shares; // its memory is what the machine can spare
    struct plan_machine machine;
    struct plan_link link; // rate 0: not reached
    double rate;           // DISK
};
// After MAIL_SURVEYED, once. false: there is none.
bool surveyor_answer(struct surveyor *s, struct surveyor_answer *out);
