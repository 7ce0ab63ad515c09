// A verb run inside the test, its standard output caught.
#pragma once

#include "app/options.h"

// argv without program and verb. Returns what the verb wrote, malloc'd; *rc is what it returned.
char *verb_output(const struct verb *v, int argc, char **argv, int *rc, struct err *e);
