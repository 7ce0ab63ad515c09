// Counting, sums and word games. Each function adds one exchange.
#pragma once

#include "teller.h"

void games_count(struct teller *t);
void games_sum(struct teller *t);
void games_repeat(struct teller *t);
