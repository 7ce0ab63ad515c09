// Help texts, made from the table of verbs and the table of options.
#pragma once

#include "app/options.h"

#include <stdio.h>

void help_program(FILE *f);
void help_verb(FILE *f, const struct verb *v);

// Words from column `at` on, wrapped at 80 columns; further lines begin at `indent`.
void help_wrap(FILE *f, const char *text, int at, int indent);
