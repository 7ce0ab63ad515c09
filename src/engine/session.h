// A session: one conversation on a pipeline, as the list of its tokens.
//
// The session remembers what the pipeline's cache holds of it and computes only what is new: a
// prompt that begins like the conversation so far costs its tail. Prompts go in chunks of about
// equal size, several in flight; pipelines complete them in order.
//
//     session_feed      the tokens this conversation shall have; keeps the longest common prefix
//     session_submit    sends the next chunk; does not wait for it
//     session_collect   waits for the oldest chunk in flight
//     session_prompt    all three, until everything is computed
//     session_append    one more token: a chunk of one
//
// Several sessions can be fed and collected by turns; together they must not hold more than
// PIPELINE_MAX_PASSES chunks in flight (session_options.depth each).
//
// When something fails or is cancelled, the session has the tokens that were collected before and
// can be fed again. Threads: those of its pipeline. Nothing is allocated after session_new.
#pragma once

#include "engine/pipeline.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

struct session_options {
    uint32_t id; // in [0, max_sessions); nobody else on this pipeline uses it
    int chunk;   // tokens of a prompt that are computed together, at most; 0: the pipeline's
    int depth;   // chunks in flight; 0: PIPELINE_MAX_PASSES
    // With `rows` every token wants its logits and gets them here, in order; they are valid during
    // the call. Without it only the last token of what is fed has logits.
    void (*rows)(void *arg, size_t position, const float *logits);
    void *rows_arg;
};

int session_new(struct session **out, struct pipeline *p, const struct session_options *o,
                struct err *e);
// Takes its tokens out of the pipeline's cache.
void session_free(struct session *s);

int session_n_vocab(const struct session *s);
size_t session_length(const struct session *s); // tokens computed
const int32_t *session_tokens(const struct session *s);
size_t session_room(const struct session *s); // tokens that the context still takes
// Logits (n_vocab) behind the last token; valid until the session changes. The sampler may write
// into them. NULL: not known, as after session_truncate.
float *session_logits(struct session *s);
// What the last call of session_feed found in the cache, and the time its last chunk took.
size_t session_reused(const struct session *s);

// Whether the context of the pipeline holds n tokens: 0, or ERR_NO_MEMORY with what to do.
int session_fits(const struct pipeline *p, size_t n, struct err *e);

// The conversation shall be ids (n >= 1). Nothing may be in flight. ERR_NO_MEMORY when the context
// is too small for it; then nothing changed.
int session_feed(struct session *s, const int32_t *ids, size_t n, struct err *e);
// 1: a chunk was sent; 0: nothing is left to send, or `depth` chunks are in flight; or an error.
int session_submit(struct session *s, struct err *e);
// 1: a chunk was collected; 0: none was in flight; or an error.
int session_collect(struct session *s, struct err *e);

// Called between chunks with the tokens computed and wanted; false cancels the rest.
typedef bool session_progress(void *arg, size_t done, size_t total);
enum { SESSION_CANCELLED = 1 };
// 0, SESSION_CANCELLED or an error.
int session_prompt(struct session *s, const int32_t *ids, size_t n, session_progress *progress,
                   void *arg, struct err *e);
int session_append(struct session *s, int32_t id, struct err *e);

// Drops what is in flight.
void session_cancel(struct session *s);
// Forgets all tokens but the first n.
void session_truncate(struct session *s, size_t n);
// Makes `s` a copy of the first n tokens of `from`, on the same pipeline; they share memory.
// Neither may have anything in flight.
int session_fork(struct session *s, const struct session *from, size_t n, struct err *e);

// ---- Keeping a session: its tokens and the pages of its cache, KV_PAGE_TOKENS positions each, the
// last one perhaps not full.

// Bytes of a page; 0: the pages do not all lie on this machine, so only the tokens can be kept.
size_t session_page_bytes(const struct session *s);
// Pages of one kind are of use to sessions of the same model. Only where there are pages.
struct digest session_page_kind(const struct session *s);
// Copies page `page`, of those of the tokens computed. Nothing may be in flight.
void session_read_page(const struct session *s, size_t page, void *out);
// The session becomes ids (n >= 1), of which nothing is computed: `load` fills `page`
// (session_page_bytes) with one page after the other. Nothing may be in flight. When it fails the
// session is empty.
typedef int session_load(void *arg, size_t index, void *page, struct err *e);
int session_restore(struct session *s, const int32_t *ids, size_t n, session_load *load, void *arg,
                    void *page, struct err *e);
