// What a machine can do for a model, for people and as JSON: the part of rondo measure that needs a
// model.
#pragma once

#include "app/options.h"
#include "measure/survey_cache.h"
#include "model/model.h"

#include <jansson.h>

struct speed_sheet {
    bool known; // false: the file is no model that runs here
    bool fresh; // measured now, not kept from before
    char why[512];
    struct plan_machine machine;
    enum kv_type kv_type;
    int width;
};

// Measures, or takes what is kept in the user's folder. `path`: any file. The verb takes --threads,
// --pin, --isa, --kv and --again.
int speed_sheet_take(struct speed_sheet *s, const char *path, const struct options *o,
                     struct err *e);
// Of an open model; without a file of weights no disk is measured.
int speed_sheet_of(struct speed_sheet *s, const struct model *m, const struct options *o,
                   struct err *e);
void speed_sheet_print(const struct speed_sheet *s);
json_t *speed_sheet_json(const struct speed_sheet *s);
