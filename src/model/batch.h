// A batch: the tokens that go through all layers together, and what happens to sessions first.
//
// These are the plain facts that a pass carries round the ring (ring/messages.h has them as bytes).
#pragma once

#include <stdint.h>

enum want { WANT_NOTHING, WANT_LOGITS, WANT_HIDDEN };

struct batch_token {
    int32_t id;       // only the head uses it
    uint32_t session; // in [0, max_sessions)
    uint32_t pos;     // position in its session; ascending within a batch and session, no gaps
    uint32_t want;    // enum want; only the head uses it
};

enum session_op_kind {
    SESSION_TRUNCATE, // forget positions >= pos
    SESSION_FORK,     // `session` becomes a copy of positions < pos of `other`
    SESSION_DROP,     // forget everything
    SESSION_OP_COUNT,
};

struct session_op {
    uint32_t kind; // enum session_op_kind
    uint32_t session, other, pos;
};

struct batch {
    int n_tokens, n_ops;
    const struct batch_token *tokens;
    const struct session_op *ops; // applied in order before the tokens
    uint64_t pass;         // its number: the rounds of one pass share it, the next has the next
    uint32_t group, chunk; // chunk `chunk` of prompt `group`; 0, 0: no prompt
    // Chunks of the group that come right behind this one through each window, as far as is known:
    // weights that are read for this one are kept for them. A wrong number costs time only.
    uint32_t behind;
};

enum {
    BATCH_MAX_TOKENS = 512,
    BATCH_MAX_OPS = 64,
    BATCH_MAX_SESSIONS = 256,
};
