// What link threads and the compute loop tell the thread that drives a node: one queue, in the
// order in which things happened.
//
// Letters are few: each link sends an opening and an end, frames come from a pool of limited size,
// and a compute loop tells that it has loaded or failed.
#pragma once

#include "base/err.h"
#include "ring/frame.h"

#include <stdint.h>

enum mail_kind {
    MAIL_WOKEN,       // look around: somebody waits for this thread
    MAIL_OPENED,      // a control link: `from`
    MAIL_FRAME,       // a control link: `from`, `frame`
    MAIL_CLOSED,      // a control link: `from`, `why`
    MAIL_EDGE_OPEN,   // `epoch`
    MAIL_EDGE_LOST,   // `epoch`, `why`
    MAIL_LOADED,      // `epoch`
    MAIL_LOAD_FAILED, // `epoch`, `why`
    MAIL_PASS_FAILED, // `epoch`, `why`
    MAIL_SURVEYED,    // the surveyor has an answer
};

struct mail {
    enum mail_kind kind;
    int from;
    uint32_t epoch;
    struct frame *frame; // the receiver's
    struct err why;
};

struct mailbox;

struct mailbox *mailbox_new(void);    // NULL: no memory
void mailbox_free(struct mailbox *m); // releases the frames that are left in it
void mailbox_put(struct mailbox *m, const struct mail *letter); // any thread
// The oldest letter; false: none came within timeout_ms.
bool mailbox_take(struct mailbox *m, int timeout_ms, struct mail *letter);
