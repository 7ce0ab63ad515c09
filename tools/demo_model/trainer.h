// The training loop: AdamW in single precision. Each thread takes its own documents through the
// whole model; gradients are added at the end of a step.
#pragma once

#include "corpus.h"
#include "model.h"

enum { TRAINER_MAX_THREADS = 16 };

struct settings {
    int threads;
    int steps;
    int tokens; // per thread and step
    int context;
    float rate;
    float decay;
};

// Trains `model` up to settings->steps, saving it to `checkpoint` now and then and at the end.
void trainer_run(struct model *model, const struct settings *settings, const struct corpus *corpus,
                 const struct corpus *held_out, const char *checkpoint);
