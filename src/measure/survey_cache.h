// Surveys that are kept: what a machine can do for a kind of model does not change from start to
// start.
//
// A file for each kind in `folder`: its name is a digest of everything that the figures depend on
// (processor, threads, instruction set, shares of processors and disks that control groups give,
// weight types, the shape of a layer, the disk of the file, the release of Rondo). A file that is
// damaged, or of another release, is measured again and written anew.
#pragma once

#include "measure/survey.h"

enum { SURVEY_PATH = 4096 };

struct survey_keep {
    const char *folder; // there, and of this user alone; NULL: nothing is kept
    bool again;         // measured whatever is there
};

// As survey_machine. While one process of a machine measures, others wait for it, up to ten
// seconds. *fresh: it was measured now. That the file cannot be written is no error.
int survey_cached(struct plan_machine *out, const struct survey_ask *a, const struct survey_keep *k,
                  bool *fresh, struct err *e);
// Where it is kept.
void survey_path(char out[SURVEY_PATH], const struct survey_ask *a, const struct survey_keep *k);
