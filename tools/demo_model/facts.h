// Simple knowledge: questions that have one answer. Each function adds one exchange.
#pragma once

#include "teller.h"

void facts_opposite(struct teller *t);
void facts_colour(struct teller *t);
void facts_calendar(struct teller *t);
void facts_animal(struct teller *t);
void facts_compare(struct teller *t);
