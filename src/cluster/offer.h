// What a head offers its workers: the model by digests, and the room that a node must have. A
// worker compares it with its own file, for the windows it is to own and nothing else.
#pragma once

#include "engine/pipeline.h"
#include "model/shard.h"
#include "plan/windows.h"
#include "ring/frame.h"

struct offer;

// Reads a few samples of every tensor, once.
int offer_new(struct offer **out, const struct model *m, const struct pipeline_info *info,
              enum kv_type kv_type, struct err *e);
void offer_free(struct offer *o);
// OFFER for `node`: with the digests of its layers.
void offer_write(const struct offer *o, struct frame *f, uint32_t epoch,
                 const struct window_table *table, int node);
struct offer_share { // bytes for the receiver; 0: as it finds right
    uint64_t slots, memory;
};
void offer_write_plan(struct frame *f, uint32_t epoch, const struct window_table *table, int node,
                      enum wire_activation activation, const struct offer_share *share);

// SURVEY, but for whom it is sent to.
void offer_ask(const struct offer *o, struct wire_survey *out);

// ---- The worker's side.
// Whether this model is the one that is asked about, as far as its parameters and vocabulary tell.
int offer_check_asked(const struct wire_survey *asked, const struct model *m, struct err *e);
// A plan that came over the wire, as a table; refuses one that does not cover the layers.
int offer_read_plan(struct window_table *table, const struct wire_plan *plan,
                    const struct wire_window *windows, struct err *e);
// Whether this model is the one that is offered, as far as `node` owns it.
int offer_check(const struct wire_offer *offer, const struct wire_layer *layers,
                const struct model *m, const struct window_table *table, int node, struct err *e);
