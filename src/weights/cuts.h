// Matrices cut into parts, and which of them are resident: decisions alone, without memory.
//
// A *part* is some rows of a matrix, about as many bytes as a good read has; a small matrix is one
// part. Parts are numbered in the order of use. Each has a *rank*: with room for n parts, those of
// ranks 0 .. n - 1 are resident, and the ranks are dealt so that whatever n is, the others lie
// evenly between them in the order of use: reading then never has to wait for computing, or the
// other way round, for longer than it must. Their homes lie in memory in the order of ranks, so
// that what is resident is one stretch which grows and shrinks at its end.
#pragma once

#include "kernels/lanes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Rows of a part: a multiple of LANE_ROWS, and about `part_bytes`.
int32_t cuts_rows(uint64_t n_rows, size_t row_bytes, size_t part_bytes);
// Bytes of a good part where all together are `total` and slots may have `slots` of memory: no
// larger than a read needs to be, and not so many that counting them costs.
size_t cuts_part_bytes(uint64_t total, uint64_t slots);

// rank (n): of each part, in the order of use. scratch (n).
void cuts_rank(uint32_t *rank, size_t n, uint64_t *scratch);
// How many parts `budget` has room for: homes (n) are their sizes by rank.
size_t cuts_fit(const size_t *homes, size_t n, uint64_t budget, uint64_t *taken);
