// Amounts for people: three digits and a unit.
#pragma once

#include <stdint.h>

enum { AMOUNT_BYTES = 24 };

void amount_size(char out[AMOUNT_BYTES], uint64_t bytes); // "4.58 GiB"
void amount_count(char out[AMOUNT_BYTES], uint64_t n);    // "8.03 billion"
