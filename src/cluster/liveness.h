// Whether a peer is alive: pure, told what was heard and what time it is.
//
// Heartbeats come from link threads, so they say that the process and the way to it live, whatever
// it computes. They carry a count of the work done, so a compute loop that is busy and does not
// move is seen as well, while a prompt that takes minutes is not mistaken for one. A watcher that
// was itself stopped for a while blames nobody for what it could not hear.
//
// The limits leave room for the promise that an answer ends within five seconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    LIVENESS_TICK_MS = 100,    // how often to ask
    LIVENESS_SILENT_MS = 3000, // nothing heard for so long: dead
    LIVENESS_HUNG_MS = 3500,   // busy without progress for so long: hung
    LIVENESS_ABSENT_MS = 1000, // not asked for so long: the watcher was away
};

struct liveness {
    int64_t from_ns;  // what was before does not count
    int64_t asked_ns; // last call
    uint64_t progress;
    int64_t moved_ns; // last time it was idle or had progressed
};

struct liveness_report {
    int64_t heard_ns;  // clock_ns of the last bytes; 0: none yet
    uint64_t progress; // counts up while work is being done
    bool busy;         // it has work
};

enum liveness_verdict { LIVENESS_ALIVE, LIVENESS_SILENT, LIVENESS_HUNG };

void liveness_init(struct liveness *l, int64_t now_ns);
enum liveness_verdict liveness_check(struct liveness *l, const struct liveness_report *r,
                                     int64_t now_ns);
