// Help texts, made from the table of verbs and the table of options.
#pragma once

#include "app/options.h"

#include <stdio.h>

void help_program(FILE *f);
void help_verb(FILE *f, const struct verb *v);
