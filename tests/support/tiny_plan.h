// The inside of tiny_model: the list of tensors that a model gets. For tiny_*.c.
#pragma once

#include "tiny_model.h"

#include "gguf/writer.h"

enum { TINY_MAX_TENSORS = 4096 };

struct tiny_tensor {
    char name[64];
    uint32_t type;
    int n_in, n_out, n_mats; // n_out 0: a vector; n_mats 0: a matrix
    float mean, spread;
};

struct tiny_plan {
    struct tiny_model t; // filled
    struct tiny_tensor tensors[TINY_MAX_TENSORS];
    int n_tensors;
};

void tiny_plan_tensors(struct tiny_plan *p);
void tiny_plan_put_keys(struct gguf_writer *w, const struct tiny_model *t);

bool tiny_is(const struct tiny_model *t, const char *arch);
