// Lane form: weights turned so that lane i of every vector belongs to row i.
//
// A block of a format is a run of fields, each of equal elements of 1, 2 or 4 bytes. A lane block
// holds the same block of LANE_ROWS rows, element by element: the element at byte `at`, of `size`
// bytes, of row i lies at LANE_ROWS * at + i * size. For Q4_K (d 2, dmin 2, scales 3 x 4, qs 32 x
// 4):
//
//     byte   0        32         64                128            256
//            | d:16x2 | dmin:16x2 | scales[0]:16x4 | ... 2 more  | qs[0]:16x4 | qs[1]:16x4 | ...
//                                                                  row 0 row 1 .. row 15
//
// A group of 16 rows is its n_in / width lane blocks in order, so the group of rows r.. begins at
// r * row_bytes, as the rows did: nothing moves farther than within its group, nothing grows but
// the number of rows, to the next multiple of 16 (the rows beyond are zero bytes), and the rows can
// be had back exactly. Which nibble is which weight stays as the format has it.
//
// AVX-512 reads an element of 16 rows as one register, AVX2 as two, NEON as four; four activations
// are broadcast to all lanes, and no sum across lanes is ever needed. The float formats, whose sums
// run over eight lanes of one row, and those that look weights up by an index have no lane form.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANE_ROWS = 16, LANE_MAX_BLOCK = 256 /* bytes of a block, at most */ };

bool lanes_can(uint32_t type);

// Rows rounded up to whole groups.
size_t lanes_rows(size_t n_rows);

// Turns rows [0, n) of `row_bytes` each, n <= LANE_ROWS, into one group of LANE_ROWS * row_bytes
// bytes. `out` and `rows` do not overlap; neither needs alignment.
void lanes_pack(uint32_t type, void *out, const void *rows, size_t row_bytes, int n);

// One block of row `row` of the group out of its lane block: wtype_info(type)->bytes bytes.
void lanes_take(uint32_t type, void *block, const void *lane_block, int row);

// Row `row` of a matrix in lane form: row_bytes bytes.
void lanes_take_row(uint32_t type, void *out, const void *lanes, size_t row_bytes, size_t row);
