// A model file as the planner sees it: bytes of every layer by weight type, caches, activations.
#pragma once

#include "kernels/kernels.h"
#include "measure/survey.h"
#include "model/shard.h"
#include "plan/profile.h"

struct plan_model_options {
    enum kv_type kv_type; // plan_layer.kv_bytes are of this type: plan_ask.kv_scale stays 1
    int n_threads;        // whose scratch memory counts; 0: one
    int max_batch;        // 0: PLAN_BATCH
    int max_context;      // of one session; 0: trained
    int n_sessions;       // 0: 1
};

// Layers that a slice leaves out are taken for the mean of those that it has; refused where it has
// none, or not the ends.
int plan_model_of(struct plan_model *out, const struct model *m, const struct plan_model_options *o,
                  struct err *e);

// What is to be measured for this model: its weight types (PLAN_TYPES at most, into `types`) and
// the shape of a layer. Backend, file and time are the caller's.
void plan_model_survey(struct survey_ask *out, uint32_t types[PLAN_TYPES],
                       const struct plan_model *p, const struct hparams *h, enum kv_type kv);
