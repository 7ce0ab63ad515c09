// Whether a ring still does what its plan foretold. Pure: what a token took and the time in, a
// verdict out. correction.h makes the profile true by it.
//
//              off by > 10 %                    for DRIFT_LONG_MS and DRIFT_LONG tokens
//     STEADY -----------------> SUSPECT ------------------------------------------------> DRIFTED
//        ^                         |                                                        |
//        +----- off by < 7 % ------+                      drift_begin with the next plan ---+
//
// What is compared is the mean of the middle half of the last DRIFT_WINDOW tokens, and where they
// scatter much it must be off by three standard errors: neither noise nor hiccups count. It is that
// of the pass as a whole, and of each node's own time (computing and waiting for the disk) where
// the difference is worth anything to the pass. Each plan in a row that did not hold is given twice
// as long before it is called wrong, up to DRIFT_LONGEST_MS; one that held for that long makes up
// for all before.
//
// The prediction must be for the positions that the tokens are at: attention grows with them.
#pragma once

#include "cluster/timings.h"

enum {
    DRIFT_WINDOW = 32,
    DRIFT_LEAST = 16, // tokens before anything is said
    DRIFT_LONG = 64,  // tokens, and
    DRIFT_LONG_MS = 10000,
    DRIFT_LONGEST_MS = 640000,
};

enum drift_verdict { DRIFT_STEADY, DRIFT_SUSPECT, DRIFT_DRIFTED };

struct drift {
    struct timings_report predicted;
    int n_nodes;
    enum drift_verdict verdict;
    int64_t begun_ns, suspect_ns; // since when
    int n_suspect;                // tokens since then
    int long_ms;                  // that it must be off, with this plan
    int n;                        // tokens with this plan
    double pass_ms[DRIFT_WINDOW];
    struct timings_node nodes[WIRE_MAX_NODES][DRIFT_WINDOW];
    // What is off most, when it is: a node, or -1: the pass as a whole; measured over predicted.
    int worst;
    double ratio;
};

// Zeroes it: the first plan of a ring.
void drift_init(struct drift *d);
// A plan begins. `predicted`: what is expected of a token (correction_foretold); pass_ms 0:
// nothing is, and the verdict stays STEADY.
void drift_begin(struct drift *d, const struct timings_report *predicted, int n_nodes,
                 int64_t now_ns);
// A token was complete (timings_latest).
enum drift_verdict drift_token(struct drift *d, const struct timings_report *measured,
                               int64_t now_ns);

// What the last tokens took with this plan, without noise and hiccups; n_passes 0: none was seen.
void drift_seen(const struct drift *d, struct timings_report *out);
