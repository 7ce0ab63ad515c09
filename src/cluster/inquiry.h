// What a head asks before it plans, in which order, and what it makes of the answers: a cluster for
// the planner. Pure: answers in, questions out.
//
//   PROFILES  what each node can do alone; those that would take processors from each other one
//             after the other
//   LINKS     the way between any two, in rounds of pairs of which no two have a node in common;
//             one pair at a time where nodes share a machine
//   DISKS     nodes whose files lie on one disk read all at once: is that less than the sum?
//   DONE
#pragma once

#include "plan/profile.h"

enum { INQUIRY_MAX_QUESTIONS = PLAN_MAX_NODES };

struct inquiry_seat { // as in wire_have
    char name[PLAN_NAME];
    uint8_t machine[16], disk[16];
    uint32_t processors, of_processors;
};

enum inquiry_stage { INQUIRY_PROFILES, INQUIRY_LINKS, INQUIRY_DISKS, INQUIRY_DONE };

struct inquiry_question { // of the stage
    int node, to;         // LINKS: from node to this one
};

struct inquiry_questions {
    int n;
    struct inquiry_question list[INQUIRY_MAX_QUESTIONS];
};

struct inquiry {
    enum inquiry_stage stage;
    int n; // nodes, the head last
    struct inquiry_seat seats[PLAN_MAX_NODES];
    bool asked[PLAN_MAX_NODES], answered[PLAN_MAX_NODES]; // PROFILES and DISKS
    int from[INQUIRY_MAX_QUESTIONS], to[INQUIRY_MAX_QUESTIONS], n_ways,
        next_way;                                  // LINKS: of a round
    int round, n_waiting;                          // and answers that are due
    double together[PLAN_MAX_NODES];               // DISKS: bytes a second
    bool recalled[PLAN_MAX_NODES][PLAN_MAX_NODES]; // ways; of a node to itself: its disk
    bool shares[PLAN_MAX_NODES];                   // memory
    bool unknown; // somebody knows nothing of itself: there is no cluster
    struct plan_cluster cluster;
};

// The seats in the cluster's order, the head last, n >= 2. Fills the first questions.
void inquiry_begin(struct inquiry *s, const struct inquiry_seat *seats, int n,
                   struct inquiry_questions *out);
// What was found before, and is not asked again; between inquiry_begin and the first answer. A disk
// is asked about again unless all nodes on it are known.
void inquiry_recall_link(struct inquiry *s, int node, int to, const struct plan_link *way);
void inquiry_recall_disk(struct inquiry *s, int node, double rate);
// Whether two nodes' files lie on one disk.
bool inquiry_share_disk(const struct inquiry *s, int a, int b);

// Its memory is what its machine can spare: shared with others there that say so. Before its
// profile.
void inquiry_shares_memory(struct inquiry *s, int node);

// An answer to a question that was asked; those to others are ignored. Replaces what is in `out`.
// NULL: the node knows nothing, and the survey is DONE.
void inquiry_profile(struct inquiry *s, int node, const struct plan_machine *m,
                     struct inquiry_questions *out);
// rate 0: `to` cannot be reached.
void inquiry_link(struct inquiry *s, int node, int to, const struct plan_link *way,
                  struct inquiry_questions *out);
void inquiry_disk(struct inquiry *s, int node, double rate, struct inquiry_questions *out);
// A node from which an answer is due; -1: none.
int inquiry_waits_for(const struct inquiry *s);
