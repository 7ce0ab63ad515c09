// How the weights of a model would lie in this machine's memory, for `rondo show`.
#pragma once

#include "weights/weights.h"

struct foresight {
    bool known; // false: no model of an architecture that runs here
    const char *isa;
    char text[112]; // weights_describe
    struct weights_report report;
    enum weights_place *places; // (tensors)
};

// All layers and the output, on this machine alone.
int foresight_take(struct foresight *f, const struct gguf *g, struct err *e);
void foresight_free(struct foresight *f);
const char *foresight_name(enum weights_place p); // "rows", "lanes", "sidecar", "-"
